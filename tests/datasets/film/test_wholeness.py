"""What is missing of a video file: noticed in every container, and never made up."""

import itertools
import struct
import warnings

import av
import pytest

from feelvos_tf.datasets import data_warning
from feelvos_tf.datasets.film import file_end
from feelvos_tf.datasets.film import reader

H264 = {'codec': 'libx264', 'options': {'bf': '2', 'g': '12'}}
FRONT = {**H264, 'container_options': {'movflags': 'faststart'}}
FRAGMENTS = {**H264, 'container_options': {'movflags': 'frag_keyframe+empty_moov'}}
CASES = {
  'a.mp4': FRONT,
  'a.mov': FRONT,
  'a.3gp': FRONT,
  'sound.mp4': {**FRONT, 'sound': 'aac'},
  'fragments.mp4': FRAGMENTS,
  'a.mkv': H264,
  'sound.mkv': {**H264, 'sound': 'aac'},
  'live.mkv': {**H264, 'container_options': {'live': '1'}},
  'a.webm': {'codec': 'libvpx-vp9'},
  'a.avi': {'codec': 'mpeg4'},
  'a.ts': H264,
  'a.m2ts': {**H264, 'container': 'mpegts', 'container_options': {'mpegts_m2ts_mode': '1'}},
  'a.mpg': {'codec': 'mpeg2video'},
  'a.flv': H264,
  'a.wmv': {'codec': 'wmv2'},
  'sound.flv': {**H264, 'sound': 'aac'},
  'a.gif': {'codec': 'gif', 'pix_fmt': 'rgb8'},
  'a.apng': {'codec': 'apng', 'pix_fmt': 'rgb24', 'container': 'apng'},
  'a.mxf': {'codec': 'mpeg2video'},
  'a.ivf': {'codec': 'libvpx-vp9'},
  'a.y4m': {'codec': 'wrapped_avframe', 'container': 'yuv4mpegpipe'},
}


def read(path):
  """Number of frames; with every warning an error."""
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    return sum(1 for _ in reader.Film(path).frames())


@pytest.fixture
def film(tmp_path, films, request):
  return films.write(tmp_path / request.param, count=50, **CASES[request.param])


@pytest.mark.parametrize('film', CASES, indirect=True)
def test_whole_files_are_whole(film):
  assert read(film) == 50


