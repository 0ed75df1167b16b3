"""The sound of films in overlay videos: joined recordings, another layout on the way, damage."""

from fractions import Fraction
import io

import av
import numpy as np
import pytest

from feelvos_tf.datasets import writers
from feelvos_tf.datasets.film import reader
from feelvos_tf.datasets.sources import folder

RATE, BEEP = 48000, (0.5, 0.7)  # Samples a second; seconds in which the sound is loud.


def write_recording(path, codec, sound, seconds=2, layout='mono', frames=True, left_out=()):
  """25 frames a second, and sound (None: no track) that is silent but for BEEP."""
  packets = []
  with av.open(str(path), 'w') as output:
    video = output.add_stream(codec, rate=25) if frames else None
    audio = output.add_stream(sound, rate=RATE, layout=layout) if sound else None
    for i in range(25 * seconds if frames else 0):
      frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), i % 256, np.uint8), format='rgb24')
      if i == 0:
        video.width, video.height, video.pix_fmt = 64, 48, 'yuv420p'
      frame.pts, frame.time_base = i, Fraction(1, 25)
      if i not in left_out:
        packets += video.encode(frame)
    if frames:
      packets += video.encode(None)
    if audio is not None:
      packets += _packets_of_beep(audio, seconds, layout)
    output.mux(sorted(packets, key=lambda packet: packet.dts * packet.time_base))
  return path.read_bytes()


def _packets_of_beep(audio, seconds, layout):
  wave = np.random.default_rng(0).integers(-20000, 20000, RATE * seconds).astype(np.int16)
  wave[: int(BEEP[0] * RATE)] = wave[int(BEEP[1] * RATE) :] = 0
  resampler = av.AudioResampler(audio.codec_context.format, layout, RATE)
  packets = []
  for start in range(0, len(wave), 960):
    part = av.AudioFrame.from_ndarray(wave[np.newaxis, start : start + 960], 's16', 'mono')
    part.sample_rate, part.pts, part.time_base = RATE, start, Fraction(1, RATE)
    for resampled in resampler.resample(part):
      packets += audio.encode(resampled)
  return packets + audio.encode(None)


def overlay(source, path, first=0):
  """Writes the overlay; returns (times of its frames, times of its samples that are loud)."""
  video = folder.open_video(source)
  with writers.OverlayVideoWriter(path, video.fps, 'mpeg4', sound=video.sound(first)) as writer:
    for index, image in enumerate(video.frames(first), first):
      writer.write_picture(image, video.frame_time(index) - video.frame_time(first))
  written = folder.open_video(path)
  count = sum(1 for _ in written.frames())
  loud = []
  with av.open(str(path)) as result:
    for frame in result.decode(audio=0):
      samples = np.abs(frame.to_ndarray()).reshape(-1)[: frame.samples]
      loud.extend(frame.time + np.flatnonzero(samples > 0.1) / frame.sample_rate)
  return [float(written.frame_time(i)) for i in range(count)], np.array(loud)


@pytest.mark.parametrize(
  'name, codec, sound, within',
  [
    ('v.ts', 'libx264', 'aac', 0.02),
    ('v.ts', 'mpeg2video', 'mp2', 0.02),
    ('v.vob', 'mpeg2video', 'ac3', 0.1),  # FFmpeg's own stamps leave out a frame of each.
  ],
)
def test_recordings_that_were_joined_go_on_after_each_other(tmp_path, name, codec, sound, within):
  """As `cat a.ts b.ts` joins them: stamps begin anew at the join."""
  data = write_recording(tmp_path / name, codec, sound)
  (tmp_path / name).write_bytes(2 * data)
  times, loud = overlay(tmp_path / name, tmp_path / 'o.mp4')
  assert np.abs(np.array(times) - np.arange(100) / 25).max() < within
  for start in (0, 2):
    beep = loud[(start < loud) & (loud < start + 2)]
    assert np.abs([beep.min(), beep.max()] - (start + np.array(BEEP))).max() < within + 0.04


