"""Modules of the page, or the whole of it, in Node.js: without a browser."""

import json
import pathlib
import shutil
import subprocess

import pytest

STATIC = pathlib.Path(__file__).parents[3] / 'feelvos_tf' / 'serving' / 'static'

START = """
import {Clip} from './clip.js';
const element = () => ({addEventListener() {}});
globalThis.document = {createElement: element, getElementById: element};
const {DownloadPanel} = await import('./download_panel.js');
const {Workspace} = await import('./workspace.js');
const {encodeIds, decodeIds} = await import('./png.js');
const source = {count: 30, width: 8, height: 8, name: 'c', close() {}, stem: String,
  goesOn: async (index) => index < 29,
  withFrame: async (index, use) => use({})};
const view = {setSize() {}, showIds() {}, showPicture() {}, picture: {drawImage() {}}};
const full = (value) => encodeIds(new Uint8Array(64).fill(value), 8, 8);
const blob = new Blob(['x']);
const shown = {};
"""

# A video element; a film says by `tell` what happened, and which picture callbacks get, if one.
FILM = """
globalThis.HTMLMediaElement = {HAVE_CURRENT_DATA: 2};
class FilmElement extends EventTarget {
  videoWidth = 8;
  videoHeight = 8;
  readyState = 4;
  #waiting = new Map();
  #count = 0;
  requestVideoFrameCallback(use) { this.#waiting.set(++this.#count, use); return this.#count; }
  cancelVideoFrameCallback(handle) { this.#waiting.delete(handle); }
  get src() { return this.url; }
  set src(url) { this.url = url; this.tell('loadeddata', 0); }
  removeAttribute() {}
  load() {}
  tell(event, mediaTime) {
    setTimeout(() => {
      const waiting = mediaTime === null ? [] : [...this.#waiting];
      for (const [handle] of waiting) this.#waiting.delete(handle);
      for (const [, use] of waiting) use(0, {mediaTime, presentedFrames: 1});
      this.dispatchEvent(new Event(event));
    });
  }
  play() { return Promise.reject(new Error('forbidden')); }
  pause() {}
}
"""

# The whole page, with elements that know no more than what it asks them for, and no server.
PAGE = """
const widgets = {};
const widget = () => {
  const listeners = {};
  const parts = {};
  const own = {hidden: false, disabled: false, value: '', style: {}, dataset: {}, options: [],
    content: {cloneNode: () => null}, classList: {toggle() {}, add() {}},
    addEventListener(kind, use) { (listeners[kind] ??= []).push(use); },
    fire: (kind, event = {}) => Promise.all((listeners[kind] ?? []).map((use) => use(event))),
    click() { return own.disabled ? null : own.fire('click'); },
    querySelector: (name) => (parts[name] ??= widget()),
    replaceChildren(...rows) { own.rows = rows; },
    getBoundingClientRect: () => ({left: 0, top: 0, width: 8, height: 8}),
    getContext: () => ({drawImage() {}, putImageData() {}, canvas: widget(),
      createImageData: (width, height) => ({data: new Uint8Array(4 * width * height)})})};
  return new Proxy(own, {get: (of, name) => (name in of ? of[name] : () => {})});
};
Object.assign(globalThis, {
  document: Object.assign(widget(), {body: widget(), createElement: widget, querySelector: widget,
    getElementById: (id) => (widgets[id] ??= widget()), querySelectorAll: () => [],
    baseURI: 'http://page/'}),
  window: Object.assign(widget(), {confirm: () => true}), sessionStorage: {getItem: () => null}, ResizeObserver: class { observe() {} },
  Option: class {}, matchMedia: () => ({matches: true, addEventListener() {}}),
  fetch: async () => { throw new Error('no server'); }});
for (const id of ['busy', 'alert']) document.getElementById(id).hidden = true;
const {workspace} = await import('./main.js');
const {encodeIds, decodeIds} = await import('./png.js');
let fetched = null; // What frames wait for.
const source = {count: 30, width: 8, height: 8, name: 'c', framesPerSecond: 25, close() {},
  stem: String, withFrame: async (index, use) => { await fetched; return use({}); }};
const full = (value) => encodeIds(new Uint8Array(64).fill(value), 8, 8);
const idOf = async (index) => {
  const mask = workspace.clip.masks.get(index);
  return mask ? (await decodeIds(mask)).ids[0] : null;
};
const soon = () => new Promise((done) => { setTimeout(done, 200); });
const shown = {};
"""


@pytest.fixture
def node(tmp_path):
  """Function: runs JavaScript next to the page's modules; returns what it put into `shown`."""
  program = shutil.which('node')
  if program is None:
    pytest.skip('no Node.js on this machine')
  for path in STATIC.glob('*.js'):
    shutil.copy(path, tmp_path)
  (tmp_path / 'package.json').write_text('{"type": "module"}')

  def run(code, start=START):
    (tmp_path / 'test.mjs').write_text(f'{start}{code}\nconsole.log(JSON.stringify(shown));')
    done = subprocess.run(
      [program, 'test.mjs'], cwd=tmp_path, text=True, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)

  return run
