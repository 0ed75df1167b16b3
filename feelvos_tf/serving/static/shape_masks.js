/** Masks out of shapes: those drawn one after the other for an object are one request. */

import {decodeIds} from './png.js';
import {shapeText} from './shape_input.js';

const JPEG_QUALITY = 0.95;

/** The shapes of one object on one frame, until something else changes the frame's mask. */
export class ShapeMasks {
  constructor(api) {
    Object.assign(this, {api, shapes: [], owner: {}, before: null, after: null,
      last: Promise.resolve()});
  }

  /**
   * Adds a shape, after those that the server still works on; what is painted meanwhile stays.
   *
   * @param {{kind: string, points: {x, y}[]}} shape
   * @param {{clip: Clip, index: number, id: number}} owner the frame and the object.
   * @param {HTMLCanvasElement} picture the frame.
   * @param {object} settings {model} to compare pixels with.
   * @param {function(): ?Uint8Array} idsNow the frame's mask as it is; null if it cannot be changed.
   * @param {function(Uint8Array)} take called with the mask and what the shapes say of the object.
   */
  async add(shape, owner, picture, settings, idsNow, take) {
    const frame = new Promise((done) => { picture.toBlob(done, 'image/jpeg', JPEG_QUALITY); });
    const turn = this.last.then(async () => this.ask(shapeText(shape, owner.id), owner, await frame,
      settings, idsNow, take));
    this.last = turn.catch(() => {});
    await turn;
  }

  async ask(text, owner, frame, settings, idsNow, take) {
    const {id} = owner;
    const asked = idsNow()?.slice();
    if (!asked) return;
    const goesOn = Object.keys(owner).every((key) => this.owner[key] === owner[key]) &&
      isEqual(asked, this.after);
    const shapes = [...(goesOn ? this.shapes : []), text];
    const earlier = goesOn ? this.before : asked;
    const found = (await decodeIds(await this.api.draw(frame, shapes, settings))).ids;
    const now = idsNow();
    if (!now) return;
    const before = earlier.map((old, i) => (now[i] === asked[i] ? old : now[i]));
    const after = before.map((old, i) => (found[i] === id && now[i] === asked[i] ? id : old));
    Object.assign(this, {shapes, owner, before, after});
    take(after);
  }
}

function isEqual(one, two) {
  return Boolean(two) && one.length === two.length && one.every((value, i) => value === two[i]);
}
