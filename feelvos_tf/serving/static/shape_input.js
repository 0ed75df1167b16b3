/** A box or a polygon in the making: its corners, drawn over the frame. */

const NEAR = 10; // CSS pixels to the first corner of a polygon that close it.

export class ShapeInput {
  /** @param {FrameView} view */
  constructor(view) {
    this.view = view;
    this.root = document.getElementById('shape');
    this.line = this.root.querySelector('polygon');
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

  /** The shape as it is; null if it has too few corners or no area. */
  close() {
    const {kind, corners} = this;
    this.clear();
    const xs = corners.map(({x}) => x);
    const ys = corners.map(({y}) => y);
    const flat = Math.max(...xs) - Math.min(...xs) < 2 || Math.max(...ys) - Math.min(...ys) < 2;
    if (flat || corners.length < (kind === 'box' ? 2 : 3)) return null;
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
    this.line.setAttribute('points', corners.map(({x, y}) => `${x},${y}`).join(' '));
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

/** Text of a shape as the server takes it. */
export function shapeText({kind, points}) {
  const round = (value) => Math.round(value * 10) / 10;
  if (kind === 'polygon') return points.map(({x, y}) => `${round(x)},${round(y)}`).join(';');
  const [one, two] = points;
  return [Math.min(one.x, two.x), Math.min(one.y, two.y), Math.abs(one.x - two.x),
    Math.abs(one.y - two.y)].map(round).join(',');
}
