"""The colour map of DAVIS, and ids out of colours."""

from collections.abc import Iterable

import numpy as np


def _voc_palette() -> np.ndarray:
  """The colour map of PASCAL VOC, which DAVIS also uses: uint8 [256, 3]."""
  ids = np.arange(256)
  palette = np.zeros((256, 3), np.uint8)
  for bit in range(8):
    for channel in range(3):
      palette[:, channel] |= (((ids >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
  return palette


DAVIS_PALETTE = _voc_palette()
DAVIS_PALETTE.setflags(write=False)


def unique_colours(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """(colours uint8 [n, 3] in rising order, index of each pixel's colour [height, width]).

  Args:
    pixels: uint8 [height, width, 3].
  """
  packed = pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
  values, index = np.unique(packed, return_inverse=True)
  colours = np.stack([values >> 16, values >> 8 & 255, values & 255], -1).astype(np.uint8)
  return colours, index.reshape(packed.shape)


def palette_ids(colours: np.ndarray) -> list[int | None]:
  """First index in DAVIS_PALETTE of each colour, None if it is not there; uint8 [n, 3]."""
  known = {tuple(c): i for i, c in reversed(list(enumerate(DAVIS_PALETTE.tolist())))}
  return [known.get(tuple(c)) for c in colours.tolist()]


def hex_colour(colour: Iterable[int]) -> str:
  """`#ff0000` of (255, 0, 0)."""
  return '#{:02x}{:02x}{:02x}'.format(*(int(c) for c in colour))


def ids_of_known_colours(pixels: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray | None]:
  """Ids of pixels whose colours alone say which id they are.

  Args:
    pixels: uint8 [height, width, 3 or 4] RGB or RGBA.
    name: what messages call the file.

  Returns:
    (ids uint8 [height, width], DAVIS_PALETTE, or None for grey).

  Raises:
    ValueError: soft transparency, a colour that is not in the palette, or a grey that is in it.
  """
  rgb = pixels[..., :3]
  if pixels.shape[2] == 4:
    if np.isin(pixels[..., 3], (0, 255), invert=True).any():
      raise ValueError(
        f'{name}: an RGBA colour image with soft transparency given, expected a palette or grey PNG '
        'whose values are the object ids'
      )
    rgb = np.where(pixels[..., 3:] > 0, rgb, 0)
  colours, index = unique_colours(rgb)
  ids = palette_ids(colours)
  if (colours == colours[:, :1]).all():
    if None not in ids and any(ids):
      raise ValueError(
        f'{name}: an RGB colour image given in which {hex_colour(colours[-1])} can be id {ids[-1]} '
        f'of the DAVIS palette or id {colours[-1, 0]} in grey, expected a palette or grey PNG'
      )
    return colours[index, 0], None
  if None in ids:
    raise ValueError(
      f'{name}: an RGB colour image given whose colours ({hex_colour(colours[ids.index(None)])}) '
      'are not all in the DAVIS palette, expected a palette or grey PNG whose values are the '
      'object ids, the same in all frames; a program that converts colours may number them as it '
      'likes'
    )
  return np.array(ids, np.uint8)[index], DAVIS_PALETTE.copy()
