"""Object ids out of colours: masks that were painted in a few exact colours.

Black and transparent pixels are background. Which id a colour gets: its index in the DAVIS palette
if all colours are in it (so that a palette mask that some program turned into RGB gets its ids
back), else 1, 2, ... in falling order of (red, green, blue): red, green, blue are 1, 2, 3. Grey
pixels only: the grey value is the id, as in a grey file.
"""

from collections.abc import Iterable
import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import object_ids
from feelvos_tf.datasets import palette as palette_lib
from feelvos_tf.datasets import picture

MOST_COLOURS = 255
_SOME_THIN = 3  # Colours on outlines only: this many, if they are the majority, are smoothing.


def ids_of_colours(pixels: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray | None, dict]:
  """Turns colours into ids.

  Args:
    pixels: uint8 [height, width, 3 or 4] RGB or RGBA.
    name: what messages call the file.

  Returns:
    (ids uint8 [height, width], palette uint8 [256, 3] with the colours at their ids or None for
    grey, {id: text that names the colour}).

  Raises:
    ValueError: soft transparency, too many colours, smoothed outlines, or no background.
  """
  colours, inverse = _background_is_black(pixels, name)
  if len(colours) > MOST_COLOURS + 1:
    raise ValueError(
      f'{name}: an image of {len(colours)} colours given, expected a mask of few exact colours on '
      'black; paint without smoothing and save it as PNG'
    )
  _refuse_smoothed(colours, inverse, name)
  if (colours == colours[:, :1]).all():
    return colours[inverse, 0], None, {}
  if colours[0].any():
    raise ValueError(
      f'{name}: {_hex_list(colours)} given and no black or transparent pixel, expected a black or '
      'transparent background; paint the background black'
    )
  ids = _ids(colours)
  palette = masks.DAVIS_PALETTE.copy()
  palette[ids] = colours
  return (
    ids[inverse],
    palette,
    {int(i): palette_lib.hex_colour(c) for i, c in zip(ids, colours) if i},
  )


def decode(
  data: bytes, name: str, palette: np.ndarray | None = None, known: Iterable[int] = ()
) -> masks.Mask:
  """Mask of the bytes of a PNG or WebP of a few exact colours, upright; see `ids_of_colours`.

  Args:
    data: content of a file whose structure and size were checked (`datasets.picture.inspect`).
    name: what messages call it.
    palette: uint8 [256, 3], colours in which objects of the video are known. One of these colours
      is that object, others are new ones. Colours none of which is known in the DAVIS palette, as
      objects without colours get it, are numbered as in a first mask.
    known: ids of these objects.

  Raises:
    ValueError: see `ids_of_colours`.
  """
  image = Image.open(io.BytesIO(data))
  has_alpha = 'A' in image.mode or 'transparency' in image.info
  pixels = np.array(image.convert('RGBA' if has_alpha else 'RGB'))
  ids, own, _ = ids_of_colours(pixels, name)
  if palette is not None and own is not None:
    ids, own = _ids_of_video(ids, own, palette, set(known) - {0})
  elif palette is not None:
    ids = _ids_of_shades(ids, palette, set(known) - {0})
  ids = picture.upright(ids, picture.orientation_of(data))
  return masks.Mask(ids, own, False, None)


def _ids_of_video(
  ids: np.ndarray, own: np.ndarray, palette: np.ndarray, known: set[int]
) -> tuple[np.ndarray, np.ndarray]:
  """(ids as in a video, its palette with the colours of new objects); see `decode`."""
  of_colour = {tuple(palette[i].tolist()): i for i in sorted(known, reverse=True)}
  colours = {int(i): tuple(own[i].tolist()) for i in np.unique(ids) if i}
  if not of_colour.keys() & set(colours.values()) and np.array_equal(palette, masks.DAVIS_PALETTE):
    return ids, own
  table, palette, taken = np.zeros(256, np.uint8), palette.copy(), set(known)
  for i, colour in colours.items():
    found = of_colour[colour] if colour in of_colour else object_ids.free_id(taken, i)
    if found is None:
      raise ValueError(
        f'{len(known)} objects given, and {palette_lib.hex_colour(colour)} as one more'
      )
    taken.add(found)
    table[i], palette[found] = found, colour
  return table[ids], palette


def _ids_of_shades(ids: np.ndarray, palette: np.ndarray, known: set[int]) -> np.ndarray:
  """Ids of grey pixels: the values, but a shade that an object has as its colour is that object."""
  table = np.arange(256, dtype=np.uint8)
  for i in sorted(known, reverse=True):
    shade, is_given = int(palette[i, 0]), (palette[i] != masks.DAVIS_PALETTE[i]).any()
    if is_given and (palette[i] == shade).all() and shade not in {0, *known}:
      table[shade] = i
  return table[ids]


def _background_is_black(
  pixels: NDArray[np.uint8], name: str
) -> tuple[NDArray[np.uint8], np.ndarray]:
  """(colours uint8 [n, 3] in rising order, index of each pixel's colour [height, width])."""
  rgb = pixels[..., :3]
  if pixels.shape[2] == 4:
    alpha = pixels[..., 3]
    soft = np.unique(alpha[alpha > 0])
    if len(soft) > 1:
      raise ValueError(
        f'{name}: {len(soft)} degrees of transparency given, expected pixels that are there or '
        'not; paint without smoothing, or add --threshold=0.5 for a mask of one object'
      )
    rgb = np.where(alpha[..., None] > 0, rgb, 0)
  return palette_lib.unique_colours(rgb)


def _ids(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
  """uint8 id of each colour."""
  known = palette_lib.palette_ids(colours)
  if None not in known and masks.VOID_ID not in known:
    return np.array(known, np.uint8)
  return np.array([0, *range(len(colours) - 1, 0, -1)], np.uint8)  # Colours rise.


def _refuse_smoothed(colours: NDArray[np.uint8], inverse: np.ndarray, name: str) -> None:
  """Raises ValueError if most colours only lie on outlines."""
  if len(colours) <= _SOME_THIN:
    return
  values = inverse.astype(np.uint8)
  kernel = np.ones((3, 3), np.uint8)
  solid = np.unique(values[cv2.erode(values, kernel) == cv2.dilate(values, kernel)])
  thin = len(colours) - len(solid)
  if thin >= _SOME_THIN and 2 * thin > len(colours):
    raise ValueError(
      f'{name}: smoothed colours given ({thin} of {len(colours)} only on outlines), expected few '
      'exact colours; paint or resize the mask without smoothing and save it as PNG'
    )


def _hex_list(colours: NDArray[np.uint8]) -> str:
  listed = ', '.join(palette_lib.hex_colour(c) for c in colours[:4])
  return f'{listed}, ...' if len(colours) > 4 else listed
