/** Paints with a pointer or with keys. */

import {ShapeInput} from './shape_input.js';

const KEY_STEP = 1 / 3; // Of the brush's size, for an arrow key.
const SIZES = {min: 1, max: 120};

/** What the hand holds: tool ('brush', 'eraser', 'fill', 'box', 'polygon'), size in pixels. */
export class BrushInput {
  /**
   * @param {FrameView} view
   * @param {object} actions
   *   mayPaint(): whether painting is allowed now; says why if not.
   *   editor(): the MaskEditor. objectId(): the id to paint.
   *   drawn(shape): a box or polygon is whole: {kind, points}.
   *   painted(): a step of the history was made. toolChanged(): tool or size changed.
   *   key(event): other keys; returns whether it knew the key.
   *   say(text): tells a screen reader.
   */
  constructor(view, actions) {
    Object.assign(this, {view, actions, tool: 'brush', size: 24, place: null, down: false,
      shape: new ShapeInput(view)});
    const {surface} = view;
    surface.addEventListener('pointerdown', (event) => this.pointerDown(event));
    surface.addEventListener('pointermove', (event) => this.pointerMove(event));
    surface.addEventListener('pointerup', (event) => this.pointerUp(event));
    surface.addEventListener('pointercancel', () => this.cancel());
    surface.addEventListener('pointerleave', () => { if (!this.down) this.hide(); });
    surface.addEventListener('contextmenu', (event) => event.preventDefault());
    surface.addEventListener('keydown', (event) => this.keyDown(event));
    surface.addEventListener('focus', () => this.focus());
    surface.addEventListener('blur', () => { this.lift(); this.hide(); });
  }

  /** Whether the tool sets corners. */
  get isShape() {
    return this.tool === 'box' || this.tool === 'polygon';
  }

  set(changes) {
    if (changes.tool) this.shape.clear();
    Object.assign(this, changes);
    this.size = Math.min(SIZES.max, Math.max(SIZES.min, Math.round(this.size)));
    this.showCursor();
    this.actions.toolChanged();
  }

  /** The id that a stroke gives; the other button of a mouse erases. */
  paintId(erase = false) {
    return erase || this.tool === 'eraser' ? 0 : this.actions.objectId();
  }

  pointerDown(event) {
    if (!event.isPrimary || (event.button !== 0 && event.button !== 2)) return;
    if (event.pointerType === 'mouse') this.view.surface.focus({preventScroll: true});
    this.lift();
    if (!this.actions.mayPaint()) return;
    this.place = this.view.place(event);
    const id = this.paintId(event.button === 2);
    if (this.tool === 'fill') {
      this.fill(id);
      return;
    }
    if (this.isShape) {
      this.corner();
      if (this.tool === 'polygon' || !this.shape.open) return;
      this.view.surface.setPointerCapture(event.pointerId);
      this.down = 'box';
      return;
    }
    this.view.surface.setPointerCapture(event.pointerId);
    this.down = 'pointer';
    this.actions.editor().begin(id, this.size, this.place.x, this.place.y);
    this.showCursor();
  }

  pointerMove(event) {
    if (!event.isPrimary) return;
    if (this.down === 'key') return;
    this.place = this.view.place(event);
    this.shape.show(this.place);
    if (this.down === 'pointer') {
      const points = event.getCoalescedEvents?.() ?? [];
      for (const point of points.length ? points : [event]) {
        const {x, y} = this.view.place(point);
        this.actions.editor().strokeTo(x, y);
      }
    }
    if (event.pointerType === 'mouse' || this.down) this.showCursor();
  }

  pointerUp(event) {
    if (event.isPrimary && this.down === 'box') {
      this.down = false;
      this.place = this.view.place(event);
      this.corner();
      return;
    }
    if (!event.isPrimary || this.down !== 'pointer') return;
    this.lift();
    if (event.pointerType !== 'mouse') this.hide();
  }

  /** Sets a corner of a box or polygon where the hand is. */
  corner() {
    const shape = this.shape.add(this.tool, this.place);
    this.showCursor();
    if (shape) this.actions.drawn(shape);
  }

