"""The fixture `films`: small films for tests, made with PyAV."""

import contextlib
from fractions import Fraction
import os
import struct
import types

import av
import numpy as np
import pytest

SIZE = (48, 64)


def picture(i, size=SIZE):
  """uint8 [height, width, 3]: a gradient with a square that moves, unlike its mirror images."""
  image = np.zeros(size + (3,), np.uint8)
  image[..., 0] = np.linspace(40, 200, size[1])
  image[..., 1] = np.linspace(30, 120, size[0])[:, None]
  image[4:16, 2 * i % (size[1] - 12) :][:, :12] = (30, 220, 90)
  return image


@contextlib.contextmanager
def _own_scheduling():
  """Undoes what SVT-AV1 does to a thread of root's that opens it: first before all other threads.

  Left so, the rest of the tests and every program that they start would take all processor time.
  """
  if not hasattr(os, 'sched_getscheduler'):
    yield
    return
  before = os.sched_getscheduler(0), os.sched_getparam(0)
  try:
    yield
  finally:
    os.sched_setscheduler(0, *before)


def write_film(
  path,
  codec='mpeg4',
  count=30,
  *,
  size=SIZE,
  pix_fmt='yuv420p',
  rate=25,
  times=None,
  aspect=None,
  options=None,
  container_options=None,
  container=None,
  sound=None,
  sound_seconds=None,
):
  """Writes `count` frames of `picture`.

  Args:
    path: file; its suffix chooses the container.
    codec: FFmpeg's name of the encoder.
    count: number of frames.
    size: (height, width).
    pix_fmt: pixel format.
    rate: frames per second.
    times: ticks of 1 / rate for each frame; None for 0, 1, 2, ...
    aspect: Fraction, width of a pixel by its height.
    options: of the encoder.
    container_options: of the container.
    container: its name, if the suffix does not say it.
    sound: codec of a sound track, or None.
    sound_seconds: its length; None for that of the film.

  Returns:
    path.
  """
  with (
    _own_scheduling(),
    av.open(str(path), 'w', format=container, options=container_options or {}) as output,
  ):
    video = output.add_stream(codec, rate=rate, options=options or {})
    video.width, video.height, video.pix_fmt = size[1], size[0], pix_fmt
    if aspect:
      video.codec_context.sample_aspect_ratio = aspect
    audio = output.add_stream(sound, rate=44100, layout='mono') if sound else None
    if audio is not None:
      _write_sound(output, audio, sound_seconds or count / rate)
    for i in range(count):
      frame = av.VideoFrame.from_ndarray(picture(i, size), format='rgb24').reformat(format=pix_fmt)
      frame.pts, frame.time_base = (times[i] if times else i), Fraction(1, rate)
      output.mux(video.encode(frame))
    output.mux(video.encode(None))
  return path


def _write_sound(output, stream, seconds):
  total = int(44100 * seconds)
  wave = (np.sin(np.arange(total) * 0.06) * 9000).astype(np.int16)
  for start in range(0, total, 1024):
    frame = av.AudioFrame.from_ndarray(
      wave[None, start : start + 1024], format='s16', layout='mono'
    )
    frame.sample_rate, frame.pts, frame.time_base = 44100, start, Fraction(1, 44100)
    output.mux(stream.encode(frame))
  output.mux(stream.encode(None))


def with_matrix(data: bytes, a, b, c, d) -> bytes:
  """The mp4 with another display matrix: x' = a x + c y, y' = b x + d y."""
  place = data.find(b'tkhd') + 4 + 40  # In version 0 of the box.
  one = 1 << 16
  matrix = struct.pack('>9i', a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
  return data[:place] + matrix + data[place + 36 :]


@pytest.fixture(scope='session')
def films():
  """Functions `picture`, `write` and `with_matrix`, and the `SIZE` of what they make."""
  return types.SimpleNamespace(
    picture=picture, write=write_film, with_matrix=with_matrix, SIZE=SIZE
  )
