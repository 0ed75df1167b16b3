/** The open clip and the frame on the page: shows frames, takes what is painted. */

import {Clip} from './clip.js';
import {MaskEditor} from './mask_editor.js';
import {hideGone} from './session_run.js';
import {MaskFileError, decodeIds, encodeIds, resizeIds} from './png.js';

const DEFAULT_LONG_SIDE = 854; // What the model was made for; the whole size is one choice away.

export class Workspace {
  /**
   * @param {FrameView} view
   * @param {function()} onChange called when clip, frame or masks changed.
   */
  constructor(view, onChange) {
    Object.assign(this, {view, onChange, clip: null, editor: null, index: 0, base: null,
      wanted: null, showing: null, saving: Promise.resolve(), running: false, opening: null,
      maxPixels: Infinity});
    this.longSide = DEFAULT_LONG_SIDE;
  }

  /** Takes the frames of a source (`openVideo`, `openImages`) as the clip. */
  async open(source) {
    const clip = new Clip(source);
    this.clip?.close();
    this.clip = clip;
    this.longSide = Math.max(source.width, source.height) > DEFAULT_LONG_SIDE
      ? DEFAULT_LONG_SIDE : Infinity;
    await this.useSize();
  }

  /** Sets the longer side of the frames as they are sent; keeps the masks that the user made. */
  async setLongSide(longSide) {
    await this.settled();
    const {clip} = this;
    const {width, height, unsaved} = clip;
    this.longSide = longSide;
    clip.startOver();
    clip.setLongSide(longSide, this.maxPixels);
    for (const [index, held] of clip.corrections) {
      const {ids: old} = await decodeIds(clip.masks.get(index));
      const ids = resizeIds({width, height, ids: old}, clip.width, clip.height);
      clip.setCorrection(index, await encodeIds(ids, clip.width, clip.height), held);
    }
    if (!unsaved) clip.setSaved();
    await this.useSize();
  }

  async useSize() {
    const {clip, view} = this;
    clip.setLongSide(this.longSide, this.maxPixels);
    view.setSize(clip.width, clip.height);
    this.editor = new MaskEditor(clip.width, clip.height, (rect) => this.redraw(rect));
    await this.show(clip.masks.size ? clip.start : 0);
  }

  /** Draws the mask again, or what changed in `rect`. */
  redraw(rect) {
    if (!this.clip) return;
    const {width, height} = this.clip;
    this.view.showIds(this.editor?.ids ?? new Uint8Array(width * height), rect);
  }

  /** Shows a frame; of several wanted while one is being shown, the last. */
  show(index) {
    this.wanted = index;
    this.showing ??= this.showWanted().finally(() => { this.showing = null; this.onChange(); });
    return this.showing;
  }

  async showWanted() {
    while (this.wanted !== null) {
      const index = this.wanted;
      const {clip, view} = this;
      this.wanted = null;
      await this.saving;
      try {
        const ids = await this.idsOf(index);
        await clip.drawFrame(index, view.picture);
        if (clip === this.clip) this.take(index, ids);
      } catch (error) {
        if (clip === this.clip) throw error; // Else another clip is open, whose frame is wanted.
      }
    }
  }

  /** Shows a frame that a run has just drawn. */
  async present(index, canvas) {
    const ids = await this.idsOf(index);
    if (this.showing) return;
    this.view.showPicture(canvas);
    this.take(index, ids);
  }

  /** Shows the frame on the page again, whose mask a run may have made or used. */
  async renew() {
    await this.settled();
    if (this.base) await this.show(this.index);
  }

  take(index, ids) {
    this.index = index;
    this.base = {...this.clip.remember(index), ids};
    this.editor.load(ids);
    this.onChange();
  }

  /** Ids of a frame's mask; background where there is none. */
  async idsOf(index) {
    const {width, height} = this.clip;
    const blob = this.clip.masks.get(index);
    if (!blob) return new Uint8Array(width * height);
    const mask = await decodeIds(blob);
    if (mask.width !== width || mask.height !== height) {
      throw new MaskFileError(`The mask of frame ${index + 1} has ${mask.width} x ${mask.height} ` +
        `pixels, the frame ${width} x ${height}.`);
    }
    return mask.ids;
  }

  /** Why the frame on the page cannot be painted now; empty if it can. */
  whyNotPaint() {
    if (!this.clip) return 'Open a clip.';
    if (this.running) return 'Stop the run to paint.';
    if (this.opening) return 'Another clip is being opened.';
    return '';
  }

  get mayPaint() {
    return !this.showing && !this.whyNotPaint();
  }

  /** Keeps what is painted as the mask of the frame. */
  keep() {
    const {clip, editor, index, base} = this;
    const ids = editor.ids.slice();
    return this.save(clip, async () => {
      const blob = await encodeIds(ids, clip.width, clip.height);
      const isBase = ids.every((id, i) => id === base.ids[i]);
      if (isBase && clip.removals.get(index) === base.removed) clip.restore(index, base);
      else if (!clip.hasResults && ids.every((id) => !id)) clip.setCorrection(index, null);
      else clip.setCorrection(index, blob, new Set(ids.filter(Boolean)));
    });
  }

