/** What is open: the frames, their working size, and the masks made so far. */

import {framesToCheck} from './repair_list.js';

const JPEG_QUALITY = 0.95;

/**
 * A clip and its masks. Masks are kept as PNG files, frames not at all. A correction is a mask that
 * the user made; the run takes it over when it comes to its frame.
 */
export class Clip {
  constructor(source) {
    this.source = source;
    this.masks = new Map(); // Frame index -> Blob.
    this.confidence = new Map(); // Frame index -> Map of object id to number, of the run's masks.
    this.corrections = new Set(); // Frame indices whose mask the user made, with the first one.
    this.unsent = new Set(); // Those of them that no run has used yet.
    this.removals = new Map(); // Frame index -> ids that no later mask of a run holds.
    this.start = 0; // The frame whose mask the run starts with.
    this.unsaved = false; // Whether a run made masks that were not downloaded.
    this.setLongSide(Infinity, Infinity);
  }

  get count() {
    return this.source.count;
  }

  /** The last frame up to which every frame from the first mask on has one; -1 without any. */
  get last() {
    let last = this.start - 1;
    while (this.masks.has(last + 1)) last++;
    return last >= this.start ? last : -1;
  }

  /** Whether a run has made masks. */
  get hasResults() {
    return this.masks.size > this.corrections.size;
  }

  /** The frame from which the next run goes on: the first unsent correction or the last mask. */
  get from() {
    return Math.min(this.last, ...this.unsent);
  }

  /** Whether the user may paint on a frame: one with a mask, or any while there is none. */
  canPaint(index) {
    return this.masks.has(index) || !this.masks.size;
  }

  /** Sets the working size: no side above `longSide`, no more than `maxPixels` pixels. */
  setLongSide(longSide, maxPixels) {
    const {width, height} = this.source;
    const scale = Math.min(1, longSide / Math.max(width, height),
      Math.sqrt(maxPixels / (width * height)));
    this.width = Math.max(1, Math.floor(width * scale + 1e-6));
    this.height = Math.max(1, Math.floor(height * scale + 1e-6));
  }

  /** Takes the mask that a run made of a frame. */
  setResult(index, blob, confidence) {
    this.masks.set(index, blob);
    this.confidence.set(index, confidence);
  }

  /** Sets the mask that the user made on a frame; null takes it away. */
  setCorrection(index, blob) {
    this.confidence.delete(index);
    if (blob) {
      this.masks.set(index, blob);
      this.corrections.add(index);
      this.unsent.add(index);
      if (!this.hasResults) this.start = index;
    } else {
      this.masks.delete(index);
      this.corrections.delete(index);
      this.unsent.delete(index);
      this.removals.delete(index);
    }
  }

  /** Ends an object at a frame whose mask does not hold it: runs follow it no longer from there. */
  removeObject(index, id) {
    this.setCorrection(index, this.masks.get(index));
    this.removals.set(index, new Set(this.removals.get(index)).add(id));
  }

  /** What is known of a frame's mask, for `restore`. */
  remember(index) {
    return {blob: this.masks.get(index), corrected: this.corrections.has(index),
      unsent: this.unsent.has(index), removed: this.removals.get(index),
      confidence: this.confidence.get(index)};
  }

  /** Takes a correction back. */
  restore(index, {blob, corrected, unsent, removed, confidence}) {
    this.setCorrection(index, null);
    if (confidence) this.confidence.set(index, confidence);
    if (blob) this.masks.set(index, blob);
    if (corrected) this.corrections.add(index);
    if (unsent) this.unsent.add(index);
    if (removed) this.removals.set(index, removed);
  }

  /** Drops the masks after `index` that a run made. */
  dropResultsAfter(index) {
    for (const other of [...this.masks.keys()]) {
      if (other > index && !this.corrections.has(other)) {
        this.masks.delete(other);
        this.confidence.delete(other);
      }
    }
  }

  /** Drops everything but the mask that the run starts with. */
  startOver() {
    const first = this.masks.get(this.start);
    this.masks.clear();
    this.confidence.clear();
    this.corrections.clear();
    this.unsent.clear();
    this.removals.clear();
    this.unsaved = false;
    if (first) this.setCorrection(this.start, first);
  }

  /** Frames of the run to look at first, see `framesToCheck`. */
  get toCheck() {
    return framesToCheck(this.confidence, this.count);
  }

  /** Draws a frame in working size. */
  drawFrame(index, context) {
    return this.source.withFrame(index, (picture) => {
      context.drawImage(picture, 0, 0, this.width, this.height);
    });
  }

  /**
   * A frame as it is sent.
   *
   * @returns {Promise<{blob: Blob, canvas: HTMLCanvasElement}>} the file and the drawn frame.
   */
  async encodeFrame(index) {
    const canvas = document.createElement('canvas');
    Object.assign(canvas, {width: this.width, height: this.height});
    const context = canvas.getContext('2d', {alpha: false, willReadFrequently: true});
    await this.drawFrame(index, context);
    const {width, height} = this.source;
    const unchanged = this.width === width && this.height === height;
    const blob = (unchanged && await this.source.original(index)) ||
      await new Promise((done) => { canvas.toBlob(done, 'image/jpeg', JPEG_QUALITY); });
    return {blob, canvas};
  }

  close() {
    this.source.close();
  }
}
