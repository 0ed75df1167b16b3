"""Frames and masks of requests: looked at by their headers, then decoded."""

import io

import numpy as np
from PIL import Image
import tensorflow as tf

from feelvos_tf.datasets import masks
from feelvos_tf.saved_model import png_in_graph
from feelvos_tf.serving import errors


class ImageDecoder:
  """Decodes what fits the limits; what does not is refused before its pixels are read."""

  def __init__(self, max_pixels, max_objects):
    """Args: most pixels of an image; most objects of a mask, background not counted."""
    self._max_pixels = max_pixels
    self._max_objects = max_objects
    # The decoder of `track`: the same pixels and the same words for what is wrong.
    self._decode = tf.function(
      lambda data: png_in_graph.decode_frame(data, max_pixels),
      autograph=False,
      input_signature=[tf.TensorSpec([], tf.string)],
    )

  def frame(self, data):
    """uint8 [height, width, 3], RGB, of the bytes of a JPEG or PNG.

    Raises:
      tf.errors.InvalidArgumentError: no image, damaged, or larger than allowed.
    """
    return self._decode(tf.constant(data)).numpy()

  def mask(self, data):
    """`masks.Mask` of the bytes of a palette or grey PNG; every value but 0 is an object.

    Raises:
      ValueError: not a mask, damaged, or larger than allowed.
    """
    mask = masks.decode_mask(data, 'mask', void=False, max_pixels=self._max_pixels)
    self._check_objects(len(mask.object_ids))
    return mask

  def check(self, data, name, is_mask=False):
    """Checks an image that a graph will decode.

    Args:
      data: bytes.
      name: str, what to call it in messages.
      is_mask: also count the objects.

    Raises:
      RequestError: no JPEG or PNG, or beyond the limits.
    """
    try:
      with Image.open(io.BytesIO(data), formats=['JPEG', 'PNG']) as image:
        width, height = image.size
        if width * height > self._max_pixels:
          raise self._too_large(name, height, width)
        # Colours are no ids; the graph has a message for them.
        if is_mask and image.mode in ('1', 'L', 'P'):
          self._check_objects(
            int(
              np.count_nonzero(np.bincount(np.asarray(image, np.uint8).ravel(), minlength=256)[1:])
            )
          )
    except Image.DecompressionBombError as error:
      raise errors.invalid(
        f'{name}: {error}; at most {self._max_pixels} pixels are taken; scale it down.'
      ) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
      raise errors.invalid(f'{name}: not a readable JPEG or PNG image given ({error}).') from error

  def check_size(self, height, width, name):
    """Checks the size of an image that came as a tensor."""
    if height * width > self._max_pixels:
      raise self._too_large(name, height, width)

  def _too_large(self, name, height, width):
    return errors.invalid(
      f'{name}: {height}x{width} pixels given, at most {self._max_pixels} are taken; scale it down.'
    )

  def _check_objects(self, count):
    if count > self._max_objects:
      raise errors.invalid(
        f'mask: {count} objects given, at most {self._max_objects} are taken; '
        'start the server with a higher --max_objects or leave some out.'
      )
