"""Files that come with the package: the demo clip and the page of the server."""

from importlib import resources
import pathlib

_PACKAGE = pathlib.Path(str(resources.files('feelvos_tf')))
DEMO_CLIP = _PACKAGE / 'demo' / 'clip.mp4'
DEMO_MASK = _PACKAGE / 'demo' / 'mask.png'
SERVER_PAGE = _PACKAGE / 'serving' / 'static'
