/** The open clip and the frame on the page: shows frames, takes what is painted. */

import {Clip} from './clip.js';
import {MaskEditor} from './mask_editor.js';
import {MaskFileError, decodeIds, encodeIds, resizeIds} from './png.js';

const DEFAULT_LONG_SIDE = 854; // What the model was made for; the whole size is one choice away.

export class Workspace {
  /**
   * @param {FrameView} view
   * @param {function()} onChange called when clip, frame or masks changed.
   */
  constructor(view, onChange) {
    Object.assign(this, {view, onChange, clip: null, editor: null, index: 0, base: null,
      wanted: null, showing: null, saving: Promise.resolve(), running: false, maxPixels: Infinity});
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

  /** Sets the longer side of the frames as they are sent; keeps the first mask. */
  async setLongSide(longSide) {
    await this.settled();
    const {clip} = this;
    const {width, height} = clip;
    const first = clip.masks.get(clip.start);
    this.longSide = longSide;
    clip.setLongSide(longSide, this.maxPixels);
    clip.startOver();
    if (first) {
      const {ids: old} = await decodeIds(first);
      const ids = resizeIds({width, height, ids: old}, clip.width, clip.height);
      clip.setCorrection(clip.start, await encodeIds(ids, clip.width, clip.height));
    }
    await this.useSize();
  }

  async useSize() {
    const {clip, view} = this;
    clip.setLongSide(this.longSide, this.maxPixels);
    view.setSize(clip.width, clip.height);
    this.editor = new MaskEditor(clip.width, clip.height,
      (rect) => view.showIds(this.editor?.ids ?? new Uint8Array(clip.width * clip.height), rect));
    await this.show(clip.masks.size ? clip.start : 0);
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
      const ids = await this.idsOf(index);
      await clip.drawFrame(index, view.picture);
      if (clip === this.clip) this.take(index, ids);
    }
  }

  /** Shows a frame that a run has just drawn. */
  async present(index, canvas) {
    const ids = await this.idsOf(index);
    if (this.showing) return;
    this.view.showPicture(canvas);
    this.take(index, ids);
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
    const {clip, index} = this;
    if (!clip) return 'Open a clip.';
    if (this.running) return 'Stop the run to paint.';
    if (this.showing || clip.canPaint(index)) return '';
    if (clip.hasResults) return `Frame ${index + 1} has no mask. Run on to get one.`;
    return `The mask is on frame ${clip.start + 1}. Go there to paint, or clear it.`;
  }

  get mayPaint() {
    return !this.showing && !this.whyNotPaint();
  }

  /** Keeps what is painted as the mask of the frame. */
  keep() {
    const {clip, editor, index, base} = this;
    const ids = editor.ids.slice();
    this.saving = this.saving.then(async () => {
      const blob = await encodeIds(ids, clip.width, clip.height);
      if (ids.every((id, i) => id === base.ids[i])) clip.restore(index, base);
      else if (!clip.hasResults && ids.every((id) => !id)) clip.setCorrection(index, null);
      else clip.setCorrection(index, blob);
      this.onChange();
    });
    return this.saving;
  }

  /** Takes an object out of this frame and of all that runs make after it. */
  removeObject(id) {
    const {clip, index} = this;
    if (this.editor.ids.includes(id)) this.editor.rename(id, 0);
    this.keep();
    this.saving = this.saving.then(() => {
      clip.removeObject(index, id);
      this.onChange();
    });
    return this.saving;
  }

  /** Resolves when what was painted is kept and the wanted frame is shown. */
  async settled() {
    await this.showing;
    await this.saving;
  }

  /**
   * Takes the mask in a file for the frame on the page.
   *
   * @returns {Promise<number[]>} the ids in it.
   * @throws {MaskFileError} no mask, another size, too many objects.
   */
  async loadMask(file, maxObjects) {
    const {clip} = this;
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
    this.editor.replace(resizeIds(mask, clip.width, clip.height));
    await this.keep();
    return ids;
  }
}
