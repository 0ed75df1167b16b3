/** The mask that is being painted: strokes, fill, undo. Knows nothing of the page. */

const MAX_HISTORY_BYTES = 64 << 20;

/**
 * Ids of one frame. A stroke paints every pixel whose centre lies within half the brush's size of
 * the stroke's line.
 */
export class MaskEditor {
  /** @param {function({x, y, width, height})} onChange called with the pixels that changed. */
  constructor(width, height, onChange = () => {}) {
    Object.assign(this, {width, height, onChange});
    this.load(new Uint8Array(width * height));
  }

  /** Takes other ids (a copy) and forgets the history. */
  load(ids) {
    this.ids = ids.slice();
    this.undone = [];
    this.done = [];
    this.stroke = null;
    this.onChange(this.all());
  }

  get canUndo() {
    return this.done.length > 0;
  }

  get canRedo() {
    return this.undone.length > 0;
  }

  /** Pixels of each id: an array of 256 numbers. */
  counts() {
    const counts = new Array(256).fill(0);
    for (const id of this.ids) counts[id]++;
    return counts;
  }

  /** Starts a stroke of `id` (0 erases) at a point; sizes and places in pixels of the mask. */
  begin(id, size, x, y) {
    this.stroke = {id, size, x, y, before: this.ids.slice(), rect: null};
    this.strokeTo(x, y);
  }

  /** Draws the stroke on to a point; a pen changes its size on the way. */
  strokeTo(x, y, size = this.stroke?.size) {
    const {stroke, width, height} = this;
    if (!stroke) return;
    stroke.size = size;
    const reach = stroke.size / 2;
    const left = Math.max(0, Math.floor(Math.min(x, stroke.x) - reach));
    const right = Math.min(width - 1, Math.ceil(Math.max(x, stroke.x) + reach));
    const top = Math.max(0, Math.floor(Math.min(y, stroke.y) - reach));
    const bottom = Math.min(height - 1, Math.ceil(Math.max(y, stroke.y) + reach));
    for (let row = top; row <= bottom; row++) {
      for (let column = left; column <= right; column++) {
        const distance = toSegment(column + 0.5, row + 0.5, stroke.x, stroke.y, x, y);
        if (distance <= reach * reach) this.ids[row * width + column] = stroke.id;
      }
    }
    stroke.x = x;
    stroke.y = y;
    if (right < left || bottom < top) return;
    const rect = {x: left, y: top, width: right - left + 1, height: bottom - top + 1};
    stroke.rect = union(stroke.rect, rect);
    this.onChange(rect);
  }

  /** Ends the stroke: one step of the history. */
  end() {
    const {stroke} = this;
    this.stroke = null;
    if (stroke?.rect) this.remember(stroke.before, stroke.rect);
  }

  /** Takes the running stroke back. */
  cancel() {
    const {stroke} = this;
    this.stroke = null;
    if (!stroke) return;
    this.ids = stroke.before;
    if (stroke.rect) this.onChange(stroke.rect);
  }

  /** Gives `id` to the area of one id that holds the point. */
  fill(id, x, y) {
    const {width, height, ids} = this;
    const start = Math.floor(y) * width + Math.floor(x);
    const old = ids[start];
    if (x < 0 || y < 0 || x >= width || y >= height || old === id) return;
    const before = ids.slice();
    const stack = [start];
    ids[start] = id;
    while (stack.length) {
      const at = stack.pop();
      const column = at % width;
      for (const next of [column ? at - 1 : -1, column < width - 1 ? at + 1 : -1, at - width,
        at + width]) {
        if (next >= 0 && next < ids.length && ids[next] === old) {
          ids[next] = id;
          stack.push(next);
        }
      }
    }
    this.finish(before);
  }

  /** Replaces all ids; can be undone. A step with a `change` is one even if no pixel changes. */
  replace(ids, change = null) {
    this.pauseStroke(() => {
      const before = this.ids;
      this.ids = ids.slice();
      this.finish(before, change);
    });
  }

  /** Gives `id` to the pixels where `where` (one value a pixel) is not 0; can be undone. */
  give(id, where) {
    this.replace(this.ids.map((old, i) => (where[i] ? id : old)));
  }

  /** Gives the pixels of one id to another id (0: background); `change` as in `replace`. */
  rename(from, to, change = null) {
    this.replace(this.ids.map((id) => (id === from ? to : id)), change);
  }

  /**
   * Takes the last step back.
   *
   * @returns {?{change: object, side: string}} the change of the step, of which the side `before`
   *   holds now, or that of the step before it, of which `after` does; null without any.
   */
  undo() {
    let step = null;
    this.pauseStroke(() => { step = this.swap(this.done, this.undone, 'before'); });
    return step?.change ? {change: step.change, side: 'before'} : this.lastChange();
  }

  /** Takes the step again that was taken back last; returns as `undo`. */
  redo() {
    this.pauseStroke(() => this.swap(this.undone, this.done, 'after'));
    return this.lastChange();
  }

  lastChange() {
    const change = this.done.at(-1)?.change;
    return change ? {change, side: 'after'} : null;
  }

  /** Changes ids while a stroke may be drawn: what is there of it is a step before the change. */
  pauseStroke(change) {
    const {stroke} = this;
    this.end();
    change();
    if (stroke) this.stroke = {...stroke, before: this.ids.slice(), rect: null};
  }

  all() {
    return {x: 0, y: 0, width: this.width, height: this.height};
  }

  finish(before, change = null) {
    this.remember(before, this.all(), change);
    this.onChange(this.all());
  }

  remember(before, rect, change = null) {
    const step = {rect, before: this.cut(before, rect), after: this.cut(this.ids, rect), change};
    if (!change && step.before.every((id, i) => id === step.after[i])) return;
    this.done.push(step);
    this.undone = [];
    let bytes = this.done.reduce((sum, {after}) => sum + 2 * after.length, 0);
    while (bytes > MAX_HISTORY_BYTES && this.done.length > 1) {
      bytes -= 2 * this.done.shift().after.length;
    }
  }

  cut(ids, rect) {
    const piece = new Uint8Array(rect.width * rect.height);
    for (let row = 0; row < rect.height; row++) {
      const start = (rect.y + row) * this.width + rect.x;
      piece.set(ids.subarray(start, start + rect.width), row * rect.width);
    }
    return piece;
  }

  swap(from, to, side) {
    const step = from.pop();
    if (!step) return null;
    const {rect} = step;
    for (let row = 0; row < rect.height; row++) {
      this.ids.set(step[side].subarray(row * rect.width, (row + 1) * rect.width),
        (rect.y + row) * this.width + rect.x);
    }
    to.push(step);
    this.onChange(rect);
    return step;
  }
}

/** Squared distance of a point to the line between two points. */
function toSegment(x, y, fromX, fromY, toX, toY) {
  const deltaX = toX - fromX;
  const deltaY = toY - fromY;
  const length = deltaX * deltaX + deltaY * deltaY;
  const along = length ? ((x - fromX) * deltaX + (y - fromY) * deltaY) / length : 0;
  const t = Math.min(1, Math.max(0, along));
  return (x - fromX - t * deltaX) ** 2 + (y - fromY - t * deltaY) ** 2;
}

function union(a, b) {
  if (!a) return b;
  const x = Math.min(a.x, b.x);
  const y = Math.min(a.y, b.y);
  return {x, y, width: Math.max(a.x + a.width, b.x + b.width) - x,
    height: Math.max(a.y + a.height, b.y + b.height) - y};
}
