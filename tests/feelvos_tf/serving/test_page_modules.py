"""Modules of the page without a browser: what a clip keeps, and what the page shows of it."""

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
  withFrame: async (index, use) => use({})};
const view = {setSize() {}, showIds() {}, showPicture() {}, picture: {drawImage() {}}};
const full = (value) => encodeIds(new Uint8Array(64).fill(value), 8, 8);
const blob = new Blob(['x']);
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

  def run(code):
    (tmp_path / 'test.mjs').write_text(f'{START}{code}\nconsole.log(JSON.stringify(shown));')
    done = subprocess.run(
      [program, 'test.mjs'], cwd=tmp_path, text=True, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)

  return run


@pytest.mark.parametrize('direction, start', [('forward', 4), ('backward', 20), ('both', 10)])
def test_the_overlay_has_every_frame_with_a_mask(node, direction, start):
  frames = {'forward': range(4, 30), 'backward': range(21), 'both': range(30)}[direction]
  shown = node(f"""
    const clip = new Clip(source);
    clip.setDirection('{direction}');
    clip.setCorrection({start}, blob, [1]);
    for (const index of {json.dumps(sorted(frames, reverse=True))}) {{
      if (index !== {start}) clip.setResult(index, blob, new Map());
    }}
    const panel = Object.assign(Object.create(DownloadPanel.prototype), {{workspace: {{clip}}}});
    shown.all = [panel.indices(), panel.filmed()];
    if ('{direction}' === 'forward') {{
      clip.masks.delete(11);
      shown.gap = panel.filmed();
    }}
  """)
  assert shown['all'] == [list(frames)] * 2
  if direction == 'forward':
    assert shown['gap'] == list(range(4, 11))


def test_what_was_painted_counts_as_unsaved(node):
  shown = node("""
    const clip = new Clip(source);
    const states = [clip.unsaved];
    const save = () => { clip.setSaved(clip.state); states.push(clip.unsaved); };
    const note = () => states.push(clip.unsaved);
    clip.setCorrection(0, blob, [1]); note(); save();
    clip.setResult(1, blob, new Map()); note(); save();
    clip.setCorrection(1, blob, [1]); note(); save();
    clip.removeObject(1, 1); note(); save();
    clip.setResult(2, blob, new Map()); note();
    clip.startOver(); note(); // What the user agreed to lose.
    shown.states = states;
  """)
  assert shown['states'] == [False, *[True, False] * 4, True, False]


def test_a_mask_from_a_file_is_saved_and_what_is_painted_over_it_is_not(node):
  shown = node("""
    const workspace = new Workspace(view, () => {});
    await workspace.open(source);
    await workspace.loadMask(await full(3), 10);
    shown.loaded = workspace.clip.unsaved;
    workspace.editor.begin(5, 2, 4, 4); workspace.editor.end();
    await workspace.keep();
    shown.painted = workspace.clip.unsaved;
  """)
  assert shown == {'loaded': False, 'painted': True}


def test_the_frame_on_the_page_gets_the_mask_of_a_run_that_it_did_not_follow(node):
  """A stroke and its undoing then change the new mask, not the one before."""
  shown = node("""
    const workspace = new Workspace(view, () => {});
    await workspace.open(source);
    const {clip} = workspace;
    clip.setCorrection(0, await full(1), [1]);
    for (let i = 1; i < 30; i++) clip.setResult(i, await full(1), new Map([[1, .5]]));
    await workspace.show(3);
    for (let i = 1; i < 30; i++) clip.setResult(i, await full(2), new Map([[2, .9]]));
    await workspace.renew();
    shown.page = workspace.editor.ids[0];
    workspace.editor.begin(5, 2, 4, 4); workspace.editor.end();
    await workspace.keep();
    const {ids} = await decodeIds(clip.masks.get(3));
    shown.stroke = [...new Set(ids)].sort();
    workspace.editor.undo();
    await workspace.keep();
    shown.undone = (await decodeIds(clip.masks.get(3))).ids[0];
    shown.confidence = [...clip.confidence.get(3)];
  """)
  assert shown == {'page': 2, 'stroke': [2, 5], 'undone': 2, 'confidence': [[2, 0.9]]}


def test_masks_are_handed_on_with_their_places_in_the_clip_that_they_are_of(node):
  """Also while another clip is opened; a name longer than the server takes is cut."""
  shown = node("""
    document.body = {append() {}};
    document.createElement = () => ({click() { shown.file = this.download; }, remove() {}});
    globalThis.setTimeout = () => {};
    const {ExportPanel} = await import('./export_panel.js');
    const clip = new Clip({...source, name: `${'long '.repeat(40)}.mp4`});
    for (const index of [7, 8, 9, 20]) clip.setResult(index, blob, new Map());
    const workspace = {clip, settled() {}};
    const api = {results: async (masks, form, labels, fields) => {
      workspace.clip = new Clip(source);
      shown.masks = masks.map(([name]) => name);
      shown.fields = fields;
      return blob;
    }};
    const downloads = Object.assign(Object.create(DownloadPanel.prototype),
      {workspace, tell() {}});
    const panel = Object.assign(Object.create(ExportPanel.prototype), {api, workspace, downloads,
      form: {value: 'cvat'}, labels: () => [], update() {}});
    await panel.save();
  """)
  name = 'long_' * 20
  assert shown['masks'] == ['7.png', '8.png', '9.png', '20.png']
  assert shown['fields'] == {'name': name, 'suffix': '.jpg', 'places': '7-9,20-20'}
  assert shown['file'] == f'{name}_cvat.zip'
