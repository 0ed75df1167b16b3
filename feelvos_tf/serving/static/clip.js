/** What is open: the frames, their working size, and the masks made so far. */

import {framesToCheck} from './repair_list.js';

const JPEG_QUALITY = 0.95;

/**
 * A clip and its masks. Masks are kept as PNG files, frames not at all. A correction is a mask that
 * the user made; the run takes it over when it comes to its frame.
 *
 * A run forward starts with the first correction, one backward with the last; positions count the
 * frames in the order of the run. A run in both directions has every frame in it.
 */
export class Clip {
  constructor(source) {
    this.source = source;
    this.direction = 'forward'; // Or 'backward', 'both'.
    this.masks = new Map(); // Frame index -> Blob.
    this.confidence = new Map(); // Frame index -> Map of object id to number, of the run's masks.
    this.corrections = new Map(); // Frame index -> ids, of the masks that the user made.
    this.whole = new Set(); // Those of them that are right for the whole frame, whatever they hold.
    this.completed = new Map(); // Frame index -> what the user made, where a run completed it.
    this.unsent = new Set(); // Those of them that no run has used yet.
    this.removals = new Map(); // Frame index -> ids that no later mask of a run holds.
    this.hidden = new Map(); // Frame index -> what a run made, where objects are hidden.
    this.stretches = new Map(); // Of a run in both directions, see `BothWays`.
    // How often masks were painted and made by runs; `saved` is that at the last download.
    this.painted = 0;
    this.made = 0;
    this.saved = {painted: 0, made: 0};
    this.setLongSide(Infinity, Infinity);
  }

  get count() {
    return this.source.count;
  }

  /** Place of a frame in the run's order, and the frame at a place: each is the other's inverse. */
  position(index) {
    return this.direction === 'backward' ? this.count - 1 - index : index;
  }

  /** The frame whose mask the run starts with; frame 0 while there is none. */
  get start() {
    if (!this.corrections.size) return 0;
    return this.position(Math.min(...this.positionsOf(this.corrections.keys())));
  }

  /** The last frame up to which every frame from the start on has a mask; -1 without any. */
  get last() {
    const first = this.position(this.start);
    let last = first - 1;
    while (last + 1 < this.count && this.masks.has(this.position(last + 1))) last++;
    return last >= first ? this.position(last) : -1;
  }

  /** Whether a run has made masks. */
  get hasResults() {
    return this.masks.size > this.corrections.size;
  }

  /** The frame from which the next run goes on: the first unsent correction or the last mask. */
  get from() {
    return this.position(Math.min(...this.positionsOf([this.last, ...this.unsent])));
  }

  /** How many frames a run gives masks, and how many of them are there. */
  get progress() {
    if (this.direction === 'both') return {total: this.count, done: this.masks.size};
    const first = this.position(this.start);
    const done = this.last < 0 ? 0 : this.position(this.last) - first + 1;
    return {total: this.count - first, done};
  }

  /** Whether masks changed since they were downloaded: what a run made and what was painted. */
  get unsaved() {
    return this.painted !== this.saved.painted || this.made !== this.saved.made;
  }

  /** The masks of now, for `setSaved`. */
  get state() {
    return {painted: this.painted, made: this.made};
  }

  /** Tells that the masks of a `state` are elsewhere, too. */
  setSaved(state = this.state) {
    this.saved = state;
  }

  /** Whether there is nothing left to run. */
  get isDone() {
    const {total, done} = this.progress;
    return done === total && !this.unsent.size;
  }

  /** Sets the working size: no side above `longSide`, no more than `maxPixels` pixels. */
  setLongSide(longSide, maxPixels) {
    const {width, height} = this.source;
    const scale = Math.min(1, longSide / Math.max(width, height),
      Math.sqrt(maxPixels / (width * height)));
    this.width = Math.max(1, Math.floor(width * scale + 1e-6));
    this.height = Math.max(1, Math.floor(height * scale + 1e-6));
  }

  /** Another direction: the next run makes all masks anew. */
  setDirection(direction) {
    this.direction = direction;
    for (const index of this.completed.keys()) this.takeCompletionBack(index);
    this.stretches.clear();
    this.unsent = new Set(this.corrections.keys());
  }

  /** Takes the mask that a run made of a frame. */
  setResult(index, blob, confidence) {
    this.made++;
    this.masks.set(index, blob);
    this.confidence.set(index, confidence);
    this.hidden.delete(index);
  }

  /** Sets the mask that the user made on a frame, with its ids; null takes it away. */
  setCorrection(index, blob, ids = []) {
    this.painted++;
    this.confidence.delete(index);
    this.completed.delete(index);
    this.hidden.delete(index);
    if (blob) {
      if (this.masks.has(index) && !this.corrections.has(index)) this.whole.add(index);
      this.masks.set(index, blob);
      this.corrections.set(index, new Set(ids));
      this.unsent.add(index);
    } else {
      for (const kept of [this.masks, this.corrections, this.whole, this.unsent, this.removals]) {
        kept.delete(index);
      }
    }
  }