@pytest.mark.parametrize('codec, sound', [('libx264', 'aac'), ('mpeg2video', 'mp2')])
@pytest.mark.parametrize('order, first', [('-+', 0), ('+-+', 0), ('--+-+', 0), ('+-+', 60)])
def test_joined_recordings_of_which_some_have_no_sound(tmp_path, codec, sound, order, first):
  """The sound of the others is where their frames are; + has sound."""
  data = {
    mark: write_recording(tmp_path / f'{kind}.ts', codec, kind)
    for mark, kind in {'+': sound, '-': None}.items()
  }
  path = tmp_path / 'joined.ts'
  path.write_bytes(b''.join(data[mark] for mark in order))
  times, loud = overlay(path, tmp_path / 'o.mp4', first)
  assert np.abs(np.array(times) - np.arange(50 * len(order) - first) / 25).max() < 0.02
  found = {int(second) for second in loud + first / 25}
  expected = [2 * place for place, mark in enumerate(order) if mark == '+' and 50 * place >= first]
  assert found == set(expected)
  for start in expected:
    at = loud + first / 25 - start
    beep = at[(at >= 0) & (at < 2)]
    assert np.abs([beep.min(), beep.max()] - np.array(BEEP)).max() < 0.06


def test_no_place_behind_a_join_is_passed_without_it(tmp_path, monkeypatch):
  """Frames are read ahead in another thread than that which writes the sound."""
  passed = []
  note = property(lambda self: passed[-1], lambda self, value: passed.append(value))
  monkeypatch.setattr(reader.Film, 'passed', note, raising=False)
  data = write_recording(tmp_path / 'v.ts', 'mpeg2video', 'mp2')
  (tmp_path / 'v.ts').write_bytes(2 * data)
  assert sum(1 for _ in reader.Film(tmp_path / 'v.ts').frames()) == 100
  (join,) = passed[-1].joins
  assert join.before < len(data) <= join.behind
  assert {len(joins) for joins, place in passed if place is not None and place > join.before} == {1}


def test_a_pause_of_frames_without_sound(tmp_path):
  """As of a camera that sends frames when something moves; the joined recording begins anew."""
  data = write_recording(tmp_path / 'v.ts', 'mpeg2video', None, 14, left_out=range(10, 335))
  (tmp_path / 'v.ts').write_bytes(2 * data)
  video = folder.open_video(tmp_path / 'v.ts')
  count = sum(1 for _ in video.frames())
  times = [float(video.frame_time(i)) for i in range(count)]
  shown = np.r_[:10, 335:350] / 25
  assert times == pytest.approx(np.r_[shown, 14 + shown], abs=1e-4)


def test_sound_of_avi_from_the_middle_of_a_packet_on(tmp_path):
  """A tick is a packet of AC-3 there, 32 ms; frame 6 is at 7.5 of them."""
  write_recording(tmp_path / 'v.avi', 'mpeg4', 'ac3')
  _, loud = overlay(tmp_path / 'v.avi', tmp_path / 'o.mp4', first=6)
  assert [loud.min(), loud.max()] == pytest.approx(np.array(BEEP) - 6 / 25, abs=0.05)
  with av.open(str(tmp_path / 'o.mp4')) as result:
    times = [packet.pts * packet.time_base for packet in result.demux(audio=0) if packet.size]
  assert times == [Fraction(32 * i, 1000) for i in range(len(times))] and len(times) == 55


def test_stamps_that_jump_forward(tmp_path):
  """The second recording was made an hour later by the same clock."""
  write_recording(tmp_path / 'v.ts', 'mpeg2video', 'mp2')
  path = tmp_path / 'jump.ts'
  with av.open(str(tmp_path / 'v.ts')) as one, av.open(str(path), 'w') as output:
    streams = {s.index: output.add_stream_from_template(s) for s in one.streams}
    for shift in (0, 3600):
      one.seek(0)
      for packet in one.demux():
        if packet.dts is not None:
          for_kind = round(shift / packet.time_base)
          packet.pts, packet.dts = packet.pts + for_kind, packet.dts + for_kind
          packet.stream = streams[packet.stream.index]
          output.mux(packet)
  times, loud = overlay(path, tmp_path / 'o.mp4')
  assert times == pytest.approx(np.arange(100) / 25, abs=0.021)
  assert [loud.min(), loud.max()] == pytest.approx([BEEP[0], 2 + BEEP[1]], abs=0.06)


