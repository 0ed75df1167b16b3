/** The list of objects: colour, name, area, show, id, remove; one of them is the one to paint. */

import {cssColour} from './palette.js';
import {DOUBTFUL} from './repair_list.js';

const MAX_ID = 255;

export class ObjectsPanel {
  /**
   * @param {object} actions
   *   mayChange(): whether masks may be changed now; says why if not.
   *   selected(id): another object is the one to paint.
   *   renamed(from, to), removed(id), cleared(id) on this frame: the user wants that.
   *   shown(hidden): ids that are not to be drawn.
   *   ended(id): the object is to be followed no longer from this frame on.
   *   refuse(text): says why something cannot be.
   */
  constructor(actions) {
    Object.assign(this, {actions, ids: [1], selected: 1, fixed: new Set(), enabled: true,
      followed: new Set(), counts: [], confidence: new Map(), names: new Map(),
      hidden: new Set()});
    this.list = document.getElementById('objects');
    this.rows = new Map();
    this.render();
  }

  /** Makes the list exactly `ids`, or [1] if there are none. */
  reset(ids) {
    this.ids = ids.length ? [...ids].sort((a, b) => a - b) : [1];
    if (!this.ids.includes(this.selected)) this.selected = this.ids[0];
    this.render();
  }

  /** Forgets names and what is hidden: another clip. */
  forget() {
    this.names.clear();
    this.hidden.clear();
    this.actions.shown(this.hidden);
  }

  /** Name of an object. */
  nameOf(id) {
    return this.names.get(id) || `Object ${id}`;
  }

  /** 'ID:NAME' of every object that has a name. */
  get labels() {
    return this.ids.filter((id) => this.names.get(id)).map((id) => `${id}:${this.names.get(id)}`);
  }

  /** Shows or hides an object on the page; its masks stay. */
  toggle(id) {
    if (!this.hidden.delete(id)) this.hidden.add(id);
    this.update();
    this.actions.shown(this.hidden);
  }

  /** Adds ids that a mask holds. */
  include(ids) {
    if (ids.some((id) => !this.ids.includes(id))) this.reset([...new Set([...this.ids, ...ids])]);
  }

  /** Adds the smallest id that is free and selects it. */
  add(maxObjects) {
    let id = 1;
    while (this.ids.includes(id)) id++;
    if (this.ids.length >= maxObjects || id > MAX_ID) {
      this.actions.refuse(`The server takes ${Math.min(maxObjects, MAX_ID)} objects.`);
      return;
    }
    this.reset([...this.ids, id]);
    this.select(id);
  }

  select(id) {
    if (!this.ids.includes(id)) return;
    this.selected = id;
    this.update();
    this.actions.selected(id);
  }

  /**
   * Takes the pixels of each id, the confidence in each mask (a Map, empty if the user made them),
   * the ids that a session holds (`followed`), these and all that masks of runs hold (`fixed`), and
   * whether the list may change.
   */
  setState({counts, confidence, followed, fixed, enabled}) {
    Object.assign(this, {counts, confidence, followed, fixed, enabled});
    this.update();
  }

  remove(id) {
    if (!this.actions.mayChange()) return;
    const at = this.ids.indexOf(id);
    if (this.fixed.has(id)) this.actions.cleared(id);
    else {
      this.actions.removed(id);
      this.reset(this.ids.filter((other) => other !== id));
    }
    this.focusRow(this.ids[Math.min(at, this.ids.length - 1)]);
  }

  rename(from, input) {
    const to = Number(input.value);
    const problem = !Number.isInteger(to) || to < 1 || to > MAX_ID
      ? `An id is a whole number from 1 to ${MAX_ID}.`
      : this.ids.includes(to) && to !== from ? `Object ${to} is there already.` : '';
    if (problem) {
      input.value = from;
      this.actions.refuse(problem);
      return;
    }
    if (to === from) return;
    if (!this.actions.mayChange()) {
      input.value = from;
      return;
    }
    if (this.selected === from) this.selected = to;
    this.names.set(to, this.names.get(from) ?? '');
    this.names.delete(from);
    if (this.hidden.delete(from)) this.hidden.add(to);
    this.actions.renamed(from, to);
    this.reset(this.ids.map((id) => (id === from ? to : id)));
    this.focusRow(to, '.id');
  }

  focusRow(id, part = '.pick input') {
    this.rows.get(id)?.querySelector(part).focus();
  }

  render() {
    this.rows = new Map(this.ids.map((id) => [id, this.row(id)]));
    this.list.replaceChildren(...this.rows.values());
    this.update();
  }

  row(id) {
    const row = document.createElement('li');
    row.append(document.getElementById('object-row').content.cloneNode(true));
    const part = (name) => row.querySelector(`.${name}`);
    row.querySelector('input').addEventListener('change', () => this.select(id));
    part('swatch').style.background = cssColour(id);
    part('see').addEventListener('click', () => this.toggle(id));
    part('name').value = this.names.get(id) ?? '';
    part('name').placeholder = `Object ${id}`;
    part('name').setAttribute('aria-label', `Name of object ${id}`);
    part('name').addEventListener('change', () => {
      this.names.set(id, part('name').value.trim());
      this.update();
    });
    part('id').value = id;
    part('id').setAttribute('aria-label', `Id of object ${id}`);
    part('id').addEventListener('change', () => this.rename(id, part('id')));
    part('remove').addEventListener('click', () => this.remove(id));
    part('end').addEventListener('click', () => {
      if (this.actions.mayChange()) this.actions.ended(id);
    });
    return row;
  }

  update() {
    const total = this.counts.reduce((sum, count) => sum + count, 0);
    for (const [id, row] of this.rows) {
      const part = (name) => row.querySelector(`.${name}`);
      const fixed = this.fixed.has(id);
      const isHidden = this.hidden.has(id);
      const share = total ? (100 * (this.counts[id] ?? 0)) / total : 0;
      row.querySelector('input').checked = id === this.selected;
      row.classList.toggle('hidden', isHidden);
      part('more').hidden = id !== this.selected;
      part('label').textContent = this.nameOf(id);
      part('id').disabled = fixed || !this.enabled;
      part('remove').disabled = part('end').disabled = !this.enabled;
      part('end').hidden = !this.followed.has(id);
      label(part('see'), `${isHidden ? 'Show' : 'Hide'} ${this.nameOf(id)}`);
      part('see').setAttribute('aria-pressed', isHidden);
      label(part('remove'), `${fixed ? 'Clear on this frame' : 'Remove'}: ${this.nameOf(id)}`);
      label(part('end'), `Remove from this frame on: ${this.nameOf(id)}`);
      this.showConfidence(part('sure'), this.confidence.get(id));
      part('area').textContent = this.counts.length ? `${share.toFixed(1)} %` : '';
    }
  }

  showConfidence(field, value) {
    field.hidden = value === undefined;
    if (field.hidden) return;
    field.textContent = `${Math.round(100 * value)} % sure`;
    field.title = 'How likely the mask covers the object by half or more';
    field.classList.toggle('doubtful', value < DOUBTFUL);
  }
}

function label(button, text) {
  button.title = text;
  button.setAttribute('aria-label', text);
}
