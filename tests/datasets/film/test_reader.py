"""Video files: the frames that a viewer sees."""

import errno
from fractions import Fraction
import os
import pathlib
import pickle
import shutil
import subprocess
import sys

import av
import numpy as np
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import picture as picture_lib
from feelvos_tf.datasets.film import reader
from feelvos_tf.datasets.sources import folder
from feelvos_tf.files import whole_file


def read(path):
  return [frame.image for frame in reader.Film(path).frames()]


def assert_frames(images, films, numbers, tolerance=8):
  """Lossy, but a frame more, less or elsewhere is far off where the square is."""
  assert len(images) == len(numbers)
  for image, i in zip(images, numbers):
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - films.picture(i)).mean() < tolerance, i


CASES = {
  'h264.mp4': {'codec': 'libx264', 'options': {'bf': '3'}},
  'h264.mkv': {'codec': 'libx264'},
  'h264.ts': {'codec': 'libx264'},
  'h264.mov': {'codec': 'libx264', 'pix_fmt': 'yuv444p'},
  'h264.3gp': {'codec': 'libx264'},
  'hevc.mp4': {'codec': 'libx265', 'options': {'x265-params': 'log-level=none'}},
  'hevc10.mkv': {
    'codec': 'libx265',
    'pix_fmt': 'yuv420p10le',
    'options': {'x265-params': 'log-level=none'},
  },
  'av1.mp4': {'codec': 'libsvtav1'},
  'vp9.webm': {'codec': 'libvpx-vp9'},
  'mpeg4.avi': {'codec': 'mpeg4', 'options': {'bf': '2'}},
  'mjpeg.avi': {'codec': 'mjpeg', 'pix_fmt': 'yuvj420p'},
  'mpeg2.mpg': {'codec': 'mpeg2video'},
  'ffv1.nut': {'codec': 'ffv1', 'pix_fmt': 'yuv422p'},
  'prores.mov': {'codec': 'prores_ks', 'pix_fmt': 'yuv422p10le'},
  'png.mov': {'codec': 'png', 'pix_fmt': 'rgb24'},
  'anim.apng': {'codec': 'apng', 'pix_fmt': 'rgb24', 'container': 'apng'},
}


@pytest.mark.parametrize('name', CASES)
def test_frames_of_a_format(tmp_path, films, name):
  arguments = dict(CASES[name])
  try:
    av.codec.Codec(arguments['codec'], 'w')
  except ValueError:
    pytest.skip(f'this PyAV has no encoder {arguments["codec"]}')
  path = films.write(tmp_path / name, **arguments)
  assert_frames(read(path), films, range(30))
  film = reader.Film(path)
  assert film.frame_size == films.SIZE and film.fps == pytest.approx(25)
  assert film.num_frames in (30, None)


def test_later_frames_are_the_same_frames(tmp_path, films):
  path = films.write(tmp_path / 'a.mp4', 'libx264', options={'bf': '3'})
  images = read(path)
  later = [frame.image for frame in reader.Film(path).frames(start=11)]
  np.testing.assert_array_equal(later, images[11:])


def test_times_of_a_variable_rate(tmp_path, films):
  times = [0, 1, 2, 7, 8, 20, 21, 40]
  path = films.write(tmp_path / 'a.mp4', 'libx264', len(times), times=times)
  assert [frame.time for frame in reader.Film(path).frames()] == [Fraction(t, 25) for t in times]


@pytest.mark.parametrize('codec', ['libx264', 'mpeg4'])
def test_times_of_an_avi_whose_frames_are_stored_in_another_order(tmp_path, films, codec):
  path = films.write(tmp_path / 'v.avi', codec, 20, options={'bf': '2'})
  assert [frame.time for frame in reader.Film(path).frames()] == [
    Fraction(i, 25) for i in range(20)
  ]


@pytest.mark.parametrize('count', [5, 50])
def test_times_of_recordings_that_were_joined(tmp_path, films, count):
  """Stamps begin anew at the join."""
  path = films.write(tmp_path / 'v.ts', 'mpeg2video', count)
  path.write_bytes(2 * path.read_bytes())
  assert [frame.time for frame in reader.Film(path).frames()] == [
    Fraction(i, 25) for i in range(2 * count)
  ]


