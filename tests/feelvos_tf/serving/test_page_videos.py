"""Videos that are damaged, or that the browser does not play as it should, without a browser."""

import pytest

# Knows its pictures only behind the first half, as if no seek brought those before.
FILM = """
globalThis.HTMLMediaElement = {HAVE_CURRENT_DATA: 2};
globalThis.setTimeout = ((set) => (use, after, ...given) =>
  set(use, after === 3000 ? 50 : after, ...given))(setTimeout); // As long as a film is played.
class Film extends EventTarget {
  duration = 1;
  videoWidth = 8;
  videoHeight = 8;
  readyState = 4;
  #time = 0;
  #waiting = new Map();
  #count = 0;
  requestVideoFrameCallback(use) { this.#waiting.set(++this.#count, use); return this.#count; }
  cancelVideoFrameCallback(handle) { this.#waiting.delete(handle); }
  get src() { return this.url; }
  set src(url) { this.url = url; this.tell('loadeddata'); }
  removeAttribute() {}
  load() {}
  get currentTime() { return this.#time; }
  set currentTime(time) {
    this.#time = time;
    this.tell('seeked');
    this.tell('durationchange');
  }
  tell(event) {
    const mediaTime = this.#time < 0.5 ? 0 : Math.floor(10 * this.#time + 1e-6) / 10;
    setTimeout(() => {
      const waiting = event === 'durationchange' ? [] : [...this.#waiting];
      for (const [handle] of waiting) this.#waiting.delete(handle);
      for (const [, use] of waiting) use(0, {mediaTime, presentedFrames: 1});
      this.dispatchEvent(new Event(event));
    });
  }
  play() { return Promise.reject(new Error('forbidden')); }
  pause() {}
}
document.createElement = () => new Film();
const {openVideo} = await import('./video_frames.js');
"""


@pytest.mark.parametrize('plays', [True, False])
def test_a_frame_that_does_not_come_is_used_for_no_later_one(node, plays):
  """The picture of the next seek was drawn for it, or one after the error."""
  shown = node(f"""
    {FILM}
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
    {FILM}
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