@pytest.mark.parametrize('share', [0.5, 0.75, 0.9])
@pytest.mark.parametrize('film', CASES, indirect=True)
def test_a_cut_is_noticed(film, share):
  data = film.read_bytes()
  # A transport stream that ends with a packet is the hardest: only the torn frame shows.
  film.write_bytes(data[: int(len(data) * share) // 2 * 2 + 1])
  count = 0
  with pytest.raises(ValueError, match='breaks off after|no decodable video stream') as error:
    for _ in reader.Film(film).frames():
      count += 1
  assert str(error.value).startswith(f'{film}: ') and '\n' not in str(error.value)
  if 'breaks off' in str(error.value):
    assert f'breaks off after {count} ' in str(error.value)


def test_a_nut_file_without_its_index_gives_a_warning(tmp_path, films):
  path = films.write(tmp_path / 'a.nut', 'ffv1')
  assert read(path) == 30
  data = path.read_bytes()
  with av.open(str(path)) as container:
    places = [packet.pos for packet in container.demux(video=0) if packet.size]
  path.write_bytes(data[: places[15]])
  with pytest.warns(data_warning.DataWarning, match=r'a\.nut: the file has no index; it may break'):
    assert sum(1 for _ in reader.Film(path).frames()) == 15
  path.write_bytes(data[: places[15] - 100])
  with pytest.raises(ValueError, match='the video breaks off after 14 frames'):
    read(path)


@pytest.mark.parametrize('codec', ['libx264', 'libx265', 'mpeg2video'])
@pytest.mark.parametrize('length', [188, 192])
def test_a_transport_stream_that_ends_with_a_packet_inside_a_frame(tmp_path, films, codec, length):
  """It may be whole, as one frame in 184 fills its last packet: at least a warning."""
  options = {'crf': '1', 'x265-params': 'log-level=none', 'b': '2000000'}
  if codec == 'mpeg2video':
    options = {'b': '2000000', 'qmin': '1'}
  path = films.write(
    tmp_path / 'a.ts',
    codec,
    5,
    size=(96, 128),
    options=options,
    container='mpegts',
    container_options={'mpegts_m2ts_mode': str(int(length == 192))},
  )
  data = path.read_bytes()
  assert read(path) == 5
  packets = [data[i + length - 188 : i + length] for i in range(0, len(data), length)]
  pid = av.open(str(path)).streams.video[0].id
  video = [i for i, p in enumerate(packets) if int.from_bytes(p[1:3], 'big') & 0x1FFF == pid]
  inside = [i for i, after in itertools.pairwise(video) if not packets[after][1] & 0x40]
  assert len(inside) >= 5
  for last in inside[::4]:
    path.write_bytes(data[: (last + 1) * length])
    with pytest.raises((ValueError, data_warning.DataWarning), match=r'break.? off|no decodable'):
      read(path)


def test_one_frame_less_is_noticed(tmp_path, films):
  """Frames are not stored in the order they are shown in: the end is there, one before is not."""
  path = films.write(tmp_path / 'a.mkv', count=50, **H264)
  data = path.read_bytes()
  cues = data.rfind(b'\x1c\x53\xbb\x6b')
  path.write_bytes(data[: cues - 20])
  with pytest.raises(ValueError, match='breaks off after 49 of 50 frames'):
    read(path)
  path.write_bytes(data[: cues + 8])  # Only the index at the end is torn.
  with pytest.warns(data_warning.DataWarning, match='the end of the file is missing; all frames'):
    assert sum(1 for _ in reader.Film(path).frames()) == 50


def test_frames_at_the_end_that_repeat_the_one_before_are_not_missing(tmp_path, films):
  """Programs that record a screen at rest write empty chunks; FFmpeg leaves them out."""
  path = films.write(tmp_path / 'a.avi', 'mpeg4', sound='pcm_s16le')
  data = bytearray(path.read_bytes())
  index, content = data.rfind(b'idx1'), data.find(b'movi')
  entries = range(index + 8, len(data) - 15, 16)
  video = [entry for entry in entries if data[entry : entry + 4] == b'00dc']
  assert len(video) == 30
  for entry in video[-5:]:
    offset, size = struct.unpack('<II', data[entry + 8 : entry + 16])
    chunk, rest = content + offset, size + size % 2 - 8
    data[chunk + 4 : chunk + 16] = struct.pack('<I4sI', 0, b'JUNK', rest)
    data[entry + 12 : entry + 16] = bytes(4)
  path.write_bytes(data)
  assert read(path) == 25
  path.write_bytes(data[:index])
  with pytest.raises(ValueError, match='breaks off after 25 of 30 frames'):
    read(path)


def test_damage_in_the_middle(tmp_path, films):
  path = films.write(tmp_path / 'a.avi', 'png', 40, pix_fmt='rgb24')
  data = bytearray(path.read_bytes())
  middle = data.find(b'\x89PNG', len(data) // 2)
  data[middle : middle + 40] = bytes(40)
  path.write_bytes(data)
  with pytest.raises(
    ValueError, match=r'damaged in 1 places, the first after \d+ frames; 3[89] frames'
  ):
    read(path)


@pytest.mark.parametrize('codec', ['libx264', 'libx265', 'libsvtav1'])
@pytest.mark.parametrize('last', [1, 2])
def test_a_damaged_frame_at_the_end_is_noticed_and_no_other_lost(tmp_path, films, codec, last):
  """With threads for frames nothing was said, and of HEVC three frames of 30 were lost."""
  options = {'libx264': {'bf': '2'}, 'libx265': {'x265-params': 'log-level=none'}}
  path = films.write(tmp_path / 'a.mp4', codec, size=(96, 128), options=options.get(codec))
  with av.open(str(path)) as container:
    packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
  data = bytearray(path.read_bytes())
  start, size = packets[-last]
  data[start : start + size] = b'\xff' * size
  path.write_bytes(data)
  count = 0
  with pytest.raises(ValueError, match='breaks off after 29 of 30|; 29 frames could be decoded'):
    for _ in reader.Film(path).frames():
      count += 1
  assert (len(packets), count) == (30, 29)


def test_sound_that_is_longer_than_the_pictures_is_no_damage(tmp_path, films):
  for name in ('a.mkv', 'a.mp4', 'a.flv'):
    path = films.write(tmp_path / name, **H264, sound='aac', sound_seconds=4)
    assert read(path) == 30


def test_two_films_in_one_file(tmp_path, films):
  """FFmpeg reads the first and says nothing."""
  path = films.write(tmp_path / 'a.mp4', **H264)
  path.write_bytes(2 * path.read_bytes())
  with pytest.warns(data_warning.DataWarning, match='a.mp4: another film follows in the file'):
    assert sum(1 for _ in reader.Film(path).frames()) == 30


def test_an_encrypted_film_is_called_so(tmp_path, films, monkeypatch):
  # As FFmpeg does now and then: a frame of noise.
  noise = av.VideoFrame(64, 48, 'yuv420p')
  monkeypatch.setattr(reader, '_decoded', lambda *_: iter([noise]))
  key = {
    'encryption_scheme': 'cenc-aes-ctr',
    'encryption_key': '76' * 16,
    'encryption_kid': 'a7' * 16,
  }
  path = films.write(tmp_path / 'a.mp4', **H264, container_options=key)
  with pytest.raises(ValueError, match=r'a\.mp4: .* film is encrypted; export it without'):
    read(path)


def test_encryption_is_read_from_the_codecs_of_the_tracks(tmp_path):
  box = lambda kind, body: struct.pack('>I4s', 8 + len(body), kind) + body

  def index(*kinds):
    codecs = struct.pack('>II', 0, len(kinds)) + b''.join(box(kind, bytes(78)) for kind in kinds)
    track = box(b'stsd', codecs)
    for kind in (b'stbl', b'minf', b'mdia', b'trak'):
      track = box(kind, track)
    return box(b'moov', box(b'udta', b'encv') + track)

  path = tmp_path / 'a.mp4'
  for kinds, expected in (([b'avc1'], False), ([b'encv'], True), ([b'avc1', b'encv'], True)):
    path.write_bytes(box(b'ftyp', b'isom') + index(*kinds))
    assert file_end.is_encrypted(path) is expected
