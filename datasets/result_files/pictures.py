"""Results as pictures and films: black and white masks, cut-outs, films with transparency."""

from collections.abc import Mapping
from fractions import Fraction
import types

import av
import cv2
import numpy as np

from feelvos_tf.datasets import streams
from feelvos_tf.datasets.result_files.target import Classes
from feelvos_tf.datasets.result_files.target import Files
from feelvos_tf.datasets.result_files.target import objects
from feelvos_tf.datasets.result_files.target import ResultFrame
from feelvos_tf.datasets.result_files.target import Target
from feelvos_tf.files import whole_file

_DEFAULT_FPS = 24.0
_MOST_CLASSES = 65  # of MOTS in 16 bits
_TICKS = 100  # of a frame: exact at any rate
_NEAR = Fraction(1, 5)  # of a frame: stamps of many files are rounded


class Objects:
  """<id>/<frame>.png for every object: white on black; black where it is not visible."""

  needs_frames = False

  def __init__(self, target: Target) -> None:
    """Args: Target."""
    self._target = target
    self._earlier: list[str] = []
    self._known: set[int] = set()

  @classmethod
  def file_names(cls, files: Files) -> list[str]:
    """See `Writer`."""
    return [f'{i}/{name}.png' for i in files.object_ids for name in files.frame_names]

  def write(self, frame: ResultFrame) -> None:
    """See `Writer`."""
    shown, nowhere = dict(objects(frame.ids)), np.zeros(frame.ids.shape, bool)
    for object_id in sorted(shown.keys() - self._known):
      (self._target.folder / str(object_id)).mkdir(exist_ok=True)
      for earlier in self._earlier:  # Late objects are black before.
        self._write(object_id, earlier, nowhere)
    self._known |= shown.keys()
    self._earlier.append(frame.name)
    for object_id in self._known:
      self._write(object_id, frame.name, shown.get(object_id, nowhere))

  def _write(self, object_id: int, name: str, where: np.ndarray) -> None:
    path = self._target.folder / str(object_id) / f'{name}.png'
    whole_file.write_bytes(path, _png(where.astype(np.uint8) * 255))

  def close(self) -> None:
    """See `Writer`."""


class MotsPng:
  """instances/<frame>.png of MOTS, 16 bits: 1000 times the class, from 1, plus the object's id.

  labels.txt names the classes, one a line. Format:
  https://www.vision.rwth-aachen.de/page/mots.
  """

  needs_frames = False

  def __init__(self, target: Target) -> None:
    """Args: Target."""
    self._folder, self._classes = target.folder / 'instances', Classes(target)
    self._folder.mkdir(exist_ok=True)

  @classmethod
  def file_names(cls, files: Files) -> list[str]:
    """See `Writer`."""
    return ['instances/labels.txt', *(f'instances/{name}.png' for name in files.frame_names)]

  def write(self, frame: ResultFrame) -> None:
    """See `Writer`."""
    pixels = np.zeros(frame.ids.shape, np.uint16)
    for object_id, where in objects(frame.ids):
      number = self._classes.number(object_id) + 1
      if number > _MOST_CLASSES:
        raise ValueError(
          f'mots_png: {number} classes given, expected at most {_MOST_CLASSES}, as its 16 bits hold '
          '1000 times the class; give objects one class: --label=1:cell --label=2:cell'
        )
      pixels[where] = 1000 * number + object_id
    whole_file.write_bytes(self._folder / f'{frame.name}.png', _png(pixels))

  def close(self) -> None:
    """See `Writer`."""
    text = ''.join(f'{name}\n' for name in self._classes.names)
    whole_file.write_text(self._folder / 'labels.txt', text)


class Cutouts:
  """<frame>.png: the frame where objects are, transparent elsewhere (RGBA, not premultiplied)."""

  needs_frames = True

  def __init__(self, target: Target) -> None:
    """Args: Target."""
    self._target = target

  @classmethod
  def file_names(cls, files: Files) -> list[str]:
    """See `Writer`."""
    return [f'{name}.png' for name in files.frame_names]

  def write(self, frame: ResultFrame) -> None:
    """See `Writer`."""
    rgba = cut_out(frame.needed_image(), frame.ids)
    whole_file.write_bytes(self._target.folder / f'{frame.name}.png', _png(rgba[..., [2, 1, 0, 3]]))

  def close(self) -> None:
    """See `Writer`."""


