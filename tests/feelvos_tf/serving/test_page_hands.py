"""Hands that are quicker than the page: what is clicked while something else is under way."""

import json

import pytest

from .page_in_node import PAGE


@pytest.mark.parametrize('change', ['clear', 'remove', 'end', 'rename'])
def test_masks_do_not_change_while_another_frame_is_fetched(node, change):
  """The time line names frame 6 already; what is done there must not be done to frame 1."""
  shown = node(
    f"""
    await workspace.open(source);
    workspace.clip.setCorrection(0, await full(1), [1]);
    for (let index = 1; index < 10; index++) {{
      workspace.clip.setResult(index, await full(1), new Map([[1, 1]]));
    }}
    await workspace.show(0);
    const row = widgets.objects.rows[0];
    let arrive;
    fetched = new Promise((done) => {{ arrive = done; }});
    const moved = workspace.show(5);
    await soon();
    await {{
      clear: () => widgets['clear-frame'].click(),
      remove: () => row.querySelector('.remove').click(),
      end: () => row.querySelector('.end').click(),
      rename: () => {{
        row.querySelector('.id').value = '7';
        return row.querySelector('.id').fire('change');
      }},
    }}.{change}();
    shown.hint = widgets.hint.textContent;
    arrive();
    await moved;
    await workspace.settled();
    Object.assign(shown, {{ids: [await idOf(0), await idOf(5)], index: workspace.index,
      removals: workspace.clip.removals.size, row: row.querySelector('.id').value,
      later: widgets.hint.textContent}});
    """,
    PAGE,
  )
  assert shown == {
    'ids': [1, 1], 'index': 5, 'removals': 0, 'row': 1, 'hint': 'The frame is being fetched.',
    'later': '',
  }  # fmt: skip


def test_a_mask_file_is_for_the_frame_that_the_user_wants_to_see(node):
  shown = node(
    """
    await workspace.open(source);
    let arrive;
    fetched = new Promise((done) => { arrive = done; });
    const moved = workspace.show(5);
    await soon();
    widgets['mask-file'].files = [await full(3)];
    await widgets['mask-file'].fire('change');
    await soon();
    arrive();
    await moved;
    for (let i = 0; i < 50 && !workspace.clip.masks.size; i++) await soon();
    Object.assign(shown, {ids: [await idOf(0), await idOf(5)], alert: widgets.alert?.hidden});
    """,
    PAGE,
  )
  assert shown == {'ids': [None, 3], 'alert': True}


def test_a_mask_for_a_frame_that_cannot_be_fetched_is_put_on_no_other(node):
  """It was put on the frame in view, and the error was closed."""
  shown = node(
    """
    await workspace.open(source);
    let fail;
    fetched = new Promise((_, reject) => { fail = reject; });
    const moved = workspace.show(5).catch(() => {});
    await soon();
    widgets['mask-file'].files = [await full(3)];
    const taken = widgets['mask-file'].fire('change');
    await soon();
    fail(new Error('no such frame'));
    await Promise.all([moved, taken]);
    await soon();
    Object.assign(shown, {masks: workspace.clip.masks.size, alert: widgets.alert.hidden});
    """,
    PAGE,
  )
  assert shown == {'masks': 0, 'alert': False}


@pytest.mark.parametrize('move', ['play', 'show'])
def test_a_mask_file_is_not_for_a_frame_that_comes_after_it(node, move):
  """While the clip was played, or the file read, the frames went on under the mask."""
  shown = node(
    f"""
    await workspace.open(source);
    const file = await full(3);
    const wait = () => {{ let go; return [new Promise((done) => {{ go = done; }}), () => go()]; }};
    let [frame, arrive] = wait();
    const [read, readable] = wait();
    const bytes = await file.arrayBuffer();
    file.arrayBuffer = async () => {{ await read; return bytes; }};
    const plays = '{move}' === 'play';
    if (plays) {{
      fetched = frame;
      widgets.play.click();
      await soon();
    }}
    widgets['mask-file'].files = [file];
    widgets['mask-file'].fire('change');
    await soon();
    arrive();
    if (plays) {{
      [fetched, arrive] = wait();
      await soon();
      arrive();
    }} else await workspace.show(5);
    readable();
    for (let i = 0; i < 10 && !workspace.clip.masks.size; i++) await soon();
    Object.assign(shown, {{masks: [...workspace.clip.masks.keys()], index: workspace.index,
      alert: widgets.alert.hidden}});
    """,
    PAGE,
  )
  assert shown == {'masks': [0], 'index': 0, 'alert': True}


