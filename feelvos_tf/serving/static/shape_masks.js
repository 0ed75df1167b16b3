/** Masks out of shapes: those drawn one after the other for an object are one request. */

import {decodeIds} from './png.js';
import {shapeText} from './shape_input.js';

const JPEG_QUALITY = 0.95;

/** The shapes of one object on one frame, until something else changes the frame's mask. */
export class ShapeMasks {
  constructor(api) {
    Object.assign(this, {api, shapes: [], owner: {}, before: null, after: null});
  }

  /**
   * Adds a shape.
   *
   * @param {{kind: string, points: {x, y}[]}} shape
   * @param {{clip: Clip, index: number, id: number, ids: Uint8Array}} place the frame, the object
   *   and the frame's mask.
   * @param {HTMLCanvasElement} picture the frame.
   * @param {object} settings {model} to compare pixels with.
   * @returns {Promise<Uint8Array>} the frame's mask with what the shapes say of the object.
   */
  async add(shape, {clip, index, id, ids}, picture, settings) {
    const {owner} = this;
    const goesOn = owner.clip === clip && owner.index === index && owner.id === id &&
      isEqual(ids, this.after);
    const shapes = [...(goesOn ? this.shapes : []), shapeText(shape, id)];
    const before = goesOn ? this.before : ids.slice();
    const frame = await new Promise((done) => {
      picture.toBlob(done, 'image/jpeg', JPEG_QUALITY);
    });
    const found = (await decodeIds(await this.api.draw(frame, shapes, settings))).ids;
    const after = before.map((old, i) => (found[i] === id ? id : old));
    Object.assign(this, {shapes, owner: {clip, index, id}, before, after});
    return after;
  }
}

function isEqual(one, two) {
  return Boolean(two) && one.length === two.length && one.every((value, i) => value === two[i]);
}