class _AlphaFilm:
  """A film with the frames and, as transparency, the masks of all objects."""

  needs_frames = True
  file_name = codec = pixels = ''
  options: Mapping[str, str] = types.MappingProxyType({})

  def __init__(self, target: Target) -> None:
    """Args: Target. The file is opened by the first frame."""
    self._target = target
    self._film: tuple[av.container.OutputContainer, av.VideoStream] | None = None
    self._path = target.folder / self.file_name
    self._temporary = whole_file.temporary_name(self._path)
    # So that 1000 frames a second have no more than the 10**9 ticks that libvpx takes.
    self._rate = Fraction(target.fps or _DEFAULT_FPS).limit_denominator(1001 * 9)
    self._start: Fraction | None = None
    self._last = -1

  @classmethod
  def file_names(cls, unused_files: Files) -> list[str]:
    """See `Writer`."""
    return [cls.file_name]

  def write(self, frame: ResultFrame) -> None:
    """See `Writer`."""
    ids = frame.ids
    if self._film is None:
      self._film = self._open(ids.shape)
    container, stream = self._film
    height, width = stream.height, stream.width
    # The colours stay where the mask is 0, so that soft edges can be made afterwards.
    rgba = np.dstack([frame.needed_image(), np.where(ids > 0, 255, 0).astype(np.uint8)])
    padded = cv2.copyMakeBorder(
      rgba, 0, height - ids.shape[0], 0, width - ids.shape[1], cv2.BORDER_REPLICATE
    )
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(padded, np.uint8), format='rgba')
    picture = picture.reformat(format=self.pixels, dst_colorspace=streams.COLOURS)
    picture.pts, picture.time_base = self._next_ticks(frame.time), stream.codec_context.time_base
    container.mux(stream.encode(picture))

  @classmethod
  def check_encoder(cls) -> None:
    """Raises ValueError if this PyAV cannot write such a film."""
    try:
      av.codec.Codec(cls.codec, 'w')
    except ValueError:
      raise ValueError(
        f'{cls.file_name}: this PyAV has no encoder {cls.codec}; choose another form'
      ) from None

  def _open(self, size: tuple[int, int]) -> tuple[av.container.OutputContainer, av.VideoStream]:
    self.check_encoder()
    container = av.open(f'file:{self._temporary}', 'w')
    stream = streams.add_video(container, self.codec, self._rate, self.options)
    stream.height, stream.width = (side + side % 2 for side in size)
    stream.pix_fmt = self.pixels
    stream.codec_context.time_base = 1 / (self._rate * _TICKS)
    return container, stream

  def _next_ticks(self, time: Fraction | None) -> int:
    """When a frame is shown: at its time, or at that of the rate where they are near."""
    if time is None:
      place = Fraction(self._last, _TICKS) + 1 if self._last >= 0 else Fraction(0)
    else:
      self._start = time if self._start is None else self._start
      place = (time - self._start) * self._rate
    if abs(place - round(place)) < _NEAR:
      place = Fraction(round(place))
    self._last = max(self._last + 1, round(place * _TICKS))
    return self._last

  def close(self) -> None:
    """See `Writer`."""
    if self._film is None:
      return
    container, stream = self._film
    container.mux(stream.encode(None))
    container.close()
    whole_file.move(self._temporary, self._path)


class ProRes(_AlphaFilm):
  """alpha.mov: ProRes 4444 with transparency, for editing programs."""

  file_name, codec, pixels = 'alpha.mov', 'prores_ks', 'yuva444p10le'
  options = types.MappingProxyType({'profile': '4444', 'alpha_bits': '16', 'vendor': 'apl0'})


class Vp9(_AlphaFilm):
  """alpha.webm: VP9 with transparency, for web pages."""

  file_name, codec, pixels = 'alpha.webm', 'libvpx-vp9', 'yuva420p'
  # Without auto-alt-ref=0 the encoder refuses transparency.
  options = types.MappingProxyType(
    {'crf': '20', 'b': '0', 'auto-alt-ref': '0', 'deadline': 'good', 'cpu-used': '4'}
  )


def cut_out(frame: np.ndarray, ids: np.ndarray) -> np.ndarray:
  """uint8 [height, width, 4] RGBA: the frame where there is an object, else 0."""
  inside = ids > 0
  return np.dstack([np.where(inside[..., np.newaxis], frame, 0), inside.astype(np.uint8) * 255])


def _png(pixels: np.ndarray) -> bytes:
  """PNG bytes of grey or BGRA pixels."""
  return cv2.imencode('.png', np.ascontiguousarray(pixels))[1].tobytes()
