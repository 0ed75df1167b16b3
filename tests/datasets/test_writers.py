"""Overlay video and contact sheet."""

from fractions import Fraction
import os

import av
import cv2
import numpy as np
import pytest

from feelvos_tf.datasets import data_warning
from feelvos_tf.datasets import masks
from feelvos_tf.datasets import writers
from feelvos_tf.datasets.sources import folder
from feelvos_tf.datasets.sources.part import Part


def picture(i, size=(60, 80)):
  image = np.full(size + (3,), 40, np.uint8)
  image[..., 2] = 40 + 5 * (i % 40)
  return image


def ids(size=(60, 80)):
  result = np.zeros(size, np.uint8)
  result[20:40, 20:50] = 1
  return result


@pytest.mark.parametrize('codec', list(writers.CODECS))
def test_video_plays_back_what_was_drawn(tmp_path, codec):
  path = tmp_path / 'overlay.mp4'
  writer = writers.OverlayVideoWriter(path, fps=10, codec=codec)
  try:
    for i in range(6):
      writer.write(picture(i), ids())
  except ValueError as error:
    if codec == 'h264':
      assert 'no encoder of libx264' in str(error)
      pytest.skip('no H.264 encoder on this machine')
    raise
  assert not path.exists()  # Under a temporary name until it is whole.
  writer.close()
  assert [p.name for p in tmp_path.iterdir()] == ['overlay.mp4']
  video = folder.open_video(path)
  assert video.fps == pytest.approx(10) and video.frame_size == (60, 80)
  read = list(video.frames())
  assert len(read) == writer.num_frames == 6
  expected = masks.overlay(picture(3), ids())
  assert np.abs(read[3].astype(int) - expected).mean() < 6


@pytest.mark.parametrize('size', [(48, 64), (720, 1280)])
def test_colours_are_what_players_show(tmp_path, size):
  """Players take an HD film that does not name its matrix for BT.709, a smaller one for BT.601."""
  colour = (200, 40, 30)
  with writers.OverlayVideoWriter(tmp_path / 'o.mp4', codec='mpeg4') as writer:
    writer.write_picture(np.full((*size, 3), colour, np.uint8))
  with av.open(str(tmp_path / 'o.mp4')) as film:
    frame = next(film.decode(video=0))
    assert frame.colorspace == av.video.reformatter.Colorspace.ITU709
    shown = frame.reformat(format='rgb24', src_colorspace='ITU709').to_ndarray()
  assert np.abs(shown[5, 5].astype(int) - colour).max() <= 4


def test_odd_sizes_lose_nothing(tmp_path):
  size = (61, 83)
  with writers.OverlayVideoWriter(tmp_path / 'o.mp4', codec='mpeg4') as writer:
    writer.write_picture(picture(0, size))
  assert folder.open_video(tmp_path / 'o.mp4').frame_size == (62, 84)
  assert writer.codec_used == 'mpeg4'


def test_frames_before_an_exception_are_kept(tmp_path):
  with (
    pytest.raises(ValueError, match='expected .60, 80. like the first'),
    writers.OverlayVideoWriter(tmp_path / 'o.mp4', codec='mpeg4') as writer,
  ):
    writer.write(picture(0), ids())
    writer.write(picture(1), ids())
    writer.write(picture(2, (30, 40)), ids((30, 40)))
  assert len(list(folder.open_video(tmp_path / 'o.mp4').frames())) == 2


def test_writer_without_frames_writes_nothing(tmp_path):
  with writers.OverlayVideoWriter(tmp_path / 'o.mp4'):
    pass
  assert not list(tmp_path.iterdir())


def test_bad_arguments(tmp_path):
  with pytest.raises(ValueError, match='codec'):
    writers.OverlayVideoWriter(tmp_path / 'o.mp4', codec='divx')
  writer = writers.OverlayVideoWriter(tmp_path / 'no' / 'o.mp4')
  with pytest.raises(FileNotFoundError, match='no such folder'):
    writer.write(picture(0), ids())
  with pytest.raises(ValueError, match='max_tiles 0'):
    writers.ContactSheet(tmp_path / 's.png', max_tiles=0)


@pytest.mark.parametrize('length', [1, 2, 11, 12, 13, 48, 49, 50, 97, 1000, 1537])
def test_contact_sheet_is_even_and_bounded(tmp_path, length):
  sheet = writers.ContactSheet(tmp_path / 's.png', tile_width=16)
  held = 0
  for i in range(length):
    sheet.add(picture(i))
    held = max(held, len(sheet._tiles))
  indices = sheet.frame_indices()
  assert held <= 49
  assert indices[0] == 0 and indices[-1] == length - 1
  assert len(indices) == min(length, 12)
  if length > 12:
    ideal = np.linspace(0, length - 1, 12)
    assert np.abs(np.array(indices) - ideal).max() <= max(1, length / 48)
    assert (np.diff(indices) > 0).all()


