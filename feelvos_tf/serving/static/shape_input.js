/** A box, a polygon or a scribble in the making: its points, drawn over the frame. */

const NEAR = 10; // CSS pixels to the first corner of a polygon that close it.
const SCRIBBLE_STEP = 3; // Pixels of the frame between two points of a scribble.
const FEWEST = {box: 2, polygon: 3, scribble: 2, unscribble: 2};

export class ShapeInput {
  /** @param {FrameView} view */
  constructor(view) {
    this.view = view;
    this.root = document.getElementById('shape');
    this.area = this.root.querySelector('polygon');
    this.line = this.root.querySelector('polyline');
    this.clear();
  }

  /** Whether a shape has been begun. */
  get open() {
    return this.corners.length > 0;
  }

  clear() {
    this.corners = [];
    this.kind = null;
    this.root.setAttribute('hidden', '');
  }

  /** Sets a corner; returns the shape {kind, points} once it is whole, else null. */
  add(kind, place) {
    const corner = this.inside(place);
    this.kind = kind;
    if (kind === 'polygon' && this.corners.length > 2 && this.isFirst(corner)) return this.close();
    this.corners.push(corner);
    this.show(corner);
    return kind === 'box' && this.corners.length === 2 ? this.close() : null;
  }

  /** Draws a scribble on to a place. */
  scribbleTo(place) {
    const next = this.inside(place);
    const {x, y} = this.corners.at(-1);
    if (Math.hypot(next.x - x, next.y - y) >= SCRIBBLE_STEP) this.corners.push(next);
    this.show(next);
  }

  /** The shape as it is; null if it has too few corners, or a box or polygon no area. */
  close() {
    const {kind, corners} = this;
    this.clear();
    const xs = corners.map(({x}) => x);
    const ys = corners.map(({y}) => y);
    const flat = Math.max(...xs) - Math.min(...xs) < 2 || Math.max(...ys) - Math.min(...ys) < 2;
    const hasArea = kind === 'box' || kind === 'polygon';
    if ((flat && hasArea) || corners.length < FEWEST[kind]) return null;
    return {kind, points: corners};
  }

  /** Draws the shape with `place` as its next corner. */
  show(place) {
    if (!this.open) return;
    const next = this.inside(place);
    const [first] = this.corners;
    const corners = this.kind === 'box'
      ? [first, {x: next.x, y: first.y}, next, {x: first.x, y: next.y}] : [...this.corners, next];
    this.root.setAttribute('viewBox', `0 0 ${this.view.width} ${this.view.height}`);
    const isLine = this.kind.endsWith('scribble');
    const points = corners.map(({x, y}) => `${x},${y}`).join(' ');
    this.area.setAttribute('points', isLine ? '' : points);
    this.line.setAttribute('points', isLine ? points : '');
    this.line.classList.toggle('off', this.kind === 'unscribble');
    this.root.removeAttribute('hidden');
  }

  inside({x, y}) {
    const clamp = (value, most) => Math.min(most, Math.max(0, value));
    return {x: clamp(x, this.view.width), y: clamp(y, this.view.height)};
  }

  isFirst({x, y}) {
    const [first] = this.corners;
    return Math.hypot(x - first.x, y - first.y) * this.view.scale < NEAR;
  }
}

/** [kind, text] of a shape as the server and the command line take it. */
export function shapeText({kind, points}, id) {
  const round = (value) => Math.round(value * 10) / 10;
  const [one, two] = points;
  if (kind === 'box') {
    const numbers = [Math.min(one.x, two.x), Math.min(one.y, two.y), Math.abs(one.x - two.x),
      Math.abs(one.y - two.y)].map(round).join(',');
    return [kind, `${numbers},id=${id}`];
  }
  const text = points.map(({x, y}) => `${round(x)},${round(y)}`).join(';');
  const isOff = kind === 'unscribble';
  return [isOff ? 'scribble' : kind, `${isOff ? '-' : ''}${text},id=${id}`];
}
