"""Masks in colours of a video whose objects have ids: sessions of the server."""

import io

import numpy as np
from PIL import Image
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.mask_files import colours

_RED, _GREEN, _BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
_OWN = masks.DAVIS_PALETTE.copy()
_OWN[[1, 2]] = _RED, _GREEN


def _png(*row):
  stream = io.BytesIO()
  pixels = np.repeat(np.array([(0, 0, 0), *row], np.uint8)[None], 4, axis=0)
  Image.fromarray(np.repeat(pixels, 4, axis=1)).save(stream, 'PNG')
  return stream.getvalue()


@pytest.mark.parametrize(
  'row, palette, expected',
  [
    ([_GREEN], _OWN, [2]),
    ([_BLUE], _OWN, [3]),
    ([_GREEN, _BLUE, _RED], _OWN, [2, 3, 1]),
    ([(128, 0, 0)], _OWN, [3]),
    ([(128, 0, 0), _BLUE], masks.DAVIS_PALETTE, [1, 3]),
    ([_GREEN, _BLUE], masks.DAVIS_PALETTE, [1, 2]),  # Objects that were given without colours.
  ],
)
def test_a_colour_is_the_object_that_it_is_known_for(row, palette, expected):
  mask = colours.decode(_png(*row), 'mask', palette, (0, 1, 2))
  assert mask.ids[0, 4::4].tolist() == expected
  np.testing.assert_array_equal(mask.palette[expected], row)
  if palette is _OWN:  # Objects that are not in this mask keep theirs.
    np.testing.assert_array_equal(mask.palette[[1, 2]], [_RED, _GREEN])


def test_a_first_mask_numbers_its_colours():
  assert colours.decode(_png(_GREEN, _BLUE, _RED), 'mask').ids[0, 4::4].tolist() == [2, 3, 1]


def test_white_alone_is_the_object_that_is_white():
  """Its value 255 would be a new object. Values of objects, and of no colour given, stay."""
  palette = masks.DAVIS_PALETTE.copy()
  palette[[1, 2]] = [255] * 3, _RED
  ids = lambda shade, own, known: colours.decode(_png([shade] * 3), 'mask', own, known).ids[0, 4]
  assert ids(255, palette, (0, 1, 2)) == 1
  assert ids(255, palette, (0, 1, 2, 255)) == 255
  assert ids(2, palette, (0, 1, 2)) == 2
  assert ids(128, masks.DAVIS_PALETTE, (0, 7)) == 128  # The colour of 7 in the DAVIS palette.


def test_more_colours_than_ids():
  palette = np.stack([np.arange(256)] * 3, axis=1).astype(np.uint8)
  with pytest.raises(ValueError, match='255 objects given, and #0000ff as one more'):
    colours.decode(_png(_BLUE), 'mask', palette, range(256))
