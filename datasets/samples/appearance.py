"""What changes how frames look and not what they show: colours, haze, small compressed videos.

None of it is in the original; a mask stays right as it is.
"""

import dataclasses
import math

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class ColorChange:
  """A change of colours: contrast about the middle, brightness and gamma for each channel."""

  contrast: tuple[float, float, float]
  brightness: tuple[float, float, float]
  gamma: float

  def apply(self, image: np.ndarray) -> NDArray[np.uint8]:
    """uint8 [height, width, 3] with changed colours."""
    values = np.linspace(0.0, 1.0, 256)[:, np.newaxis] ** self.gamma
    values = (values - 0.5) * np.array(self.contrast) + 0.5 + np.array(self.brightness)
    table = np.rint(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table[:, np.newaxis]), np.uint8)


def random_color_change(rng: np.random.RandomState, strength: float) -> ColorChange:
  """A random ColorChange.

  Args:
    rng: numpy RandomState.
    strength: float in [0, 1]; 0.2 changes contrast, gamma and brightness by up to 20 % (brightness
      of the full range), and each channel on its own by a quarter of that.

  Returns:
    ColorChange.
  """

  def around(center: float) -> tuple[float, float, float]:
    common, own = rng.uniform(-strength, strength), rng.uniform(-strength, strength, 3) / 4
    red, green, blue = (float(value) for value in center + common + own)
    return red, green, blue

  return ColorChange(around(1.0), around(0.0), float(np.exp(rng.uniform(-strength, strength))))


@dataclasses.dataclass(frozen=True)
class Look:
  """A change of colours that a whole clip has in common: hue, saturation and haze."""

  # Row i gives channel i of the result as weights of the channels red, green, blue and 1.
  matrix: tuple[tuple[float, float, float, float], ...]

  def apply(self, image: np.ndarray) -> NDArray[np.uint8]:
    """uint8 [height, width, 3] with changed colours."""
    matrix = np.array(self.matrix)
    matrix[:, 3] *= 255.0
    return np.asarray(cv2.transform(image, matrix), np.uint8)  # It rounds and saturates.


def random_look(rng: np.random.RandomState, strength: float) -> Look:
  """A random Look: objects and places of other colours, as if seen through haze.

  Args:
    rng: numpy RandomState.
    strength: float in [0, 1]. At 1 the hue is turned to any other, saturation changes by a factor
      of up to e, and up to 80 % of the light is haze, of a grey between 0.4 and 1.

  Returns:
    Look.
  """
  angle = math.pi * strength * rng.uniform(-1, 1)
  saturation = math.exp(strength * rng.uniform(-1, 1))
  haze, grey = 0.8 * strength * rng.uniform(), rng.uniform(0.4, 1.0)
  # Rodrigues' rotation about the grey axis; greys stay as they are.
  onto_grey = np.full((3, 3), 1 / 3)
  across = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
  turn = (np.eye(3) - onto_grey) * math.cos(angle) + across * math.sin(angle)
  matrix = (1 - haze) * (onto_grey + saturation * turn)
  rows = np.concatenate([matrix, np.full((3, 1), haze * grey)], axis=1)
  return Look(tuple((float(r), float(g), float(b), float(one)) for r, g, b, one in rows))


def random_color_changes(
  rng: np.random.RandomState, count: int, color_strength: float, look_strength: float
) -> list[list[ColorChange | Look]]:
  """For each frame of a sample, the changes of colours to apply one after the other.

  Args:
    rng: numpy RandomState.
    count: int, frames of the sample, the reference first.
    color_strength: float in [0, 1], see `random_color_change`; the reference has one change, all
      others share another.
    look_strength: float in [0, 1], see `random_look`; a random half of the samples have one, the
      same for all frames.
  """
  # No draw for what is off: samples of runs without it stay as they are.
  common: list[ColorChange | Look] = []
  if look_strength and rng.uniform() < 0.5:
    common = [random_look(rng, look_strength)]
  if not color_strength:
    return [common] * count
  # As with the geometry, the reference is on its own.
  reference, rest = (random_color_change(rng, color_strength) for _ in range(2))
  return [[*common, reference], *[[*common, rest]] * (count - 1)]


@dataclasses.dataclass(frozen=True)
class SmallFrames:
  """What a small, compressed video does to its frames, which are enlarged to be segmented."""

  # By how much the frames were larger.
  factor: float
  # Of JPEG, 1 to 100.
  quality: int

  def apply(self, image: np.ndarray) -> np.ndarray:
    """An image reduced by pixel area, written as JPEG, read and enlarged bilinearly.

    Args:
      image: uint8 or float32 [height, width, 3], 0..255.

    Returns:
      The same shape and dtype; whole grey levels.
    """
    height, width = image.shape[:2]
    size = max(round(width / self.factor), 1), max(round(height / self.factor), 1)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    small = np.rint(small).astype(np.uint8)[..., ::-1]
    _, data = cv2.imencode('.jpg', small, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
    small = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return large.astype(image.dtype)


def random_small_frames(rng: np.random.RandomState) -> SmallFrames:
  """Frames smaller by a factor of 1.3 to 2.5, of a JPEG quality of 50 to 95."""
  return SmallFrames(rng.uniform(1.3, 2.5), int(rng.randint(50, 96)))
