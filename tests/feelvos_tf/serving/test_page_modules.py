"""Modules of the page without a browser: what a clip keeps, and what the page shows of it."""

import json
import re
import struct

import av
import numpy as np
import pytest

from feelvos_tf.serving import auth
from feelvos_tf.serving import errors

from .page_in_node import FILM

PANELS = """
globalThis.window = {addEventListener() {}};
console.info = () => {};
globalThis.sessionStorage = {getItem: () => null};
globalThis.Option = class { constructor(text, value) { Object.assign(this, {text, value}); } };
const widgets = {};
const widget = () => ({addEventListener() {}, focus() {}, scrollIntoView() {}, append() {},
  options: [], selectedIndex: 0, replaceChildren(...options) { this.options = options; },
  get value() { return this.options[this.selectedIndex]?.value; }, set value(value) {}});
document.getElementById = (id) => (widgets[id] ??= widget());
document.createElement = () => ({getContext: () => ({drawImage() {}}),
  toBlob: (done) => done(blob)});
const {RunPanel} = await import('./run_panel.js');
const {ServerPanel} = await import('./server_panel.js');
"""


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
    let labels = ['1:dog'];
    const goesOn = async (index) => { labels = ['1:cow']; return index < 29; };
    const clip = new Clip({...source, goesOn, name: `${'long '.repeat(40)}.mp4`});
    for (const index of [7, 8, 9, 20]) clip.setResult(index, blob, new Map());
    const workspace = {clip, settled() {}};
    const api = {results: async (masks, form, given, fields) => {
      workspace.clip = new Clip(source);
      shown.masks = masks.map(([name]) => name);
      shown.fields = fields;
      shown.labels = given;
      return blob;
    }};
    const downloads = Object.assign(Object.create(DownloadPanel.prototype),
      {workspace, tell() {}, server: {limits: {max_body_bytes: 1e6}}});
    const panel = Object.assign(Object.create(ExportPanel.prototype), {api, workspace, downloads,
      form: {value: 'cvat'}, labels: () => labels, update() {}});
    await panel.save();
  """)
  name = 'long_' * 20
  assert shown['masks'] == ['7.png', '8.png', '9.png', '20.png']
  assert shown['fields'] == {
    'name': name, 'suffixes': ['.jpg'], 'places': '7-9,20', 'goesOn': True,
  }  # fmt: skip
  assert shown['labels'] == ['1:dog']
  assert shown['file'] == f'{name}_cvat.zip'


def test_a_second_click_before_work_has_settled_starts_nothing(node):
  shown = node("""
    const {ExportPanel} = await import('./export_panel.js');
    const clip = new Clip(source);
    clip.setResult(7, blob, new Map());
    let settle;
    const workspace = {clip, running: false,
      settled: () => new Promise((_, reject) => { settle = reject; })};
    const button = () => ({disabled: false, focus() {}, replaceChildren() {}});
    const downloads = Object.assign(Object.create(DownloadPanel.prototype), {workspace, tell() {},
      work: null, ...Object.fromEntries(['masks', 'overlay', 'cancel', 'note']
        .map((name) => [name, button()]))});
    const panel = Object.assign(Object.create(ExportPanel.prototype), {workspace, downloads,
      form: {value: 'coco'}, busy: false, button: button()});
    for (const [one, part, save] of [[panel, 'button', 'save'], [downloads, 'overlay', 'saveOverlay']]) {
      one.update();
      const states = [one[part].disabled];
      const saved = one[save]().catch(() => {});
      states.push(one[part].disabled);
      settle({name: 'AbortError'});
      await saved;
      shown[save] = [...states, one[part].disabled];
    }
  """)
  assert shown == {'save': [False, True, False], 'saveOverlay': [False, True, False]}


@pytest.mark.parametrize('can_tell, is_damaged', [(True, False), (False, False), (True, True)])
def test_where_a_film_ends_that_only_its_container_counts(node, can_tell, is_damaged):
  """Of 40 frames at 25 a second, by its duration, there are 30; the sound goes on.

  What is shown stays, also if the end cannot be read: after an error an element is of no use.
  """
  shown = node(
    f'{FILM}const [canTell, isDamaged] = {json.dumps([can_tell, is_damaged])};'
    + """
    class Film extends FilmElement {
      duration = 1.6;
      #time = 0;
      constructor() {
        super();
        if (!canTell) this.requestVideoFrameCallback = undefined;
      }
      load() { shown.emptied = (shown.emptied ?? 0) + 1; }
      get currentTime() { return this.#time; }
      set currentTime(time) {
        if (isDamaged && time >= this.duration) this.isBroken = true;
        if (this.isBroken) {
          this.tell('error', null);
          return;
        }
        const shown = (place) => Math.min(29, Math.floor(place * 25 + 1e-6)) / 25;
        const isNew = shown(time) !== shown(this.#time);
        this.#time = time;
        this.tell('seeked', isNew ? shown(time) : null);
      }
    }
    document.createElement = () => new Film();
    const {openVideo} = await import('./video_frames.js');
    const film = await openVideo(new Blob(['no index']), 'film.ogv');
    shown.count = film.count;
    await film.withFrame(39, () => {});
    const asked = Promise.all([0, 28, 29, 38, 39].map((index) => film.goesOn(index)));
    shown.time = await film.withFrame(39, (video) => video.currentTime);
    shown.goesOn = await asked;
    shown.later = await film.withFrame(12, (video) => video.currentTime);
  """
  )
  goes_on = [True, True, False, False, False] if can_tell and not is_damaged else [False] * 5
  emptied = {'emptied': 1} if can_tell else {}
  assert shown == {'count': 40, 'time': 1.58, 'goesOn': goes_on, 'later': 0.5, **emptied}


def test_frames_of_several_suffixes_keep_them(node):
  shown = node("""
    const {ExportPanel} = await import('./export_panel.js');
    const {Api} = await import('./api.js');
    const files = [];
    for (let i = 0; i < 30; i++) files.push({name: `${i}.JPG`});
    [files[7].name, files[8].name, files[20].name] = ['7.png', '8.png', '20.jpg'];
    const goesOn = () => { throw new Error('tracks only need it'); };
    const clip = new Clip({...source, files, goesOn});
    for (const index of [5, 6, 7, 8, 10, 20]) clip.setResult(index, blob, new Map());
    const api = Object.assign(Object.create(Api.prototype), {async request(method, path, body) {
      shown.suffixes = body.getAll('suffix');
      return {blob() {}};
    }});
    const panel = Object.assign(Object.create(ExportPanel.prototype), {api, labels: () => [],
      downloads: {server: {limits: {max_body_bytes: 1e6}}}});
    await panel.annotations(clip, [5, 6, 7, 8, 10, 20], 'coco', 'c');
  """)
  assert shown['suffixes'] == ['.JPG', '.png:7-8', '.jpg:20']


def test_an_export_that_is_too_large_for_a_request_is_not_sent(node):
  """The server hangs up, and the page said that it does not answer."""
  shown = node("""
    const {ExportPanel} = await import('./export_panel.js');
    const clip = new Clip(source);
    for (let index = 0; index < 30; index++) {
      clip.setResult(index, new Blob([new Uint8Array(2 ** 20)]), new Map());
    }
    const api = {results: async (masks) => masks.length};
    const panel = Object.assign(Object.create(ExportPanel.prototype), {api, labels: () => [],
      downloads: {server: {limits: {max_body_bytes: 20 * 2 ** 20}}}});
    const indices = [...clip.masks.keys()];
    shown.few = await panel.annotations(clip, indices.slice(0, 19), 'coco', 'c');
    shown.many = await panel.annotations(clip, indices, 'coco', 'c').catch(({message}) => message);
  """)
  assert shown == {
    'few': 19, 'many': 'The masks have 30.0 MB, the server takes 20.0 in one request. Download the '
    'masks and use feelvos convert-masks.',
  }  # fmt: skip


def test_shapes_are_taken_one_after_the_other_and_what_is_painted_meanwhile_stays(node):
  """The server takes seconds for each; nobody waits for it."""
  shown = node("""
    const {MaskEditor} = await import('./mask_editor.js');
    const {ShapeMasks} = await import('./shape_masks.js');
    const editor = new MaskEditor(8, 8);
    const texts = [];
    const waiting = [];
    const api = {draw: (frame, shapes) => new Promise((resolve) => {
      texts.push(shapes.map(([, text]) => text));
      waiting.push(resolve);
    })};
    let taken = 0;
    const until = async (isTrue) => {
      while (!isTrue()) await new Promise((done) => { setTimeout(done, 1); });
    };
    const answer = async (columns) => { // What the shapes so far make of the object.
      await until(() => waiting.length);
      const [ids, before] = [new Uint8Array(64), taken];
      ids.forEach((_, i) => { ids[i] = columns.includes(i % 8) ? 5 : 0; });
      waiting.shift()(await encodeIds(ids, 8, 8));
      await until(() => taken > before || !isHere);
    };
    const row = () => [...editor.ids.subarray(32, 40)].join('');
    const masks = new ShapeMasks(api);
    const picture = {toBlob: (done) => done(blob)};
    let isHere = true;
    const draw = (x) => masks.add({kind: 'box', points: [{x, y: 0}, {x: x + 1, y: 8}]},
      {clip: 'c', index: 0, id: 5}, picture, {}, () => (isHere ? editor.ids : null),
      (ids) => { editor.replace(ids); taken++; });
    const all = [draw(0), draw(1)];
    await until(() => waiting.length);
    editor.begin(7, 1, 6.5, 4.5); // Goes on while the first answer comes.
    await answer([0, 6]);
    shown.first = row();
    editor.strokeTo(5.5, 4.5); editor.end();
    await answer([0, 1]);
    shown.second = row();
    all.push(draw(2), draw(3));
    await answer([0, 2]); // Columns of a shape before are the object's no longer.
    shown.third = row();
    isHere = false; // Another frame.
    await answer([0, 1, 2, 3]);
    await Promise.all(all);
    shown.elsewhere = row();
    shown.asked = texts.map((shapes) => shapes.length);
    for (const step of ['third', 'second', 'stroke', 'first', 'begin']) {
      editor.undo();
      shown[`without ${step}`] = row();
    }
  """)
  assert shown == {
    'first': '50000070',
    'second': '55000770',
    'third': '50500770',
    'elsewhere': '50500770',
    'asked': [1, 2, 3, 4],
    'without third': '55000770',
    'without second': '50000770',
    'without stroke': '50000070',
    'without first': '00000070',
    'without begin': '00000000',
  }


def test_a_step_is_taken_back_in_the_middle_of_a_stroke(node):
  shown = node("""
    const {MaskEditor} = await import('./mask_editor.js');
    const editor = new MaskEditor(8, 1);
    const row = () => editor.ids.join('');
    editor.begin(1, 1, 0.5, 0.5); editor.strokeTo(3.5, 0.5); editor.end();
    editor.begin(2, 1, 2.5, 0.5); editor.undo(); editor.undo();
    shown.undone = row();
    editor.strokeTo(4.5, 0.5); editor.end();
    shown.whole = row();
    editor.undo();
    shown.without = row();
  """)
  assert shown == {'undone': '00000000', 'whole': '00222000', 'without': '00000000'}


def test_an_object_gets_its_new_id_on_all_frames_that_were_painted(node):
  """A run would follow the old and the new id as two objects."""
  shown = node("""
    const workspace = new Workspace(view, () => {});
    await workspace.open(source);
    const {clip} = workspace;
    const mixed = () => encodeIds(new Uint8Array(64).fill(1).fill(2, 32), 8, 8);
    clip.setCorrection(0, await full(1), [1]);
    clip.setCorrection(9, await mixed(), [1, 2]);
    clip.setCorrection(12, await full(2), [2]);
    await workspace.show(0);
    await workspace.renameObject(1, 7);
    for (const index of [0, 9, 12]) {
      const {ids} = await decodeIds(clip.masks.get(index));
      shown[index] = [[...new Set(ids)], [...clip.corrections.get(index)]];
    }
    workspace.editor.undo(); // Would take it back on this frame alone.
    shown.page = workspace.editor.ids[0];
  """)
  assert shown == {'0': [[7]] * 2, '9': [[7, 2]] * 2, '12': [[2]] * 2, 'page': 7}


SHOWN_IDS = """
const workspace = new Workspace(view, () => {});
await workspace.open(source);
const {clip} = workspace;
const both = () => encodeIds(new Uint8Array(64).fill(1).fill(2, 32), 8, 8);
const idsOf = async (...indices) => {
  const found = [];
  for (const index of indices) {
    const mask = clip.masks.get(index);
    found.push(mask ? [...new Set((await decodeIds(mask)).ids)].join() : '-');
  }
  return found;
};
const stroke = async () => {
  workspace.editor.begin(5, 2, 4, 4); workspace.editor.end();
  await workspace.keep();
};
"""


@pytest.mark.parametrize('index', [0, 5])
def test_an_object_that_is_removed_before_a_run_is_in_no_mask(node, index):
  """Seen on the frame that is shown or not; in one step of the history."""
  shown = node(f"""
    {SHOWN_IDS}
    clip.setCorrection(0, await both(), [1, 2]);
    clip.setCorrection(9, await both(), [1, 2]);
    clip.setCorrection(12, await full(2), [2]);
    await workspace.show({index});
    await workspace.dropObject(2);
    const note = async (when) => {{
      shown[when] = [await idsOf(0, 9, 12), [...clip.corrections].map(([i, ids]) => [i, [...ids]])];
    }};
    await note('removed');
    await workspace.history('undo');
    await note('undone');
    await workspace.history('redo');
    await note('again');
  """)
  removed = [['1,0', '1,0', '-'], [[0, [1]], [9, [1]]]]
  assert shown['removed'] == removed
  assert shown['undone'][0] == ['1,2', '1,2', '2']
  assert sorted(shown['undone'][1]) == [[0, [1, 2]], [9, [1, 2]], [12, [2]]]
  assert [shown['again'][0], sorted(shown['again'][1])] == removed


@pytest.mark.parametrize('seen', [True, False])
def test_the_removal_of_an_object_behind_a_run_backward_is_taken_back(node, seen):
  """The masks of the run come again, with their confidence, without another run."""
  shown = node(f"""
    {SHOWN_IDS}
    clip.setDirection('backward');
    clip.setCorrection(29, await both(), [1, 2]);
    for (let i = 28; i >= 0; i--) clip.setResult(i, await both(), new Map([[1, .5], [2, .4]]));
    if (!{json.dumps(seen)}) clip.setResult(10, await full(1), new Map([[1, .5], [2, .4]]));
    clip.unsent.clear();
    await workspace.show(10);
    const note = async (when) => {{
      shown[when] = [await idsOf(9, 10, 20), clip.confidence.get(20).get(2), clip.isDone,
        [...clip.corrections.keys()]];
    }};
    await workspace.removeObject(2);
    await note('removed');
    await stroke();
    shown.stroke = await idsOf(9, 10, 20);
    await workspace.history('undo');
    await note('undone stroke');
    await workspace.history('undo');
    await note('undone');
    await workspace.history('redo');
    await note('again');
    await workspace.show(15);
    workspace.editor.give(2, new Uint8Array(64).fill(1, 32));
    await workspace.keep();
    shown.painted = await idsOf(10, 14, 15, 20);
  """)
  here = '1,2' if seen else '1'
  without = '1,0' if seen else '1'
  removed = [['1,2', without, '1,0'], 1, True, [29]]
  assert shown['removed'] == shown['undone stroke'] == shown['again'] == removed
  assert shown['stroke'][1].count('5') == 1 and shown['stroke'][2] == '1,0'
  assert shown['undone'] == [['1,2', here, '1,2'], 0.4, True, [29]]
  assert shown['painted'] == [without, '1,0', '1,2', '1,2']


def test_a_stroke_that_is_taken_back_leaves_the_removal_of_an_object_that_is_not_seen(node):
  shown = node(f"""
    {SHOWN_IDS}
    clip.setCorrection(0, await both(), [1, 2]);
    for (let i = 1; i < 30; i++) clip.setResult(i, await full(1), new Map([[1, .5], [2, .4]]));
    clip.unsent.clear();
    await workspace.show(10);
    await workspace.removeObject(2);
    await stroke();
    workspace.editor.load((await decodeIds(await full(1))).ids); // Painted over by hand.
    await workspace.keep();
    shown.state = [[...clip.removals.get(10)], [...clip.corrections.get(10)], [...clip.unsent]];
    await workspace.show(10);
    await workspace.removeObject(1);
    await workspace.history('undo');
    shown.undone = [[...clip.removals.get(10)], await idsOf(10)];
  """)
  assert shown == {'state': [[2], [1], [10]], 'undone': [[2], ['1']]}


def test_undo_after_another_direction_was_chosen_leaves_the_masks_to_the_run(node):
  """What was known of the shown frame is of the run before; a stroke is kept at that moment."""
  shown = node(f"""
    {PANELS}
    const workspace = new Workspace(view, () => {{}});
    await workspace.open(source);
    const {{clip}} = workspace;
    clip.setCorrection(0, await full(1), [1]);
    for (let i = 1; i < 30; i++) clip.setResult(i, await full(1), new Map());
    clip.unsent.clear();
    await workspace.show(0);
    const panel = new RunPanel({{}}, workspace, {{}}, () => true, () => {{}}, () => {{}});
    panel.direction.options = [{{value: 'both'}}];
    workspace.editor.begin(0, 2, 4, 4); workspace.editor.end();
    workspace.keep();
    workspace.editor.undo();
    workspace.keep();
    await panel.turn();
    shown.unsent = [[...clip.unsent], workspace.base.unsent];
    workspace.editor.begin(0, 2, 4, 4); workspace.editor.end();
    await workspace.keep();
    await workspace.history('undo');
    shown.undone = [[...clip.unsent], clip.isDone, clip.direction];
  """)
  assert shown == {'unsent': [[0], True], 'undone': [[0], False, 'both']}


def test_images_whose_masks_would_have_one_name_are_refused(node):
  shown = node("""
    const {openImages} = await import('./image_frames.js');
    globalThis.createImageBitmap = async () => ({width: 8, height: 8, close() {}});
    const named = (...names) => names.map((name) => ({name, type: ''}));
    shown.count = (await openImages(named('b.png', 'a.png'))).count;
    shown.error = await openImages(named('a.png', 'b.jpg', 'a.jpg')).catch(({message}) => message);
  """)
  assert shown['count'] == 2
  assert shown['error'].startswith('Both a.jpg and a.png were given: their masks would have one')


def test_a_run_is_stopped_before_it_has_begun(node):
  """The frame on the page is still being shown, or its mask saved, when Run and Stop come."""
  shown = node(f"""
    {PANELS}
    let asked = 0;
    const api = new Proxy({{}}, {{get: () => async () => {{ asked++; throw new Error('asked'); }}}});
    const workspace = new Workspace(view, () => {{}});
    await workspace.open(source);
    workspace.clip.setCorrection(0, await full(1), [1]);
    workspace.saving = new Promise((done) => {{ setTimeout(done, 50); }});
    const server = {{limits: {{}}, settings: () => ({{}}), askForToken() {{}}}};
    const panel = new RunPanel(api, workspace, server, () => true, () => panel.update(), () => {{}});
    const run = panel.run();
    panel.stop();
    await run;
    Object.assign(shown, {{asked, running: panel.running, note: panel.summary.split(' in')[0]}});
  """)
  assert shown == {'asked': 0, 'running': False, 'note': '0 frames'}


def test_a_run_takes_the_version_that_has_replaced_the_chosen_one(node):
  shown = node(f"""
    {PANELS}
    const {{ServerError}} = await import('./api.js');
    let versions = [1];
    const sent = [];
    const api = {{
      limits: async () => ({{models: [{{name: 'a', versions: [4]}}, {{name: 'b', versions}}]}}),
      createSession: async ({{model, version}}) => {{
        sent.push([model, version]);
        const isServed = model === 'b' && versions.includes(version);
        throw new ServerError('', isServed ? 503 : 404);
      }}}};
    const workspace = new Workspace(view, () => {{}});
    await workspace.open({{...source, original: () => blob}});
    workspace.clip.setCorrection(0, await full(1), [1]);
    const server = new ServerPanel(api, () => {{}});
    await server.load();
    server.model.selectedIndex = 1;
    const panel = new RunPanel(api, workspace, server, () => true, () => panel.update(), () => {{}});
    versions = [3, 2];
    await panel.run();
    await panel.run();
    shown.sent = sent;
  """)
  assert shown['sent'] == [['b', 1], ['b', 3]]


def test_a_model_that_is_chosen_during_a_run_is_that_of_the_next_one(node):
  shown = node(f"""
    {PANELS}
    const sent = [];
    const api = {{
      limits: async () => ({{models: [{{name: 'a', versions: [2, 1]}}]}}),
      createSession: async ({{version}}) => {{
        sent.push(version);
        panel.stop();
        return {{session_id: 's', object_ids: [0, 1], remembers_masks: true}};
      }},
      closeSession: async () => {{}}, socket: () => {{ throw new Error(); }}}};
    const workspace = new Workspace(view, () => {{}});
    await workspace.open({{...source, original: () => blob}});
    workspace.clip.setCorrection(0, await full(1), [1]);
    const server = new ServerPanel(api, () => {{}});
    await server.load();
    const panel = new RunPanel(api, workspace, server, () => true, () => panel.update(), () => {{}});
    for (const chosen of [0, 0, 1]) {{
      server.model.selectedIndex = chosen;
      await panel.run();
    }}
    shown.sent = sent;
  """)
  assert shown['sent'] == [2, 1]


def test_a_token_in_base64_goes_with_a_websocket(node):
  """Subprotocols hold no `/` and `=`: the browser refused to make the WebSocket."""
  token = "k/9+Q==(~)'%"
  (sent,) = node(f"""
    const {{Api}} = await import('./api.js');
    globalThis.WebSocket = class {{ constructor(url, names) {{ Object.assign(shown, names); }} }};
    const api = new Api('http://page/');
    api.token = {json.dumps(token)};
    api.socket('v1/overlay/stream');
  """).values()
  assert re.fullmatch(r"[-!#$%&'*+.^`|~\w]+", sent, re.ASCII)  # A token of RFC 9110.
  check = auth.TokenCheck(token)
  for name in (sent, f'bearer.{token}'):
    assert check.check_websocket(None, [name]) == name
  with pytest.raises(errors.RequestError, match='wrong token'):
    check.check_websocket(None, ['bearer.k/9+Q'])


@pytest.mark.parametrize('path', ['v1/results', 'v1/sessions/s/frames'])
def test_an_answer_that_breaks_off_is_no_fault_of_the_browser(node, path):
  shown = node(f"""
    const {{Api, ServerError}} = await import('./api.js');
    globalThis.fetch = async () => new Response(new ReadableStream({{pull: (stream) =>
      stream.error(new TypeError('network error'))}}));
    const api = new Api('http://page/');
    const asked = '{path}' === 'v1/results' ? api.results([], 'coco', [], {{suffixes: []}})
      : api.step('s', blob);
    const error = await asked.catch((reason) => reason);
    Object.assign(shown, {{isKnown: error instanceof ServerError, text: error.message}});
  """)
  assert shown['isKnown']
  assert shown['text'].startswith('The connection broke before the whole answer of the server')


@pytest.mark.parametrize('opens', [False, True])
def test_an_overlay_is_stopped_while_the_server_does_not_answer(node, opens):
  shown = node(f"""
    const {{makeOverlayVideo}} = await import('./overlay_video.js');
    const socket = new EventTarget();
    const sent = [];
    Object.assign(socket, {{send: (data) => sent.push(data), close: () => {{ shown.closed = true; }}}});
    const clip = new Clip({{...source, framesPerSecond: 25}});
    clip.encodeFrame = async () => ({{blob}});
    for (let index = 0; index < 9; index++) clip.setResult(index, blob, new Map());
    const stop = new AbortController();
    const made = makeOverlayVideo({{socket: () => socket}}, clip, [0, 1, 2, 3, 4, 5], 1e6, () => {{}},
      stop.signal);
    if ({json.dumps(opens)}) socket.dispatchEvent(new Event('open'));
    while ({json.dumps(opens)} && sent.length < 9) await new Promise((done) => setTimeout(done, 5));
    stop.abort();
    const late = new Promise((done) => {{ setTimeout(done, 5000, {{name: 'late'}}).unref(); }});
    shown.error = (await Promise.race([made.catch((reason) => reason), late])).name;
    const stopped = makeOverlayVideo({{socket: () => new EventTarget()}}, clip, [0], 1e6, () => {{}},
      stop.signal);
    shown.before = (await Promise.race([stopped.catch((reason) => reason), late])).name;
  """)
  assert shown == {'closed': True, 'error': 'AbortError', 'before': 'AbortError'}


@pytest.mark.parametrize('direction', ['start', 'end', 'both', 'late'])
def test_a_video_that_was_trimmed_without_encoding_has_the_frames_that_are_left(
  node, tmp_path, direction
):
  """A phone writes what is to be shown of the film into the file, and keeps all frames in it."""
  path = tmp_path / 'clip.mp4'
  with av.open(path, 'w') as container:
    stream = container.add_stream('mpeg4', rate=25, width=64, height=48, pix_fmt='yuv420p')
    for value in range(0, 240, 8):
      picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), value, np.uint8))
      container.mux(stream.encode(picture))
    container.mux(stream.encode())
  data = bytearray(path.read_bytes())
  at = data.index(b'elst') + 12
  whole, begin = struct.unpack_from('>Ii', data, at)  # Units of 1 / 1000 s and of 1 / 12800 s.
  late = begin + 5 * 512
  edit = {
    'start': (whole - 200, late), 'end': (400, begin), 'both': (400, late), 'late': (401, late - 1),
  }[direction]  # fmt: skip
  struct.pack_into('>Ii', data, at, *edit)
  path.write_bytes(data)
  with av.open(path) as container:
    expected = [float(frame.time) for frame in container.decode(video=0)]
  assert len(expected) == {'start': 25, 'end': 10, 'both': 10, 'late': 11}[direction]
  shown = node("""
    const {readMp4Times} = await import('./mp4_times.js');
    const {readFileSync} = await import('node:fs');
    Object.assign(shown, await readMp4Times(new Blob([readFileSync('clip.mp4')])));
  """)
  assert shown['codec'] == 'mp4v'
  np.testing.assert_allclose(shown['times'][:-1], expected, atol=1e-3)


TRACKING = """
const {Tracking} = await import('./tracking.js');
const said = [];
const mask = await full(1);
const say = (what, answer) => async (id, frame) => { said.push([what, frame]); return answer; };
const api = {
  createSession: ({frame}) => say('open', {session_id: 's', object_ids: [0, 1],
    remembers_masks: true})('', frame),
  step: say('step', {mask, confidence: new Map()}), remember: say('remember'),
  correct: say('correct', {object_ids: [0, 1]}), closeSession: async () => {}};
const clip = new Clip(source);
clip.encodeFrame = async (index) => ({blob: index, canvas: null});
const runTo = async (last) => {
  const run = new Tracking(api, clip, {}, async (index) => { if (index === last) run.stop(); });
  await run.run();
  return run;
};
"""


@pytest.mark.parametrize('backward', [False, True])
def test_the_frame_at_which_a_run_was_stopped_is_corrected(node, backward):
  frames = range(29, -1, -1) if backward else range(30)
  shown = node(f"""
    {TRACKING}
    clip.setDirection('{'backward' if backward else 'forward'}');
    clip.setCorrection({frames[0]}, mask, [1]);
    const run = await runTo({frames[4]});
    shown.place = clip.position(clip.last);
    clip.setCorrection(clip.last, await full(1), [1]);
    said.length = 0;
    await run.run();
    Object.assign(shown, {{said, done: clip.isDone}});
  """)
  place = shown['place']
  assert shown['said'] == [
    ['remember', frames[place - 1]],
    ['correct', frames[place]],
    *(['step', index] for index in frames[place + 1 :]),
  ]
  assert shown['done']


@pytest.mark.parametrize('direction', ['forward', 'backward', 'both'])
def test_a_mask_of_new_objects_is_completed_by_the_run_that_goes_on(node, direction):
  """What an earlier run predicted of other objects on its frame is no mask of the user."""
  start, late, between = (29, 9, 19) if direction == 'backward' else (0, 20, 10)
  shown = node(f"""
    {TRACKING}
    const {{BothWays}} = await import('./both_ways.js');
    const words = (...numbers) => new Uint16Array(numbers);
    const opinion = new Blob([words(2, 1, 1), new Uint8Array([0, 1]), words(0xb000, 0xc800)]);
    const half = (value, at) => encodeIds(new Uint8Array(64).fill(value, at, at + 16), 8, 8);
    let predicted = await half(1, 0);
    const answer = async () => ({{mask: predicted, confidence: new Map()}});
    Object.assign(api, {{step: answer, merged: answer, opinion: async () => opinion}});
    const {{correct}} = api;
    api.correct = (...given) => {{ shown.onlyAdds = given[5]; return correct(...given); }};
    clip.setDirection('{direction}');
    clip.setCorrection({start}, predicted, [1]);
    clip.setCorrection({late}, await half(2, 48), [2]);
    const run = async () => {{
      const Kind = clip.direction === 'both' ? BothWays : Tracking;
      await new Kind(api, clip, {{}}, async () => {{}}).run();
    }};
    const note = async (when) => {{
      const {{ids}} = await decodeIds(clip.masks.get({late}));
      shown[when] = [ids[0], ids[16], ids[48], [...clip.corrections.get({late})].sort()];
    }};
    await run();
    await note('first');
    const {{onlyAdds = true}} = shown; // A run both ways corrects nothing.
    predicted = await half(1, 16);
    clip.setCorrection({between}, predicted, [1]);
    await run();
    await note('corrected');
    Object.assign(shown, {{onlyAdds, done: clip.isDone}});
    clip.startOver();
    await note('start over');
  """)
  assert shown == {
    'first': [1, 0, 2, [1, 2]], 'corrected': [0, 1, 2, [1, 2]], 'start over': [0, 0, 2, [2]],
    'done': True, 'onlyAdds': True,
  }  # fmt: skip


def test_a_new_session_follows_objects_that_are_removed_from_later_frames(node):
  """A run backward shows them on the frames before; their hidden masks are no corrections."""
  shown = node(f"""
    {TRACKING}
    clip.setDirection('backward');
    clip.setCorrection(29, mask, [1]);
    await runTo(20);
    clip.removeObject(10, 1);
    shown.last = clip.last;
    const {{hideGone}} = await import('./session_run.js');
    for (const index of clip.masks.keys()) await hideGone(clip, index);
    said.length = 0;
    await runTo(-1);
    shown.said = said;
    shown.ids = [];
    for (const index of [9, 10]) shown.ids.push((await decodeIds(clip.masks.get(index))).ids[0]);
  """)
  assert shown['said'] == [['open', 29], *(['step', index] for index in range(28, -1, -1))]
  assert shown['ids'] == [1, 0] and shown['last'] < 20


def test_a_run_is_stopped_on_the_way_to_where_it_goes_on(node):
  """A new session sees all frames again that hide a removed object."""
  shown = node(f"""
    {TRACKING}
    clip.setDirection('backward');
    clip.setCorrection(29, mask, [1]);
    await runTo(10);
    clip.removeObject(5, 1);
    const masks = clip.masks.size;
    const run = new Tracking(api, clip, {{}}, async () => {{}});
    const {{step}} = api;
    api.step = async (id, frame) => {{ if (frame === 25) run.stop(); return step(id, frame); }};
    said.length = 0;
    await run.run();
    shown.stopped = said.splice(0);
    shown.kept = clip.masks.size === masks;
    api.step = step;
    await run.run();
    Object.assign(shown, {{said, done: clip.isDone}});
  """)
  assert shown['stopped'] == [['open', 29], *(['step', index] for index in range(28, 24, -1))]
  assert shown['said'] == [['open', 29], *(['step', index] for index in range(28, -1, -1))]
  assert shown['kept'] and shown['done']


def test_a_run_both_ways_that_was_stopped_compares_with_the_masks_that_a_whole_run_has(node):
  """The mask of frame 8 only adds an object; the run from frame 3 completes it."""
  shown = node(f"""
    {TRACKING}
    const {{BothWays}} = await import('./both_ways.js');
    const opened = [];
    const words = (...numbers) => new Uint16Array(numbers);
    const opinion = new Blob([words(2, 1, 1), new Uint8Array([0, 1]), words(0xb000, 0xc800)]);
    Object.assign(api, {{
      createSession: async ({{frame}}, others) => {{
        opened.push([frame, others.map(([other]) => other)]);
        return {{session_id: 's', object_ids: [0, 1, 2], remembers_masks: true}};
      }},
      opinion: async () => opinion, merged: async () => ({{mask, confidence: new Map()}})}});
    const given = new Uint8Array(64).fill(2, 32);
    clip.setDirection('both');
    clip.setCorrection(3, mask, [1]);
    clip.setCorrection(8, await encodeIds(given, 8, 8), [2]);
    const run = new BothWays(api, clip, {{}}, async (index, canvas) => {{
      if (index === 5 && clip.masks.has(5) && !shown.stopped) {{
        shown.stopped = opened.splice(0);
        run.stop();
      }}
    }});
    await run.run();
    shown.completed = [...clip.corrections.get(8)].sort();
    await run.run();
    Object.assign(shown, {{opened, done: clip.isDone}});
  """)
  assert shown['completed'] == [1, 2] and shown['done']
  assert shown['stopped'] == [[3, []], [8, []]]
  assert shown['opened'] == [[3, []], [8, []], [3, [8]], [8, []]]
