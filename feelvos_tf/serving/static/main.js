/** Puts the parts of the page together. */

import {Api} from './api.js';
import {BrushInput} from './brush_input.js';
import {ClipPanel} from './clip_panel.js';
import {DownloadPanel} from './download_panel.js';
import {ExportPanel} from './export_panel.js';
import {FrameView} from './frame_view.js';
import {hideError, say, showError} from './notices.js';
import {ObjectsPanel} from './objects_panel.js';
import {acceptDrops, openFiles} from './opening.js';
import {RunPanel} from './run_panel.js';
import {ServerPanel} from './server_panel.js';
import {ShapeMasks} from './shape_masks.js';
import {Timeline} from './timeline.js';
import {openVideo} from './video_frames.js';
import {Workspace} from './workspace.js';

const find = (id) => document.getElementById(id);
const api = new Api();
const view = new FrameView();

export const workspace = new Workspace(view, refresh);
const server = new ServerPanel(api, () => {
  workspace.maxPixels = server.limits.max_pixels;
  if (!workspace.running) runs?.forget();
  refresh();
});
const timeline = new Timeline((index) => {
  brush.lift(); // A stroke that is not kept is lost with its frame.
  find('follow').checked = workspace.running && index === workspace.clip.last;
  timeline.set(index);
  return workspace.show(index).catch(showError);
});
const objects = new ObjectsPanel({
  mayChange: () => mayPaint(),
  selected: () => brush.showCursor(),
  renamed: (from, to) => { if (workspace.clip) workspace.renameObject(from, to); },
  cleared: (id) => clearObject(id),
  removed: (id) => { if (workspace.clip) workspace.dropObject(id); },
  shown: (hidden) => {
    view.hidden = hidden;
    workspace.redraw();
  },
  ended: (id) => {
    workspace.removeObject(id);
    say(`Object ${id} ends on frame ${workspace.index + 1}.`);
  },
  refuse: showError,
});
const brush = new BrushInput(view, {
  mayPaint,
  editor: () => workspace.editor,
  objectId: () => objects.selected,
  painted: () => workspace.keep(),
  drawn: (shape) => takeShape(shape).catch(showError),
  toolChanged: showTool,
  key: shortcut,
  say,
});
const runs = new RunPanel(api, workspace, server, mayDrop, refresh,
  (index) => timeline.user(index));
const downloads = new DownloadPanel(api, workspace, server);
const exports = new ExportPanel(api, workspace, () => objects.labels, downloads);
const shapes = new ShapeMasks(api);
const clipPanel = new ClipPanel(workspace, {
  resized: (longSide) => {
    runs.forget();
    brush.reset();
    workspace.setLongSide(longSide).catch(showError);
  },
  rated: (rate) => {
    workspace.clip.source.setRate(rate);
    timeline.open(workspace.clip);
    workspace.show(0).catch(showError);
  },
});

/** Brings every part up to date with the workspace. */
function refresh() {
  const {clip, editor, index} = workspace;
  for (const panel of [clipPanel, runs, downloads, exports]) panel.update();
  const ready = Boolean(clip) && workspace.mayPaint;
  if (!ready) brush.lift(); // A run, say, that was started while a finger painted.
  for (const id of ['load-mask', 'clear-frame', 'add-object']) find(id).disabled = !ready;
  find('undo').disabled = !ready || !editor.canUndo;
  find('redo').disabled = !ready || !editor.canRedo;
  for (const id of ['zoom-in', 'zoom-out', 'size']) find(id).disabled = !clip;
  for (const input of document.querySelectorAll('[name="tool"]')) input.disabled = !clip;
  if (!clip) return;
  const counts = editor.counts();
  objects.include(counts.flatMap((count, id) => (id && count ? [id] : [])));
  const followed = clip.hasResults ? runs.tracking?.objectIds ?? new Set(objects.ids) : new Set();
  objects.setState({counts, enabled: ready, confidence: clip.confidence.get(index) ?? new Map(),
    followed, fixed: new Set([...followed, ...clip.idsOfRuns])});
  view.surface.classList.toggle('look', !ready);
  view.surface.setAttribute('aria-label', `Frame ${index + 1} of ${clip.count}`);
  find('hint').textContent = workspace.running ? '' : workspace.whyNotPaint();
  find('legend').hidden = !clip.masks.size;
  if (timeline.clip !== clip) timeline.open(clip);
  if (workspace.wanted === null) timeline.set(index);
}