  /** Changes masks when those before are kept; then all masks agree with what is removed. */
  save(clip, change) {
    this.saving = this.saving.then(async () => {
      await change();
      if (clip.direction !== 'forward') { // Else the session ends objects.
        for (const index of clip.masks.keys()) await hideGone(clip, index);
      }
      this.onChange();
    });
    return this.saving;
  }

  /** Takes the last step back ('undo') or again ('redo'), on all frames that it changed. */
  history(way) {
    const {clip, editor} = this;
    const found = editor[way]();
    if (!found) return this.keep();
    return this.save(clip, () => {
      for (const [index, state] of found.change[found.side]) clip.restore(index, state);
    });
  }

  /** Takes an object out of the frame, and by `more(ids left here)` elsewhere: one step. */
  takeOut(id, more) {
    const {clip, editor, index} = this;
    const change = {};
    editor.rename(id, 0, change);
    const ids = editor.ids.slice();
    return this.save(clip, async () => {
      const indices = [...new Set([index, ...clip.corrections.keys()])];
      const states = () => indices.map((other) => [other, clip.remember(other)]);
      change.before = states();
      await more(ids);
      if (clip.direction !== 'forward') await hideGone(clip, index);
      change.after = states();
    });
  }

  /** Gives an object another id on all frames that the user painted; undo goes back to there. */
  renameObject(from, to) {
    const {clip, editor, index} = this;
    const isHere = editor.ids.includes(from);
    if (isHere) {
      editor.rename(from, to);
      this.keep();
    }
    this.saving = this.saving.then(async () => {
      for (const [other, held] of [...clip.corrections]) {
        if (other === index || !held.has(from)) continue;
        const {ids, width, height} = await decodeIds(clip.masks.get(other));
        const renamed = ids.map((id) => (id === from ? to : id));
        clip.setCorrection(other, await encodeIds(renamed, width, height),
          new Set(renamed.filter(Boolean)));
      }
      if (editor === this.editor && index === this.index) this.take(index, await this.idsOf(index));
      this.onChange();
    });
    return this.saving;
  }

  /** Takes an object out of this frame and of all that runs make after it. */
  removeObject(id) {
    const {clip, editor, index} = this;
    const isSeen = editor.ids.includes(id);
    const followsOn = clip.direction !== 'forward'; // The run does, and its masks do not show it.
    return this.takeOut(id, async (ids) => {
      const isGiven = followsOn ? isSeen && clip.corrections.has(index) : clip.masks.has(index);
      if (isGiven) {
        clip.setCorrection(index, await encodeIds(ids, clip.width, clip.height),
          new Set(ids.filter(Boolean)));
      }
      clip.removeObject(index, id);
    });
  }

  /** Takes an object that no run follows out of all masks that the user made. */
  dropObject(id) {
    const {clip} = this;
    if (!this.editor.ids.includes(id) && !clip.givenIds.has(id)) return this.saving;
    return this.takeOut(id, async () => {
      for (const [index, held] of [...clip.corrections]) {
        if (!held.has(id)) continue;
        const {ids: old, width, height} = await decodeIds(clip.masks.get(index));
        const ids = old.map((value) => (value === id ? 0 : value));
        const isEmpty = ids.every((value) => !value);
        if (isEmpty && !(clip.hasResults && clip.whole.has(index))) clip.setCorrection(index, null);
        else {
          clip.setCorrection(index, await encodeIds(ids, width, height),
            new Set(ids.filter(Boolean)));
        }
      }
    });
  }

  /** Resolves when what was painted is kept and the wanted frame is shown. */
  async settled() {
    await this.showing;
    await this.saving;
  }

  /**
   * Takes the mask in a file for the frame on the page, also if the user goes on meanwhile.
   *
   * @returns {Promise<number[]>} the ids in it.
   * @throws {MaskFileError} no mask, another size, too many objects, or a run or clip came first.
   */
  async loadMask(file, maxObjects) {
    const {clip, index} = this;
    const mask = await decodeIds(file);
    const fits = (size) => mask.width === size.width && mask.height === size.height;
    if (!fits(clip) && !fits(clip.source)) {
      throw new MaskFileError(`The mask has ${mask.width} x ${mask.height} pixels, the clip ` +
        `${clip.source.width} x ${clip.source.height}. Give a mask of the clip's size.`);
    }
    const ids = [...new Set(mask.ids)].filter(Boolean).sort((a, b) => a - b);
    if (!ids.length) throw new MaskFileError('The mask holds no object: every pixel is 0.');
    if (ids.length > maxObjects) {
      throw new MaskFileError(
        `The mask holds ${ids.length} objects. The server takes ${maxObjects}.`);
    }
    while (clip === this.clip && (this.showing || index !== this.index)) await this.show(index);
    if (clip !== this.clip || this.running) {
      throw new MaskFileError('The mask was not taken: a run or another clip came first.');
    }
    const {unsaved} = clip;
    this.editor.replace(resizeIds(mask, clip.width, clip.height));
    await this.keep();
    if (!unsaved) clip.setSaved(); // The user has the file.
    return ids;
  }
}