def test_contact_sheet_shows_the_frames_in_order(tmp_path):
  sheet = writers.ContactSheet(tmp_path / 's.png', tile_width=40)
  sheet.write()
  assert not list(tmp_path.iterdir())
  for i in range(7):
    sheet.add(np.full((30, 40, 3), 20 * i, np.uint8), '')
  sheet.write()
  image = cv2.imread(str(tmp_path / 's.png'))
  assert image.shape == (2 * 34 + 4, 4 * 44 + 4, 3)
  for i in range(7):
    assert image[4 + i // 4 * 34 + 15, 4 + i % 4 * 44 + 20, 0] == 20 * i
  assert [p.name for p in tmp_path.iterdir()] == ['s.png']


def test_contact_sheet_of_a_name_that_is_not_utf8(tmp_path):
  sheet = writers.ContactSheet(tmp_path / 's.png')
  sheet.add(np.zeros((30, 40, 3), np.uint8), os.fsdecode(b'fr\xe4me0'))
  sheet.write()
  assert cv2.imread(str(tmp_path / 's.png')).any()


@pytest.mark.parametrize(
  'source, rate', [('aac', 44100), ('flac', 44100), ('flac', 192000), (None, 0)]
)
def test_overlay_has_the_times_and_the_sound_of_its_source(tmp_path, source, rate):
  """AAC has no 192,000 samples a second."""
  path, times = tmp_path / 'v.mkv', [0, 1, 2, 10, 11, 30]
  with av.open(str(path), 'w') as output:
    video = output.add_stream('mpeg4', rate=10)
    video.height, video.width = 60, 80
    sound = output.add_stream(source, rate=rate, layout='stereo') if source else None
    for time in times:
      frame = av.VideoFrame.from_ndarray(picture(time), format='rgb24')
      frame.pts, frame.time_base = time, Fraction(1, 10)
      output.mux(video.encode(frame))
    output.mux(video.encode(None))
    for start in range(0, 4 * rate, 1024):
      frame = av.AudioFrame(format=sound.format.name, layout='stereo', samples=1024)
      for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
      frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
      output.mux(sound.encode(frame))
  source_video = folder.open_video(path)
  with writers.OverlayVideoWriter(
    tmp_path / 'o.mp4', source_video.fps, sound=source_video.sound()
  ) as writer:
    for index, image in enumerate(source_video.frames()):
      writer.write(image, ids(), time=source_video.frame_time(index))
  written = folder.open_video(tmp_path / 'o.mp4')
  count = sum(1 for _ in written.frames())
  assert [float(written.frame_time(i)) for i in range(count)] == [t / 10 for t in times]
  with av.open(str(tmp_path / 'o.mp4')) as result:
    sounds = result.streams.audio
    assert [s.codec_context.name for s in sounds] == (['aac'] if source else [])
    if source:  # Up to the end of the last frame, not longer.
      assert 2.9 < float(sounds[0].duration * sounds[0].time_base) < 3.2


def test_sound_begins_with_the_first_frame_of_a_part(tmp_path):
  """5 frames at 1/s, then 50 at 10/s; silence up to 5 s, where frame 5 is, noise from there on."""
  path, times, rate = tmp_path / 'v.mkv', [*range(5), *np.arange(5, 10, 0.1)], 8000
  with av.open(str(path), 'w') as output:
    video = output.add_stream('mpeg4', rate=10)
    video.height, video.width = 60, 80
    sound = output.add_stream('pcm_s16le', rate=rate, layout='mono')
    for i, time in enumerate(times):
      frame = av.VideoFrame.from_ndarray(picture(i), format='rgb24')
      frame.pts, frame.time_base = round(10 * time), Fraction(1, 10)
      output.mux(video.encode(frame))
    output.mux(video.encode(None))
    values = np.random.default_rng(0).integers(-9000, 9000, 10 * rate).astype(np.int16)
    values[: 5 * rate] = 0
    for start in range(0, len(values), 1000):
      frame = av.AudioFrame.from_ndarray(values[np.newaxis, start : start + 1000], 's16', 'mono')
      frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
      output.mux(sound.encode(frame))
  part = Part(folder.open_video(path), 5)
  with writers.OverlayVideoWriter(tmp_path / 'o.mp4', part.fps, sound=part.sound()) as writer:
    for index, image in enumerate(part.frames()):
      writer.write(image, ids(), time=part.frame_time(index))
  with av.open(str(tmp_path / 'o.mp4')) as result:
    frames = list(result.decode(audio=0))
  loud = np.concatenate([np.abs(frame.to_ndarray()).ravel() for frame in frames]) > 0.05
  assert np.mean(loud[: rate // 2]) > 0.5  # The noise is there from the start.


def test_an_overlay_without_the_sound_that_cannot_be_encoded(tmp_path):
  class Sound:
    def add_to(self, output):
      output.add_stream('aac', rate=48000).codec_context.sample_rate = 7
      raise ValueError('no such rate')

    def close(self):
      pass

  with (
    pytest.warns(data_warning.DataWarning, match='the sound cannot be encoded'),
    writers.OverlayVideoWriter(tmp_path / 'o.mp4', sound=Sound()) as writer,
  ):
    writer.write(picture(0), ids())
    writer.write(picture(1), ids())
  assert len(list(folder.open_video(tmp_path / 'o.mp4').frames())) == 2