def test_sound_that_goes_on_while_frames_are_missing(tmp_path):
  """Not a join, however long it takes."""
  write_recording(tmp_path / 'v.ts', 'mpeg2video', 'mp2', 14, left_out=range(10, 335))
  times, loud = overlay(tmp_path / 'v.ts', tmp_path / 'o.mp4')
  assert times == pytest.approx(np.r_[:10, 335:350] / 25, abs=1e-4)
  assert [loud.min(), loud.max()] == pytest.approx(BEEP, abs=0.06)


def test_sound_whose_layout_changes(tmp_path):
  """As broadcasts change between programmes: mono, then stereo."""
  halves = [
    write_recording(tmp_path / f'{layout}.mp2', None, 'mp2', 1, layout, frames=False)
    for layout in ('mono', 'stereo')
  ]
  write_recording(tmp_path / 'v.ts', 'mpeg2video', 'mp2')
  path = tmp_path / 'change.ts'
  with (
    av.open(str(tmp_path / 'v.ts')) as pictures,
    av.open(io.BytesIO(b''.join(halves)), format='mp3') as sound,
    av.open(str(path), 'w') as output,
  ):
    packets = [p for p in pictures.demux(video=0) if p.dts is not None]
    start = packets[0].pts * packets[0].time_base
    into = output.add_stream_from_template(pictures.streams.video[0])
    into_sound = output.add_stream_from_template(sound.streams.audio[0])
    for i, packet in enumerate(p for p in sound.demux(audio=0) if p.size):
      packet.time_base = Fraction(1, RATE)
      packet.pts = packet.dts = round(start * RATE) + 1152 * i
      packet.stream = into_sound
      packets.append(packet)
    for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
      if packet.stream is not into_sound:
        packet.stream = into
      output.mux(packet)
  times, loud = overlay(path, tmp_path / 'o.mp4')
  assert len(times) == 50
  assert [loud.min(), loud.max()] == pytest.approx([BEEP[0], 1 + BEEP[1]], abs=0.1)


def test_damaged_sound_does_not_end_the_video(tmp_path):
  """The packets of the second beep are other bytes."""
  path = tmp_path / 'v.mkv'
  write_recording(path, 'mpeg4', 'flac')
  with av.open(str(path)) as film:
    places = [(p.pos, p.size, p.pts * p.time_base) for p in film.demux(audio=0) if p.size]
  data = bytearray(path.read_bytes())
  for place, size, time in places:
    if 0.9 < time < 1.2:
      at = data.index(b'\xff\xf8', place)
      data[at : at + size - 8] = bytes(size - 8)
  path.write_bytes(data)
  times, loud = overlay(path, tmp_path / 'o.mp4')
  assert len(times) == 50
  assert [loud.min(), loud.max()] == pytest.approx(BEEP, abs=0.06)


@pytest.mark.parametrize('codec, sound', [('libmp3lame', 'mp3'), ('ac3', 'ac3'), ('flac', 'aac')])
def test_sound_that_players_take_is_copied(tmp_path, codec, sound):
  path = tmp_path / 'a.mkv'
  write_recording(path, 'mpeg4', codec)
  times, loud = overlay(path, tmp_path / 'o.mp4')
  with av.open(str(path)) as source, av.open(str(tmp_path / 'o.mp4')) as result:
    given, written = (
      [bytes(p) for p in container.demux(audio=0) if p.size] for container in (source, result)
    )
    assert result.streams.audio[0].codec_context.codec.canonical_name == sound
  assert len(times) == 50
  assert (written == given[-len(written) :] and len(written) > 40) == (codec != 'flac')
  assert [loud.min(), loud.max()] == pytest.approx(BEEP, abs=0.05)