  /** Takes a mask that only added objects, completed by those that the run predicted. */
  complete(index, blob, ids) {
    this.made++;
    this.completed.set(index, {blob: this.masks.get(index), ids: this.corrections.get(index)});
    this.masks.set(index, blob);
    this.corrections.set(index, new Set(ids));
    this.whole.add(index);
  }

  /** Takes what a run predicted out of a mask that only added objects; another run completes it. */
  takeCompletionBack(index) {
    const given = this.completed.get(index);
    if (!given) return;
    this.masks.set(index, given.blob);
    this.corrections.set(index, given.ids);
    this.whole.delete(index);
    this.completed.delete(index);
    this.unsent.add(index);
  }

  /**
   * Whether the mask that the user made of a frame holds objects, and none of the known ones. One
   * that was painted over a mask of a run is whole.
   */
  addsOnly(index, known) {
    const ids = this.corrections.get(index);
    return !this.whole.has(index) && ids.size > 0 && [...ids].every((id) => !known.has(id));
  }

  /** Ends an object at a frame: runs hold it no longer from there on. */
  removeObject(index, id) {
    if (this.direction === 'forward') {
      this.setCorrection(index, this.masks.get(index), this.corrections.get(index) ?? []);
    }
    this.painted++;
    this.removals.set(index, new Set(this.removals.get(index)).add(id));
  }

  /** Ids that were removed at a frame or before it and that no mask by the user brought back. */
  gone(index) {
    const found = new Set();
    for (const [at, ids] of [...this.removals].sort(([a], [b]) => a - b)) {
      if (at <= index) ids.forEach((id) => found.add(id));
      for (const [other, held] of this.corrections) {
        if (at <= other && other <= index) held.forEach((id) => found.delete(id));
      }
    }
    return found;
  }

  /** Ids that the user's masks hold. */
  get givenIds() {
    return new Set([...this.corrections.values()].flatMap((ids) => [...ids]));
  }

  /** Ids that masks of runs hold or held before they were removed. */
  get idsOfRuns() {
    const found = new Set();
    for (const held of [...this.confidence.values(), ...this.removals.values()]) {
      for (const id of held.keys()) found.add(id); // Of a Map and of a Set.
    }
    return found;
  }

  /** What is known of a frame's mask, for `restore`. */
  remember(index) {
    return {blob: this.masks.get(index), corrected: this.corrections.get(index),
      whole: this.whole.has(index), completed: this.completed.get(index),
      unsent: this.unsent.has(index),
      removed: this.removals.get(index), hidden: this.hidden.get(index),
      confidence: this.confidence.get(index)};
  }

  /** Takes a correction back. */
  restore(index, {blob, corrected, whole, completed, unsent, removed, hidden, confidence}) {
    this.setCorrection(index, null);
    if (confidence) this.confidence.set(index, confidence);
    if (blob) this.masks.set(index, blob);
    if (corrected) this.corrections.set(index, corrected);
    if (whole) this.whole.add(index);
    if (completed) this.completed.set(index, completed);
    if (unsent) this.unsent.add(index);
    if (removed) this.removals.set(index, removed);
    if (hidden) this.hidden.set(index, hidden);
  }

  /** Drops the masks behind `index`, in the order of the run, that a run made. */
  dropResultsAfter(index) {
    const place = this.position(index);
    this.dropResults((other) => this.position(other) > place);
  }

  /** Drops what a run made of frames for which `isOld` holds. */
  dropResults(isOld) {
    for (const other of [...this.completed.keys()]) if (isOld(other)) this.takeCompletionBack(other);
    for (const other of [...this.masks.keys()]) {
      if (isOld(other) && !this.corrections.has(other)) {
        this.masks.delete(other);
        this.confidence.delete(other);
        this.hidden.delete(other);
      }
    }
  }

  /** Drops everything but the masks that the user made. */
  startOver() {
    this.dropResults(() => true);
    this.removals.clear();
    this.unsent = new Set(this.corrections.keys());
    this.saved = {...this.saved, made: this.made};
  }

  /** Frames of the run to look at first, see `framesToCheck`. */
  get toCheck() {
    return framesToCheck(this.confidence, this.count);
  }

  /** The clip with the masks and the size of now, for what takes long: runs may go on meanwhile. */
  copy() {
    return Object.assign(Object.create(Clip.prototype), this,
      {masks: new Map(this.masks), confidence: new Map(this.confidence)});
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

  positionsOf(indices) {
    return [...indices].map((index) => (index < 0 ? this.count : this.position(index)));
  }
}
