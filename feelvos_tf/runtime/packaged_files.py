"""Files that come with the package: the default weights and the demo clip."""

from importlib import resources
import pathlib

_PACKAGE = pathlib.Path(str(resources.files('feelvos_tf')))
DEFAULT_MODEL = _PACKAGE / 'pretrained' / 'mobilenet_v2.h5'
DEMO_CLIP = _PACKAGE / 'demo' / 'clip.mp4'
DEMO_MASK = _PACKAGE / 'demo' / 'mask.png'
SERVER_PAGE = _PACKAGE / 'serving' / 'static'