def test_edit_list_hides_frames(tmp_path, films):
  """A trim without encoding: the samples from the key frame on are there, the list hides some."""
  path = films.write(tmp_path / 'a.mp4', 'mpeg4', container_options={'use_editlist': '1'})
  data = path.read_bytes()
  place = data.find(b'elst') + 8
  assert data.find(b'elst') > 0 and int.from_bytes(data[place : place + 4], 'big') == 1
  scale = data.find(b'mdhd') + 4 + 12
  ticks = int.from_bytes(data[scale : scale + 4], 'big')
  movie = data.find(b'mvhd') + 4 + 12
  movie_ticks = int.from_bytes(data[movie : movie + 4], 'big')
  entry = (10 * movie_ticks // 25).to_bytes(4, 'big') + (12 * ticks // 25).to_bytes(4, 'big')
  path.write_bytes(data[: place + 4] + entry + data[place + 12 :])
  film = reader.Film(path)
  assert film.num_frames == 10
  assert_frames([f.image for f in film.frames()], films, range(12, 22))


TURNS = {
  # Display matrix (a, b, c, d) -> what becomes of the stored picture.
  (1, 0, 0, 1): lambda x: x,
  (-1, 0, 0, 1): lambda x: x[:, ::-1],
  (1, 0, 0, -1): lambda x: x[::-1],
  (-1, 0, 0, -1): lambda x: x[::-1, ::-1],
  (0, 1, -1, 0): lambda x: np.rot90(x, -1),
  (0, -1, 1, 0): np.rot90,
  (0, 1, 1, 0): lambda x: x.swapaxes(0, 1),
  (0, -1, -1, 0): lambda x: np.rot90(x, 2).swapaxes(0, 1),
}


@pytest.mark.parametrize('matrix', TURNS)
def test_display_matrix(tmp_path, films, matrix):
  path = films.write(tmp_path / 'a.mp4', 'libx264', 3)
  stored = read(path)
  path.write_bytes(films.with_matrix(path.read_bytes(), *matrix))
  expected = [TURNS[matrix](image) for image in stored]
  np.testing.assert_array_equal(read(path), expected)
  assert reader.Film(path).frame_size == expected[0].shape[:2]


@pytest.mark.parametrize(
  'aspect,size', [((4, 3), (48, 85)), ((3, 4), (64, 64)), ((1, 1), (48, 64)), ((100, 1), (48, 64))]
)
def test_pixels_that_are_not_square(tmp_path, films, aspect, size):
  path = films.write(tmp_path / 'a.mp4', 'libx264', 4, aspect=Fraction(*aspect))
  video = folder.open_video(path)
  assert video.frame_size == size
  assert [frame.shape for frame in video.frames()] == [size + (3,)] * 4
  ids = np.zeros(films.SIZE, np.uint8)
  ids[:, 32:] = 3
  # A mask drawn on a frame that was extracted without stretching fits, and so does one as shown.
  mask = video.check_mask_size(masks.Mask(ids), 'm.png')
  assert mask.ids.shape == size and mask.ids[0, size[1] // 2] == 3 and mask.ids[0, 0] == 0
  assert video.check_mask_size(mask, 'm.png') is mask
  with pytest.raises(ValueError, match='m.png: a mask of 20x20'):
    video.check_mask_size(masks.Mask(ids[:20, :20]), 'm.png')


def test_stretched_and_turned(tmp_path, films):
  path = films.write(tmp_path / 'a.mp4', 'libx264', 2, aspect=Fraction(2))
  path.write_bytes(films.with_matrix(path.read_bytes(), 0, 1, -1, 0))
  film = reader.Film(path)
  assert (film.frame_size, film.stored_size) == ((128, 48), (64, 48))
  assert next(film.frames()).image.shape == (128, 48, 3)


def write_two_tracks(path, films, default):
  with av.open(str(path), 'w') as output:
    tracks = []
    for shift in (0, 15):
      track = output.add_stream('mpeg4', rate=25)
      track.height, track.width, track.pix_fmt = *films.SIZE, 'yuv420p'
      flag = av.stream.Disposition.default if len(tracks) == default else 0
      track.disposition = flag
      tracks.append((track, shift))
    for i in range(5):
      for track, shift in tracks:
        frame = av.VideoFrame.from_ndarray(films.picture(i + shift), format='rgb24')
        frame.pts = i
        output.mux(track.encode(frame))
    for track, _ in tracks:
      output.mux(track.encode(None))


@pytest.mark.parametrize('default', [0, 1])
def test_the_default_track(tmp_path, films, default):
  path = tmp_path / 'a.mkv'
  try:
    write_two_tracks(path, films, default)
  except AttributeError:
    pytest.skip('this PyAV cannot write dispositions')
  assert_frames(read(path), films, range(15 * default, 15 * default + 5))


def test_animated_avif_is_its_frames_and_a_still_is_no_film(tmp_path, films):
  """Both were one frame: the picture that stands for the animation, which has no time."""
  assert_frames(read(films.write(tmp_path / 'a.avif', 'libsvtav1', 4)), films, range(4))
  with pytest.raises(ValueError, match=r'b\.avif: a single image given'):
    reader.Film(films.write(tmp_path / 'b.avif', 'libsvtav1', 1))


def test_sound_with_a_cover_picture(tmp_path, films):
  films.write(tmp_path / 'v.mov', 'mjpeg', 1, pix_fmt='yuvj420p', sound='aac')
  path = tmp_path / 'a.mp4'
  with av.open(str(tmp_path / 'v.mov')) as source, av.open(str(path), 'w') as output:
    streams = {s.index: output.add_stream_from_template(s) for s in source.streams}
    try:
      streams[0].disposition = av.stream.Disposition.attached_pic
    except AttributeError:
      pytest.skip('this PyAV cannot write dispositions')
    for packet in source.demux():
      if packet.size:
        packet.stream = streams[packet.stream.index]
        output.mux(packet)
  with pytest.raises(ValueError, match=r'a\.mp4: no decodable video stream \(sound with a cover'):
    reader.Film(path)


def test_sound_alone(tmp_path, films):
  films.write(tmp_path / 'v.mkv', sound='aac')
  with av.open(str(tmp_path / 'v.mkv')) as source, av.open(str(tmp_path / 'a.m4a'), 'w') as output:
    stream = output.add_stream_from_template(source.streams.audio[0])
    for packet in source.demux(source.streams.audio[0]):
      if packet.size:
        packet.stream = stream
        output.mux(packet)
  with pytest.raises(ValueError, match=r'a\.m4a: no decodable video stream \(a file without pict'):
    reader.Film(tmp_path / 'a.m4a')


def test_too_many_open_files_are_no_fault_of_the_film(tmp_path, films, monkeypatch):
  films.write(tmp_path / 'a.mp4')
  monkeypatch.setattr(av, 'open', lambda *_, **__: av.error.err_check(-errno.EMFILE))
  with pytest.raises(OSError, match=r'Too many open files.*a\.mp4') as error:
    reader.Film(tmp_path / 'a.mp4')
  assert whole_file.is_no_room(pickle.loads(pickle.dumps(error.value)))


@pytest.mark.parametrize(
  'name,content', [('a.mp4', b''), ('a.mp4', b'text' * 500), ('a.txt', b'hello\n' * 99)]
)
def test_no_video(tmp_path, name, content):
  (tmp_path / name).write_bytes(content)
  with pytest.raises(ValueError, match=f'{name}: no decodable video stream') as error:
    reader.Film(tmp_path / name)
  assert '\n' not in str(error.value)


def test_transparent_frames_lie_on_black(tmp_path, films):
  with av.open(str(tmp_path / 'a.mov'), 'w') as output:
    stream = output.add_stream('png', rate=25)
    stream.height, stream.width, stream.pix_fmt = *films.SIZE, 'rgba'
    rgba = np.dstack([films.picture(3), np.linspace(0, 255, 64 * 48).reshape(48, 64)])
    frame = av.VideoFrame.from_ndarray(rgba.astype(np.uint8), format='rgba')
    output.mux(stream.encode(frame))
    output.mux(stream.encode(None))
  (image,) = read(tmp_path / 'a.mov')
  np.testing.assert_array_equal(image, picture_lib.on_black(rgba.astype(np.uint8)))


@pytest.mark.parametrize('name', ['take:1.mp4', '-1.mp4', 'sp ace%03d.mp4', b'v\xe4d.mp4'])
def test_any_name(tmp_path, films, name, monkeypatch):
  source = films.write(tmp_path / 'a.mp4')
  name = os.fsdecode(name)
  monkeypatch.chdir(tmp_path)
  try:
    shutil.copy(source, name)
  except OSError:
    pytest.skip('this file system does not take such names')
  assert len(read(pathlib.Path(name))) == 30


def test_an_empty_packet_stands_for_the_frame_before(tmp_path):
  if shutil.which('ffmpeg') is None:
    pytest.skip('no ffmpeg on this machine to write Theora with')
  source = ['-f', 'lavfi', '-i', 'testsrc2=s=48x36:r=10:d=0.6', '-c:v', 'libtheora']
  command = ['ffmpeg', '-v', 'error', *source, str(tmp_path / 'a.ogv')]
  subprocess.run(command, check=True, timeout=60)
  with av.open(str(tmp_path / 'a.ogv')) as container:
    sizes = [p.size for p in container.demux(video=0) if p.pts is not None]
  assert sizes.count(0) == 1
  assert len(read(tmp_path / 'a.ogv')) == len(sizes) - 1


def test_a_list_of_files_is_no_video(tmp_path, films):
  films.write(tmp_path / 'a.mp4')
  (tmp_path / 'b.ffconcat').write_text('ffconcat version 1.0\nfile a.mp4\n')
  with pytest.raises(ValueError, match=r'b\.ffconcat: a list of other files given'):
    reader.Film(tmp_path / 'b.ffconcat')


def test_a_playlist_reads_no_network(tmp_path):
  (tmp_path / 'a.m3u8').write_text(
    '#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n'
  )
  with pytest.raises(ValueError, match='no decodable video stream'):
    reader.Film(tmp_path / 'a.m3u8')


@pytest.mark.parametrize(
  'arguments', [{}, {'aspect': Fraction(4, 3)}, {'pix_fmt': 'yuv420p10le'}, {'pix_fmt': 'yuv422p'}]
)
def test_frame_for_frame_as_ffmpeg(tmp_path, films, arguments):
  if shutil.which('ffmpeg') is None:
    pytest.skip('no ffmpeg on this machine to compare with')
  path = films.write(tmp_path / 'a.mp4', 'libx264', **arguments, options={'bf': '2'})
  images = np.array(read(path))
  height, width = images.shape[1:3]
  command = ['ffmpeg', '-v', 'error', '-i', str(path), '-vsync', '0', '-f', 'rawvideo']
  command += ['-vf', f'scale={width}:{height}', '-pix_fmt', 'rgb24', '-']
  raw = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
  expected = np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)
  assert len(images) == len(expected) == 30
  # Equal where both have the same version of swscale.
  assert np.abs(images.astype(int) - expected).max() <= 2


def test_a_size_that_changes_on_the_way(tmp_path, films):
  """As FFmpeg does: what follows is scaled to the first size."""
  parts = [
    films.write(tmp_path / f'{i}.ts', 'mpeg2video', 8, size=s)
    for i, s in enumerate([(48, 64), (96, 128)])
  ]
  (tmp_path / 'a.ts').write_bytes(b''.join(p.read_bytes() for p in parts))
  images = read(tmp_path / 'a.ts')
  assert len(images) >= 15 and {image.shape for image in images} == {(48, 64, 3)}


def test_nothing_but_our_words_on_standard_error(tmp_path, films):
  path = films.write(tmp_path / 'a.avi', 'mjpeg', pix_fmt='yuvj420p')
  path.write_bytes(path.read_bytes()[:-9000])
  code = f'from feelvos_tf.datasets.film import reader\nfor _ in reader.Film({str(path)!r}).frames(): pass'
  process = subprocess.run(
    [sys.executable, '-c', code],
    capture_output=True,
    text=True,
    timeout=60,
    check=False,
    env={**os.environ, 'PYTHONPATH': os.getcwd()},
  )
  assert process.stderr.startswith('Traceback') and 'breaks off after' in process.stderr
