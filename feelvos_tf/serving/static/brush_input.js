/** Paints with a pointer or with keys. */

import {ShapeInput} from './shape_input.js';

const KEY_STEP = 1 / 3; // Of the brush's size, for an arrow key.
const SIZES = {min: 1, max: 120};
const SHAPES = ['box', 'polygon', 'scribble', 'unscribble'];
const TOOL_KEYS = {b: 'brush', e: 'eraser', f: 'fill', x: 'box', p: 'polygon', s: 'scribble',
  d: 'unscribble'};
const DRAGGED = ['box', 'scribble', 'unscribble']; // While the button is down.
const LIGHTEST = 0.3; // Of the size, for a pen without pressure.
const PALM_SECONDS = 1; // After a pen, touches within this time are a hand that rests.
const ERASER_BUTTON = 32; // Of a pen's `buttons`.

/** What the hand holds: tool ('brush', 'eraser', 'fill' or one of SHAPES), size in pixels. */
export class BrushInput {
  /**
   * @param {FrameView} view
   * @param {object} actions
   *   mayPaint(): whether painting is allowed now; says why if not.
   *   editor(): the MaskEditor. objectId(): the id to paint.
   *   drawn(shape): a shape is whole: {kind, points}.
   *   painted(): a step of the history was made. toolChanged(): tool or size changed.
   *   key(event): other keys; returns whether it knew the key.
   *   say(text): tells a screen reader.
   */
  constructor(view, actions) {
    Object.assign(this, {view, actions, tool: 'brush', size: 24, place: null, down: false,
      byKeys: false, penTime: -Infinity, shape: new ShapeInput(view)});
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
    return SHAPES.includes(this.tool);
  }

  set(changes) {
    if (changes.tool) {
      this.shape.clear();
      if (this.down === 'shape') this.down = false;
    }
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
    if (!this.takes(event)) return;
    const erases = event.button === 2 || Boolean(event.buttons & ERASER_BUTTON);
    if (event.button !== 0 && !erases) return;
    this.byKeys = false;
    if (event.pointerType !== 'touch') this.view.surface.focus({preventScroll: true});
    this.lift();
    if (!this.actions.mayPaint()) return;
    this.place = this.view.place(event);
    const id = this.paintId(erases);
    if (this.tool === 'fill') {
      this.fill(id);
      return;
    }
    if (this.isShape) {
      this.corner(erases && this.tool === 'scribble' ? 'unscribble' : this.tool);
      if (!DRAGGED.includes(this.tool) || !this.shape.open) return;
      this.view.surface.setPointerCapture(event.pointerId);
      this.down = 'shape';
      return;
    }
    this.view.surface.setPointerCapture(event.pointerId);
    this.down = 'pointer';
    this.actions.editor().begin(id, this.sizeOf(event), this.place.x, this.place.y);
    this.showCursor();
  }

  /** Whether a pointer paints; next to a pen, fingers do not. */
  takes(event) {
    if (event.pointerType === 'pen') this.penTime = event.timeStamp;
    const isPalm = event.pointerType === 'touch' &&
      event.timeStamp - this.penTime < 1000 * PALM_SECONDS;
    return event.isPrimary && !isPalm;
  }

  /** Size of a stroke: a pen's pressure makes it smaller. */
  sizeOf({pointerType, pressure}) {
    const share = pointerType === 'pen' ? LIGHTEST + (1 - LIGHTEST) * pressure : 1;
    return Math.max(1, share * this.size);
  }

  pointerMove(event) {
    if (!this.takes(event) || this.down === 'key') return;
    this.place = this.view.place(event);
    if (this.down === 'shape' && this.tool !== 'box') this.scribbleOn(event);
    else this.shape.show(this.place);
    if (this.down === 'pointer') {
      const points = event.getCoalescedEvents?.() ?? [];
      for (const point of points.length ? points : [event]) {
        const {x, y} = this.view.place(point);
        this.actions.editor().strokeTo(x, y, this.sizeOf(point));
      }
    }
    if (event.pointerType !== 'touch' || this.down) this.showCursor();
  }

  scribbleOn(event) {
    const points = event.getCoalescedEvents?.() ?? [];
    for (const point of points.length ? points : [event]) {
      this.shape.scribbleTo(this.view.place(point));
    }
  }

  pointerUp(event) {
    if (event.isPrimary && this.down === 'shape') {
      this.down = false;
      this.place = this.view.place(event);
      if (this.tool === 'box') this.corner();
      else this.closeShape();
      return;
    }
    if (!event.isPrimary || this.down !== 'pointer') return;
    this.lift();
    if (event.pointerType !== 'mouse') this.hide();
  }

  /** Sets a corner of a shape where the hand is. */
  corner(kind = this.tool) {
    const shape = this.shape.add(kind, this.place);
    this.showCursor();
    if (shape) this.actions.drawn(shape);
  }

  closeShape() {
    const shape = this.shape.close();
    if (shape) this.actions.drawn(shape);
  }

  /** Ends a stroke. */
  lift() {
    if (this.down === 'shape') this.shape.clear();
    if (!this.down || this.down === 'shape') {
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
    const drawing = this.down === 'shape' || this.shape.open;
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
    this.byKeys = this.view.surface.matches(':focus-visible');
    if (!this.byKeys) return;
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
    const moves = this.byKeys && {ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step],
      ArrowDown: [0, step]};
    const commands = {
      ...(this.byKeys && {' ': () => this.dab()}), Enter: () => this.togglePen(),
      Escape: () => this.cancelByKey(), '[': () => this.set({size: this.size - this.sizeStep()}),
      ']': () => this.set({size: this.size + this.sizeStep()}),
      '+': () => this.view.zoomBy(1), '=': () => this.view.zoomBy(1),
      '-': () => this.view.zoomBy(-1)};
    if (moves && moves[key]) this.move(...moves[key]);
    else if (this.pick(key)) this.showCursor();
    else if (commands[key.toLowerCase()] ?? commands[key]) {
      (commands[key.toLowerCase()] ?? commands[key])();
    } else if (!this.actions.key(event)) return;
    event.preventDefault();
  }

  /** Takes the tool of a key; returns whether there is one. */
  pick(key) {
    const tool = TOOL_KEYS[key.toLowerCase()];
    if (tool) this.set({tool});
    return Boolean(tool);
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
    } else if (this.isShape && this.tool !== 'box' && this.shape.open) {
      this.closeShape();
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