function mayPaint() {
  const reason = workspace.whyNotPaint() || (workspace.showing ? 'The frame is being fetched.' : '');
  if (reason) {
    find('hint').textContent = reason;
    say(reason);
  }
  return workspace.mayPaint;
}

/** Gives the selected object what the server makes of a shape. */
async function takeShape(shape) {
  const {clip, index, editor, view: {picture}} = workspace;
  const id = objects.selected;
  const settings = {model: server.limits.models[0]?.name, ...server.settings()};
  // Another clip or size has another editor.
  const isHere = () => editor === workspace.editor && index === workspace.index && mayPaint();
  await shapes.add(shape, {clip, index, id}, picture.canvas, settings,
    () => (isHere() ? editor.ids : null), (ids) => {
      editor.replace(ids);
      workspace.keep();
      say(`${objects.nameOf(id)} is marked.`);
    });
}

function clearObject(id) {
  if (!workspace.clip || !workspace.editor.ids.includes(id)) return;
  workspace.editor.rename(id, 0);
  workspace.keep();
}

function history(step) {
  if (!workspace.clip || !mayPaint()) return;
  workspace.history(step).then(() => objects.include([...workspace.clip.givenIds]));
}

function showTool() {
  document.querySelector(`[name="tool"][value="${brush.tool}"]`).checked = true;
  find('size').value = find('size-value').textContent = brush.size;
}

/** Keys that are not the brush's. Returns whether there is such a key. */
function shortcut({key, shiftKey}) {
  const step = {',': -1, '.': 1, ArrowLeft: -1, ArrowRight: 1}[key];
  if (step) timeline.user(timeline.index + step * (shiftKey ? 10 : 1));
  else if (key === ' ') timeline.toggle();
  else if (/^[1-9]$/.test(key)) objects.select(objects.ids[key - 1]);
  else if (key.toLowerCase() === 'n') find('add-object').click();
  else if (key.toLowerCase() === 'h') objects.toggle(objects.selected);
  else if (key.toLowerCase() === 'l') lookNext();
  else if (key.toLowerCase() === 'r') (workspace.running ? find('stop') : find('run')).click();
  else return false;
  return true;
}

/** Goes to the next frame of the repair list, in the order of time; after the last to the first. */
function lookNext() {
  const found = (workspace.clip?.toCheck ?? []).map(({index}) => index).sort((a, b) => a - b);
  if (found.length) timeline.user(found.find((index) => index > workspace.index) ?? found[0]);
}

/** Asks before masks of a run are lost. */
function mayDrop(what) {
  return !workspace.clip?.unsaved ||
    window.confirm(`The masks are not downloaded. ${what} without them?`);
}

/**
 * Opens what `load` gives ({source, mask}); a message says what goes wrong. If the user chooses
 * another clip meanwhile, that one is opened.
 */