@pytest.mark.parametrize('slow', [False, True])
def test_the_clip_that_was_chosen_last_is_opened(node, slow):
  """Nothing is painted or run meanwhile, which would be lost with the clip before."""
  shown = node(
    f"""
    const opened = {{}};
    globalThis.createImageBitmap = (file) => new Promise((done, fail) => {{
      const picture = () => done({{width: 8, height: 8, close() {{}}}});
      if (opened[file.name]) picture(); // To be drawn.
      opened[file.name] = (works) => (works ? picture() : fail());
    }});
    const choose = async (name) => {{
      widgets['clip-file'].files = [{{name, type: 'image/png'}}];
      widgets['clip-file'].fire('change');
      await soon();
    }};
    const answer = async (name, works) => {{ opened[name](works); await soon(); }};
    await workspace.open(source);
    workspace.clip.setCorrection(0, await full(1), [1]);
    await workspace.show(0);
    const states = () => [workspace.mayPaint, !widgets.run.disabled, !widgets.busy.hidden];
    shown.before = states();
    await choose('a.png');
    await choose('b.png');
    shown.during = states();
    const isSlow = {json.dumps(slow)};
    if (!isSlow) await answer('a.png', true);
    shown.between = workspace.clip.source.name;
    await answer('b.png', true);
    if (isSlow) await answer('a.png', false);
    const {{name}} = workspace.clip.source;
    Object.assign(shown, {{name, after: states(), alert: widgets.alert.hidden}});
    """,
    PAGE,
  )
  assert shown == {
    'before': [True, True, False], 'during': [False, False, True], 'between': 'c', 'name': 'b.png',
    'after': [True, False, False], 'alert': True,
  }  # fmt: skip


def test_a_clip_is_open_also_if_a_frame_of_the_one_before_was_being_fetched(node):
  """What is closed gives no frame; the new clip had that error, and none of its frames."""
  shown = node(
    """
    await workspace.open(source);
    let fail;
    fetched = new Promise((_, reject) => { fail = reject; });
    workspace.show(5).catch(() => {});
    await soon();
    const opened = workspace.open({...source, name: 'd', withFrame: async (index, use) => use({})});
    fail(new Error('closed'));
    shown.works = await opened.then(() => true, () => false);
    Object.assign(shown, {index: workspace.index, wanted: workspace.wanted});
    """,
    PAGE,
  )
  assert shown == {'works': True, 'index': 0, 'wanted': None}


def test_a_second_click_on_masks_saves_no_second_file(node):
  shown = node(
    """
    let saved = 0;
    URL.createObjectURL = () => { saved++; return 'blob:'; };
    globalThis.setTimeout = ((set) => (use, after) => (after < 1e5 ? set(use, after) : null))(
      setTimeout);
    await workspace.open(source);
    workspace.clip.setCorrection(0, await full(1), [1]);
    await workspace.show(0);
    const button = widgets['save-masks'];
    const states = [button.disabled];
    const clicks = [button.fire('click'), button.fire('click')];
    states.push(button.disabled);
    await Promise.all(clicks);
    Object.assign(shown, {saved, states: [...states, button.disabled]});
    """,
    PAGE,
  )
  assert shown == {'saved': 1, 'states': [False, True, False]}


def test_a_clip_that_is_paused_and_played_again_is_played_once(node):
  """The first play was still waiting for a frame; both went on, in turn."""
  shown = node(
    """
    await workspace.open(source);
    const seen = [];
    const {show} = workspace;
    workspace.show = function (index) {
      seen.push(index);
      if (seen.length === 9) widgets.play.click();
      return show.call(this, index);
    };
    const button = widgets.play;
    button.click();
    button.click();
    button.click();
    while (seen.length < 9) await soon();
    await soon();
    shown.seen = seen;
    """,
    PAGE,
  )
  assert shown['seen'] == [0, *range(8)]


HANDS = """
const press = (key, target = widgets.surface) => target.fire('keydown',
  {key, target: document.body, preventDefault() {}});
const point = (kind, x, pointerType = 'mouse') => widgets.surface.fire(`pointer${kind}`,
  {clientX: x, clientY: 4, pointerType, isPrimary: true, button: 0, buttons: 1, timeStamp: 1e4});
"""


@pytest.mark.parametrize('hand', ['keys', 'mouse'])
def test_a_stroke_is_kept_when_the_frame_changes_under_it(node, hand):
  """It was lost; afterwards the pen counted as down and painted nothing."""
  shown = node(
    f"""
    {HANDS}
    await workspace.open(source);
    const begin = () => ('{hand}' === 'keys' ? press('Enter') : point('down', 4));
    await begin();
    await press('.');
    await workspace.settled();
    shown.index = workspace.index;
    await point('move', 6);
    await begin();
    await press(',');
    await workspace.settled();
    Object.assign(shown, {{ids: [await idOf(0), await idOf(1)], page: workspace.editor.ids[0]}});
    """,
    PAGE,
  )
  assert shown == {'index': 1, 'ids': [1, 1], 'page': 1}


