/** The list of objects: colour, area, id, remove; one of them is the one to paint. */

import {cssColour} from './palette.js';
import {DOUBTFUL} from './repair_list.js';

const MAX_ID = 255;

export class ObjectsPanel {
  /**
   * @param {object} actions
   *   selected(id): another object is the one to paint.
   *   renamed(from, to), removed(id): the user wants that.
   *   ended(id): the object is to be followed no longer from this frame on.
   *   refuse(text): says why something cannot be.
   */
  constructor(actions) {
    Object.assign(this, {actions, ids: [1], selected: 1, fixed: new Set(), enabled: true,
      counts: [], confidence: new Map()});
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
   * the ids that a session holds, and whether the list may change.
   */
  setState({counts, confidence, fixed, enabled}) {
    Object.assign(this, {counts, confidence, fixed, enabled});
    this.update();
  }

  remove(id) {
    const at = this.ids.indexOf(id);
    this.actions.removed(id);
    if (!this.fixed.has(id)) this.reset(this.ids.filter((other) => other !== id));
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
    if (this.selected === from) this.selected = to;
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
    row.innerHTML = '<label class="pick"><input type="radio" name="object"><span class="swatch">' +
      '</span><span class="label"></span><span class="facts"><span class="sure"></span>' +
      '<span class="area"></span></span></label>' +
      `<input type="number" class="id" min="1" max="${MAX_ID}" inputmode="numeric">` +
      '<button type="button" class="icon"><svg><use href="#i-close"/></svg></button>' +
      '<button type="button" class="icon end"><svg><use href="#i-end"/></svg></button>';
    const [pick, number] = row.querySelectorAll('input');
    pick.addEventListener('change', () => this.select(id));
    number.value = id;
    number.setAttribute('aria-label', `Id of object ${id}`);
    number.title = 'Id: the value of the object in the mask';
    number.addEventListener('change', () => this.rename(id, number));
    row.querySelector('.swatch').style.background = cssColour(id);
    row.querySelector('.label').textContent = `Object ${id}`;
    const [remove, end] = row.querySelectorAll('button');
    remove.addEventListener('click', () => this.remove(id));
    end.addEventListener('click', () => this.actions.ended(id));
    end.title = 'Remove from this frame on';
    end.setAttribute('aria-label', `Remove object ${id} from this frame on`);
    return row;
  }

  update() {
    const total = this.counts.reduce((sum, count) => sum + count, 0);
    for (const [id, row] of this.rows) {
      const [pick, number] = row.querySelectorAll('input');
      const [button, end] = row.querySelectorAll('button');
      const fixed = this.fixed.has(id);
      const share = total ? (100 * (this.counts[id] ?? 0)) / total : 0;
      pick.checked = id === this.selected;
      number.disabled = fixed || !this.enabled;
      button.disabled = end.disabled = !this.enabled;
      end.hidden = !fixed;
      button.title = fixed ? 'Clear on this frame' : 'Remove';
      button.setAttribute('aria-label', `${fixed ? 'Clear' : 'Remove'} object ${id}`);
      this.showConfidence(row.querySelector('.sure'), this.confidence.get(id));
      row.querySelector('.area').textContent = this.counts.length ? `${share.toFixed(1)} %` : '';
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
