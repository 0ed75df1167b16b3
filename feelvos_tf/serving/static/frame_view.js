/** The frame with its mask drawn over it, fitted into the page, with zoom. */

import {contourRadius, drawIds} from './overlay.js';

const ZOOMS = [1, 1.5, 2, 3, 4, 6, 8];
const BELOW = 96; // CSS pixels that the timeline and the line under it take.
const PART_OF_NARROW_WINDOW = 0.6; // Of the height, where panels follow below.
const MIN_HEIGHT = 200;

export class FrameView {
  constructor() {
    const find = (id) => document.getElementById(id);
    this.viewport = find('viewport');
    this.paper = find('paper');
    this.picture = find('picture').getContext('2d', {alpha: false});
    this.surface = find('surface');
    this.overlay = this.surface.getContext('2d', {willReadFrequently: true});
    this.cursor = find('cursor');
    this.zoomValue = find('zoom-value');
    this.zoom = 0; // Index into ZOOMS.
    this.width = this.height = 1;
    this.hidden = new Set(); // Ids that are not drawn.
    find('zoom-in').addEventListener('click', () => this.zoomBy(1));
    find('zoom-out').addEventListener('click', () => this.zoomBy(-1));
    this.viewport.addEventListener('wheel', (event) => this.wheel(event), {passive: false});
    const observer = new ResizeObserver(() => this.fit());
    observer.observe(this.viewport);
    observer.observe(find('alert')); // It moves the frame down.
    window.addEventListener('resize', () => this.fit());
  }

  /** Takes the size of a clip's frames, in pixels. */
  setSize(width, height) {
    Object.assign(this, {width, height, zoom: 0});
    for (const {canvas} of [this.picture, this.overlay]) Object.assign(canvas, {width, height});
    this.paper.hidden = false;
    this.fit();
  }

  /** Draws a picture (a canvas of the working size). */
  showPicture(canvas) {
    this.picture.drawImage(canvas, 0, 0);
  }

  /** Draws ids; with `rect` only what changed there. */
  showIds(ids, rect = {x: 0, y: 0, width: this.width, height: this.height}) {
    const reach = contourRadius(this.height);
    const x = Math.max(0, rect.x - reach);
    const y = Math.max(0, rect.y - reach);
    drawIds(this.overlay, ids, this.width, this.height, {x, y,
      width: Math.min(this.width, rect.x + rect.width + reach) - x,
      height: Math.min(this.height, rect.y + rect.height + reach) - y}, this.hidden);
  }

  /** CSS pixels of one pixel of the frame. */
  get scale() {
    return this.surface.getBoundingClientRect().width / this.width;
  }

  /** Place in the frame under a pointer. */
  place({clientX, clientY}) {
    const box = this.surface.getBoundingClientRect();
    return {x: ((clientX - box.left) * this.width) / box.width,
      y: ((clientY - box.top) * this.height) / box.height};
  }

  /** Shows the brush at a place of the frame, or nowhere (null). */
  showCursor(place, size = 1, down = false) {
    this.cursor.hidden = !place;
    if (!place) return;
    const {scale} = this;
    const width = Math.max(4, size * scale);
    this.cursor.classList.toggle('down', down);
    Object.assign(this.cursor.style, {width: `${width}px`, height: `${width}px`,
      transform: `translate(${place.x * scale - width / 2}px, ${place.y * scale - width / 2}px)`});
  }

  zoomBy(steps, at = null) {
    const box = this.viewport.getBoundingClientRect();
    const anchor = at ?? {clientX: box.left + box.width / 2, clientY: box.top + box.height / 2};
    const place = this.place(anchor);
    this.zoom = Math.min(ZOOMS.length - 1, Math.max(0, this.zoom + steps));
    this.fit();
    const after = this.surface.getBoundingClientRect();
    this.viewport.scrollLeft += after.left + place.x * this.scale - anchor.clientX;
    this.viewport.scrollTop += after.top + place.y * this.scale - anchor.clientY;
  }

  wheel(event) {
    if (!event.ctrlKey || this.paper.hidden) return;
    event.preventDefault();
    this.zoomBy(event.deltaY < 0 ? 1 : -1, event);
  }

  fit() {
    if (this.paper.hidden) return;
    const top = this.viewport.getBoundingClientRect().top + window.scrollY;
    const narrow = !matchMedia('(min-width: 900px)').matches;
    const height = Math.max(MIN_HEIGHT, narrow ? window.innerHeight * PART_OF_NARROW_WINDOW
      : window.innerHeight - top - BELOW);
    const fitted = Math.min(this.viewport.clientWidth / this.width, height / this.height);
    const scale = fitted * ZOOMS[this.zoom];
    // The window on the frame keeps its height while the frame in it grows.
    this.viewport.style.height = `${Math.ceil(this.height * fitted)}px`;
    Object.assign(this.paper.style, {width: `${this.width * scale}px`,
      height: `${this.height * scale}px`});
    this.surface.style.imageRendering = this.picture.canvas.style.imageRendering =
      scale > 3 ? 'pixelated' : 'auto';
    this.zoomValue.textContent = `${Math.round(ZOOMS[this.zoom] * 100)} %`;
  }
}