def test_a_stroke_is_kept_when_a_run_starts_under_it(node):
  """A finger leaves the focus where it is; a mouse's stroke ends when the focus goes to Stop."""
  shown = node(
    f"""
    {HANDS}
    console.info = () => {{}};
    await workspace.open({{...source, original: () => new Blob(['x'])}});
    workspace.clip.setCorrection(0, await full(2), [2]);
    await workspace.show(0);
    await point('down', 4, 'touch');
    await press('r', document);
    while (workspace.running) await soon(); // There is no server.
    shown.ids = [await idOf(0), workspace.editor.ids[0]];
    """,
    PAGE,
  )
  assert shown == {'ids': [1, 1]}


@pytest.mark.parametrize('key', ['x', 's', 'd'])
def test_another_tool_ends_the_shape_that_is_being_dragged(node, key):
  """Every move raised a TypeError, and a shape of no kind went to the server."""
  shown = node(
    f"""
    {HANDS}
    await workspace.open(source);
    await press('{key}');
    await point('down', 2);
    await point('move', 6);
    await press('b');
    await point('move', 7);
    await point('up', 7);
    shown.masks = workspace.clip.masks.size;
    await point('down', 4);
    await point('up', 4);
    await workspace.settled();
    shown.id = await idOf(0);
    """,
    PAGE,
  )
  assert shown == {'masks': 0, 'id': 1}


@pytest.mark.parametrize('form', ['cutouts', 'table', 'overlay'])
def test_an_export_holds_the_masks_that_were_there_when_it_was_asked_for(node, form):
  """Those of a run that is started over, or of another size, were `undefined` in it."""
  shown = node(f"""
    const sizes = new Set();
    const context = {{getImageData: (x, y, width, height) => ({{data: new Uint8Array(4 * 64)}}),
      drawImage: (picture, x, y, ...size) => sizes.add(size.join()), putImageData() {{}},
      clearRect() {{}}}};
    document.body = {{append() {{}}}};
    document.createElement = () => ({{getContext: () => context, toBlob: (done) => done(blob),
      click() {{ shown.file = this.download; }}, remove() {{}}}});
    globalThis.setTimeout = () => {{}};
    let file;
    URL.createObjectURL = (saved) => {{ file = saved; }};
    const {{ExportPanel}} = await import('./export_panel.js');
    const clip = new Clip({{...source, framesPerSecond: 25, original: () => null}});
    clip.setCorrection(0, await full(1), [1]);
    for (const index of [1, 2, 3]) clip.setResult(index, await full(1), new Map([[1, 0.5]]));
    let asked = 0;
    const startOver = () => {{
      clip.startOver();
      clip.setLongSide(4, Infinity);
    }};
    if ('{form}' !== 'table') clip.source.withFrame = async (index, use) => {{
      if (asked++ === 1) startOver();
      return use({{}});
    }};
    const sent = [];
    const socket = Object.assign(new EventTarget(), {{close() {{}}, send(data) {{
      sent.push(data instanceof Blob ? 'file' : data);
      const frames = sent.filter((one) => one === 'file').length / 2;
      const answer = String(data).includes('end') ? {{done: true}} : {{frames: Math.floor(frames)}};
      const told = Object.assign(new Event('message'), {{data: JSON.stringify(answer)}});
      queueMicrotask(() => socket.dispatchEvent(told));
    }}}});
    const api = {{socket() {{
      queueMicrotask(() => socket.dispatchEvent(new Event('open')));
      return socket;
    }}}};
    const workspace = {{clip, settled() {{}}}};
    const parts = Object.fromEntries(['masks', 'overlay', 'cancel', 'note']
      .map((name) => [name, {{focus() {{}}, replaceChildren() {{}}}}]));
    const downloads = Object.assign(Object.create(DownloadPanel.prototype), {{api, workspace, ...parts,
      work: null, tell(text) {{ shown.text = text; }}, server: {{limits: {{max_body_bytes: 1e6}}}}}});
    const panel = Object.assign(Object.create(ExportPanel.prototype), {{api, workspace, downloads,
      form: {{value: '{form}'}}, update() {{}}}});
    const saved = '{form}' === 'overlay' ? downloads.saveOverlay() : panel.save();
    if ('{form}' === 'table') queueMicrotask(startOver);
    await saved;
    Object.assign(shown, {{sizes: [...sizes], files: sent.filter((one) => one === 'file').length,
      undefined: sent.includes(undefined),
      sure: (await file.text()).match(/,0\\.5$/gm)?.length ?? 0}});
  """)
  name, noun = {
    'cutouts': ('c_cutouts.zip', f'in c_{form}.zip'), 'table': ('frames.csv', 'in frames.csv'),
    'overlay': ('c_overlay.mp4', 'in the video'),
  }[form]  # fmt: skip
  assert shown == {
    'file': name, 'text': f'4 frames {noun}.', 'sizes': [] if form == 'table' else ['8,8'],
    'files': 8 if form == 'overlay' else 0, 'undefined': False, 'sure': 3 * (form == 'table'),
  }  # fmt: skip
