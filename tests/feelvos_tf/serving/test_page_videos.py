"""Videos that are damaged, or that the browser does not play as it should, without a browser."""

import av
import numpy as np
import pytest

from .page_in_node import FILM

# Knows its pictures only behind the first half, as if no seek brought those before.
HALF_FILM = (
  FILM
  + """
globalThis.setTimeout = ((set) => (use, after, ...given) =>
  set(use, after === 3000 ? 50 : after, ...given))(setTimeout); // As long as a film is played.
class Film extends FilmElement {
  duration = 1;
  #time = 0;
  get currentTime() { return this.#time; }
  set currentTime(time) {
    this.#time = time;
    this.tell('seeked', time < 0.5 ? 0 : Math.floor(10 * time + 1e-6) / 10);
    this.tell('durationchange', null);
  }
}
document.createElement = () => new Film();
const {openVideo} = await import('./video_frames.js');
"""
)


@pytest.mark.parametrize('plays', [True, False])
def test_a_frame_that_does_not_come_is_used_for_no_later_one(node, plays):
  """The picture of the next seek was drawn for it, or one after the error."""
  shown = node(f"""
    {HALF_FILM}
    const film = await openVideo(new Blob(['no index']), 'film.ogv');
    film.setTimes(Array.from({{length: 11}}, (_, i) => i / 10), null);
    if ({str(plays).lower()}) film.video.play = async () => {{}};
    const used = [];
    const take = (index) => film.withFrame(index, () => {{ used.push(index); }});
    shown.error = await take(3).then(() => '', ({{message}}) => message.slice(0, 19));
    await take(7);
    await new Promise((done) => {{ setTimeout(done, 200); }});
    shown.used = used;
  """)
  assert shown == (
    {'error': '', 'used': [3, 7]} if plays else {'error': 'This browser cannot', 'used': [7]}
  )


def test_a_video_without_a_length_is_let_go(node):
  """The browser kept the file as long as the page was open."""
  shown = node(f"""
    {HALF_FILM}
    const held = new Set();
    URL.createObjectURL = () => {{ held.add('blob:1'); return 'blob:1'; }};
    URL.revokeObjectURL = (url) => held.delete(url);
    Film.prototype.load = () => {{ shown.emptied = true; }};
    document.createElement = () => Object.assign(new Film(), {{duration: Infinity}});
    shown.error = await openVideo(new Blob(['no index']), 'film').catch(({{message}}) => message);
    shown.held = [...held];
  """)
  assert shown.pop('error').startswith('film does not say how long it is.')
  assert shown == {'held': [], 'emptied': True}


def with_bytes(data, box, at, value):
  """The file with other bytes behind the name of its first box of a type."""
  start = data.index(box) + len(box) + at
  return data[:start] + value + data[start + len(value) :]


@pytest.mark.parametrize(
  'damage',
  [
    None,
    ('tfhd', -4, b'free'),  # A fragment of no track.
    ('trun', 0, bytes(4) + b'\xff\xff\xff\xff'),  # 4 billion frames without fields.
    ('mdhd', 12, bytes(4)),  # No time scale.
  ],
  ids=['whole', 'no track', 'frames', 'scale'],
)
def test_a_damaged_mp4_file_has_a_measured_rate(node, tmp_path, damage):
  """It could not be opened at all, or its reader did not end."""
  path = tmp_path / 'clip.mp4'
  flags = {'movflags': 'frag_keyframe+empty_moov'}
  with av.open(path, 'w', options=flags) as container:
    stream = container.add_stream('mpeg4', rate=25, width=64, height=48, pix_fmt='yuv420p')
    for _ in range(5):
      picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))
      container.mux(stream.encode(picture))
    container.mux(stream.encode())
  data = path.read_bytes()
  if damage:
    box, at, value = damage
    path.write_bytes(with_bytes(data, box.encode(), at, value))
  shown = node("""
    const {readMp4Times} = await import('./mp4_times.js');
    const {readFileSync} = await import('node:fs');
    shown.index = await readMp4Times(new Blob([readFileSync('clip.mp4')]));
  """)
  if damage:
    assert shown == {'index': None}
  else:
    np.testing.assert_allclose(shown['index']['times'], np.arange(6) / 25)


WHOLE = bytes.fromhex('a38481000080 a38481002880')  # Blocks of track 1 at 0 and 40 ms.
TRACKS = bytes.fromhex('1654ae6b88 ae86 d78101 838101')
VP8_TRACKS = bytes.fromhex('1654ae6b8f ae8d d78101 838101 8685') + b'V_VP8'
VP8 = bytes.fromhex('a38581000080 10 a38581002880 10')


@pytest.mark.parametrize(
  'tracks, blocks, times',
  [
    (TRACKS, WHOLE, [0, 0.04, 0.08]),
    (TRACKS, WHOLE + bytes.fromhex('a3828100'), None),
    (TRACKS, bytes.fromhex('a3828100') + WHOLE, None),
    (b'', bytes.fromhex('a38400000080'), None),
    (VP8_TRACKS, VP8 + bytes.fromhex('a38481005080'), [0, 0.04, 0.08]),
  ],
  ids=['whole', 'last', 'first', 'no track', 'empty'],
)
def test_a_webm_file_with_blocks_without_a_header_has_a_measured_rate(
  node, tmp_path, tracks, blocks, times
):
  """It could not be opened at all if the last one was of that kind, or none was of a track."""
  start = bytes.fromhex('1a45dfa380 1853806701ffffffffffffff')
  cluster = bytes.fromhex('1f43b67501ffffffffffffff e78100')
  (tmp_path / 'clip.webm').write_bytes(start + tracks + cluster + blocks)
  shown = node("""
    const {readWebmTimes} = await import('./webm_times.js');
    const {readFileSync} = await import('node:fs');
    shown.times = (await readWebmTimes(new Blob([readFileSync('clip.webm')])))?.times ?? null;
  """)
  assert shown['times'] == times
