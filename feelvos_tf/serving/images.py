"""Frames, masks and states of requests: looked at by their structure, then decoded."""

from collections.abc import Iterable

import cv2
import numpy as np

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import picture
from feelvos_tf.datasets.mask_files import colours
from feelvos_tf.saved_model import state_bytes
from feelvos_tf.serving import errors

_COMPRESS_LEVEL = 1
_JPEG, _PNG = b'\xff\xd8', b'\x89PNG\r\n\x1a\n'


class ImageDecoder:
  """Decodes what fits the limits; what does not is refused before its pixels are read."""

  def __init__(self, max_pixels: int, max_objects: int) -> None:
    """Args: most pixels of an image; most objects of a mask, background not counted."""
    self._max_pixels = max_pixels
    self._max_objects = max_objects

  def frame(self, data: bytes) -> np.ndarray:
    """uint8 [height, width, 3], RGB, upright, of the bytes of a JPEG or PNG.

    Raises:
      ValueError: no image, damaged, or larger than allowed.
    """
    return picture.pixels(self._inspect(data, 'frame'), 'frame')

  def mask(
    self,
    data: bytes,
    palette: np.ndarray | None = None,
    known: Iterable[int] = (),
    own: bool = False,
  ) -> masks.Mask:
    """Decodes a palette or grey PNG, or one of a few exact colours; all but 0 are objects.

    Colours become ids as on the command line (`feelvos_tf.datasets.mask_files.colours`).

    Args:
      data: the bytes.
      palette: uint8 [256, 3] of the masks of the video before; None for its first mask.
      known: ids of these.
      own: this server made the mask, or most of it; see `masks.decode_mask`.

    Raises:
      ValueError: not a mask, damaged, or larger than allowed.
    """
    if data.startswith(_PNG):  # What is no PNG is refused by its header.
      data = self._inspect(data, 'mask').data
    if masks.holds_colours(data):
      mask = colours.decode(data, 'mask', palette, known)
    else:
      mask = masks.decode_mask(data, 'mask', void=False, own=own, max_pixels=self._max_pixels)
    self._check_objects(len(mask.object_ids), 'mask')
    return mask

  def frame_for_graph(self, data: bytes, name: str = 'image_bytes') -> bytes:
    """A frame that a graph will decode, checked: the same picture, upright and opaque.

    Raises:
      ValueError: see `frame`.
    """
    found = self._inspect(data, name)
    if found.plain:
      return data
    image = picture.pixels(found, name)[..., ::-1]
    return cv2.imencode('.png', image, [cv2.IMWRITE_PNG_COMPRESSION, _COMPRESS_LEVEL])[1].tobytes()

  def mask_for_graph(self, data: bytes) -> bytes:
    """A mask that a graph will decode, checked and upright.

    Raises:
      ValueError: see `mask`.
    """
    mask = self.mask(data)
    found = self._inspect(data, 'mask')
    if found.orientation == 1 and not found.completed and not masks.holds_colours(data):
      return data
    return masks.encode_mask(mask.ids, mask.palette, _COMPRESS_LEVEL)

  def check_size(self, height: int, width: int, name: str) -> None:
    """Checks the size of an image that came as a tensor.

    Args:
      height: pixels.
      width: pixels.
      name: of the input, for the message.

    Raises:
      RequestError: more than `max_pixels`.
    """
    if height * width > self._max_pixels:
      raise self._too_large(name, height, width)

  def check_state(self, data: bytes) -> None:
    """Checks the bytes of a state before a graph reads them, which knows no limits of a server.

    Args:
      data: the bytes; what is no state is left to the graph.

    Raises:
      RequestError: frames of more than `max_pixels`, or more than `max_objects`.
    """
    found = state_bytes.size_and_objects(data)
    if found is not None:
      (height, width), count = found
      self.check_size(height, width, 'state')
      self._check_objects(count, 'state')

  def _inspect(self, data: bytes, name: str) -> picture.Picture:
    if not data.startswith((_JPEG, _PNG)):
      raise errors.invalid(f'{name}: not a JPEG or PNG image given; encode it as one of these.')
    return picture.inspect(data, name, max_pixels=self._max_pixels)

  def _too_large(self, name: str, height: int, width: int) -> errors.RequestError:
    return errors.invalid(
      f'{name}: {height}x{width} pixels given, at most {self._max_pixels} are taken; scale it down.'
    )

  def _check_objects(self, count: int, name: str) -> None:
    if count > self._max_objects:
      raise errors.invalid(
        f'{name}: {count} objects given, at most {self._max_objects} are taken; '
        'start the server with a higher --max_objects or leave some out.'
      )