  /** Ends a stroke. */
  lift() {
    if (this.down === 'box') this.shape.clear();
    if (!this.down || this.down === 'box') {
      this.down = false;
      return;
    }
    this.down = false;
    this.actions.editor().end();
    this.showCursor();
    this.actions.painted();
  }

  /** Takes a stroke back: two fingers zoom, or Escape. */
  cancel() {
    const drawing = this.down === 'box' || this.shape.open;
    this.shape.clear();
    if (!this.down || drawing) {
      this.down = false;
      return;
    }
    this.down = false;
    this.actions.editor().cancel();
    this.hide();
  }

  focus() {
    if (!this.view.surface.matches(':focus-visible')) return;
    this.place ??= {x: this.view.width / 2, y: this.view.height / 2};
    this.showCursor();
  }

  /** Forgets the place: the frames have another size. */
  reset() {
    this.place = null;
    this.hide();
  }

  hide() {
    this.view.showCursor(null);
  }

  showCursor() {
    const size = this.tool === 'fill' || this.isShape ? 1 : this.size;
    if (this.place) this.view.showCursor(this.place, size, this.down === 'key');
  }

  fill(id) {
    this.actions.editor().fill(id, this.place.x, this.place.y);
    this.showCursor();
    this.actions.painted();
  }

  keyDown(event) {
    const {key} = event;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 1 : Math.max(1, Math.round(this.size * KEY_STEP));
    const moves = {ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step],
      ArrowDown: [0, step]};
    const commands = {
      ' ': () => this.dab(), Enter: () => this.togglePen(), Escape: () => this.cancelByKey(),
      b: () => this.set({tool: 'brush'}), e: () => this.set({tool: 'eraser'}),
      f: () => this.set({tool: 'fill'}), x: () => this.set({tool: 'box'}),
      p: () => this.set({tool: 'polygon'}), '[': () => this.set({size: this.size - this.sizeStep()}),
      ']': () => this.set({size: this.size + this.sizeStep()}),
      '+': () => this.view.zoomBy(1), '=': () => this.view.zoomBy(1),
      '-': () => this.view.zoomBy(-1)};
    if (moves[key]) this.move(...moves[key]);
    else if (commands[key.toLowerCase()] ?? commands[key]) {
      (commands[key.toLowerCase()] ?? commands[key])();
    } else if (!this.actions.key(event)) return;
    event.preventDefault();
  }

  sizeStep() {
    return Math.max(1, Math.round(this.size / 8));
  }

  move(byX, byY) {
    const {width, height} = this.view;
    const {x, y} = this.place ?? {x: width / 2, y: height / 2};
    const clamp = (value, most) => Math.min(most, Math.max(0, value));
    this.place = {x: clamp(x + byX, width), y: clamp(y + byY, height)};
    if (this.down === 'key') this.actions.editor().strokeTo(this.place.x, this.place.y);
    this.shape.show(this.place);
    this.showCursor();
    this.view.cursor.scrollIntoView({block: 'nearest', inline: 'nearest'});
  }

  dab() {
    if (this.down || !this.actions.mayPaint()) return;
    this.place ??= {x: this.view.width / 2, y: this.view.height / 2};
    const {x, y} = this.place;
    if (this.tool === 'fill') {
      this.fill(this.paintId());
    } else if (this.isShape) {
      this.corner();
    } else {
      this.actions.editor().begin(this.paintId(), this.size, x, y);
      this.actions.editor().end();
      this.showCursor();
      this.actions.painted();
    }
    this.actions.say(`${this.tool} at ${Math.round(x)}, ${Math.round(y)}`);
  }

  togglePen() {
    if (this.down) {
      this.lift();
      this.actions.say('Brush lifted.');
    } else if (this.tool === 'polygon' && this.shape.open) {
      const shape = this.shape.close();
      if (shape) this.actions.drawn(shape);
    } else if (this.tool === 'fill' || this.isShape) {
      this.dab();
    } else if (this.actions.mayPaint()) {
      this.place ??= {x: this.view.width / 2, y: this.view.height / 2};
      this.down = 'key';
      this.actions.editor().begin(this.paintId(), this.size, this.place.x, this.place.y);
      this.showCursor();
      this.actions.say('Brush down.');
    }
  }

  cancelByKey() {
    this.cancel();
    this.showCursor();
  }
}