async function open(load) {
  if (workspace.running) {
    showError('Stop the run before opening another clip.');
    return;
  }
  if (!mayDrop('Open another clip')) return;
  hideError();
  timeline.pause();
  find('busy').hidden = false;
  const asked = {};
  workspace.opening = asked; // Nothing is painted or run that would be lost.
  refresh();
  const isLast = () => workspace.opening === asked;
  try {
    const {source, mask} = await load();
    if (!isLast()) {
      source.close();
      return;
    }
    runs.forget();
    brush.reset();
    objects.reset([]);
    objects.forget();
    find('welcome').hidden = true;
    await workspace.open(source);
    if (isLast()) await runs.turn();
    if (mask && isLast()) await takeMask(mask);
    if (!isLast()) return;
    say(`${source.name} is open: ${source.count} frames.`);
    view.surface.focus({preventScroll: true});
  } catch (error) {
    if (!isLast()) return;
    if (error.status === 401) server.askForToken();
    showError(error.status === 404 ? 'This server has no demo clip. Choose a file.' : error);
  } finally {
    if (isLast()) {
      workspace.opening = null;
      find('busy').hidden = true;
    }
    refresh();
  }
}

/** Takes a mask for the frame that the user wants to see. */
async function loadMask(file) {
  timeline.pause();
  try {
    do await workspace.settled(); while (workspace.showing);
    if (!mayPaint()) {
      showError(workspace.whyNotPaint());
      return;
    }
    hideError();
    await takeMask(file);
  } catch (error) { // Also why the frame cannot be shown: the mask is for no other.
    showError(error);
  }
}

/** Takes the mask in a file; before a run the objects are those of the mask. */
async function takeMask(file) {
  const ids = await workspace.loadMask(file, server.limits.max_objects);
  if (!workspace.clip.hasResults) objects.reset(ids);
  refresh();
}

async function demo() {
  const [clip, mask] = await Promise.all([api.demo('clip.mp4'), api.demo('mask.png')]);
  return {source: await openVideo(clip, 'demo.mp4'), mask};
}

function whenChosen(input, use) {
  input.addEventListener('change', () => {
    const files = [...input.files];
    input.value = '';
    if (files.length) use(files);
  });
}

async function connect() {
  try {
    await server.load();
  } catch (error) {
    showError(error, {label: 'Try again', run: connect});
  }
}

for (const button of document.querySelectorAll('[data-open]')) {
  button.addEventListener('click', () =>
    (button.dataset.open === 'demo' ? open(demo) : find('clip-file').click()));
}
whenChosen(find('clip-file'), (files) => open(async () => ({source: await openFiles(files)})));
whenChosen(find('mask-file'), ([file]) => loadMask(file));
acceptDrops(view.viewport, {hasClip: () => Boolean(workspace.clip), mask: loadMask,
  clip: (files) => open(async () => ({source: await openFiles(files)}))});
find('load-mask').addEventListener('click', () => find('mask-file').click());
find('clear-frame').addEventListener('click', () => {
  if (!mayPaint()) return;
  workspace.editor.replace(new Uint8Array(workspace.editor.ids.length));
  workspace.keep();
});
find('add-object').addEventListener('click', () => objects.add(server.limits.max_objects));
find('undo').addEventListener('click', () => history('undo'));
find('redo').addEventListener('click', () => history('redo'));
find('size').addEventListener('input', () => brush.set({size: Number(find('size').value)}));
for (const input of document.querySelectorAll('[name="tool"]')) {
  input.addEventListener('change', () => brush.set({tool: input.value}));
}
find('follow').addEventListener('change', () => {
  if (find('follow').checked && workspace.running) workspace.show(workspace.clip.last);
});
document.addEventListener('keydown', (event) => {
  const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey;
  const isFree = isPlain && event.target === document.body;
  if (isFree && workspace.clip && (shortcut(event) || brush.pick(event.key))) {
    event.preventDefault();
    return;
  }
  const isTyping = event.target.matches('input:not([type="range"], [type="radio"])');
  if (!(event.ctrlKey || event.metaKey) || isTyping) return;
  const key = event.key.toLowerCase();
  const step = key === 'y' || (key === 'z' && event.shiftKey) ? 'redo' : key === 'z' ? 'undo' : '';
  if (!step) return;
  event.preventDefault();
  history(step);
});
window.addEventListener('beforeunload', (event) => {
  if (workspace.running || workspace.clip?.unsaved) event.preventDefault();
});
refresh();
connect();
