/** The menu of forms in which masks are handed on. */

import {frameTable} from './frame_table.js';
import {say, showError} from './notices.js';
import {PageError} from './page_error.js';
import {decodeIds} from './png.js';
import {saveFile} from './save_file.js';
import {runsOf} from './timeline.js';
import {zipFiles} from './zip.js';

const PART_BYTES = 200; // Of a form, around each mask.

export class ExportPanel {
  /**
   * @param {function(): string[]} labels of the objects, 'ID:NAME' each.
   * @param {DownloadPanel} downloads which says what was saved.
   */
  constructor(api, workspace, labels, downloads) {
    const find = (id) => document.getElementById(id);
    Object.assign(this, {api, workspace, labels, downloads, busy: false, form: find('form'),
      button: find('export')});
    this.button.addEventListener('click', () => this.save().catch(showError));
  }

  update() {
    const {clip, running} = this.workspace;
    this.form.disabled = !clip?.masks.size;
    this.button.disabled = this.form.disabled || running || this.busy;
  }

  async save() {
    const {workspace, downloads, form} = this;
    this.busy = true; // Before anything is waited for: a second click starts nothing.
    this.update();
    try {
      await workspace.settled();
      const clip = workspace.clip.copy();
      const clipName = downloads.baseName(); // Another clip may be open when the file is there.
      downloads.tell('Collecting the masks.');
      const indices = [...clip.masks.keys()].sort((a, b) => a - b);
      const {value} = form;
      const make = {table: () => frameTable(clip, indices), cutouts: () => cutouts(clip, indices)};
      const blob = await (make[value] ?? (() => this.annotations(clip, indices, value, clipName)))();
      const name = value === 'table' ? 'frames.csv' : `${clipName}_${value}.zip`;
      downloads.tell(`${indices.length} frames in ${name}.`, saveFile(blob, name));
    } catch (error) {
      downloads.tell('Nothing was saved.');
      throw error;
    } finally {
      this.busy = false;
      this.update();
    }
  }

  /** The zip that the server makes of the masks. */
  async annotations(clip, indices, form, name) {
    const masks = indices.map((index) =>
      [`${clip.source.stem(index)}.png`, clip.masks.get(index)]);
    this.checkSize(masks);
    const suffixes = suffixesOf(clip.source, indices);
    const places = placesOf(indices);
    const labels = this.labels();
    // Only tracks end, and a film takes time to tell; another clip may be open then.
    const goesOn = form === 'cvat' && await clip.source.goesOn(indices.at(-1));
    return this.api.results(masks, form, labels, {name, suffixes, places, goesOn});
  }

  /** Refuses what the server would: it hangs up on a body that is too large, without a word. */
  checkSize(masks) {
    const most = this.downloads.server.limits.max_body_bytes;
    const bytes = masks.reduce((sum, [, blob]) => sum + blob.size + PART_BYTES, 0);
    if (bytes <= most) return;
    const [given, taken] = [bytes, most].map((value) => (value / 2 ** 20).toFixed(1));
    throw new PageError(`The masks have ${given} MB, the server takes ${taken} in one request. ` +
      'Download the masks and use feelvos convert-masks.');
  }
}

/** Frames as the server takes them: '3-9,12'. */
function placesOf(indices) {
  return runsOf(indices).map(([first, last]) => (first === last ? first : `${first}-${last}`))
    .join(',');
}

/** The suffix of most frames, then those of the others with their places: ['.jpg', '.png:3']. */
function suffixesOf(source, indices) {
  const found = new Map();
  for (const index of indices) {
    const suffix = source.files?.[index].name.match(/\.\w+$/)?.[0] ?? '.jpg';
    if (!found.has(suffix)) found.set(suffix, []);
    found.get(suffix).push(index);
  }
  const [[most], ...others] = [...found].sort(([, a], [, b]) => b.length - a.length);
  return [most, ...others.map(([suffix, those]) => `${suffix}:${placesOf(those)}`)];
}

/** A zip of RGBA pictures: the frame where objects are, transparent elsewhere. */
async function cutouts(clip, indices) {
  const canvas = document.createElement('canvas');
  Object.assign(canvas, {width: clip.width, height: clip.height});
  const context = canvas.getContext('2d', {willReadFrequently: true});
  const entries = [];
  for (const index of indices) {
    await clip.drawFrame(index, context);
    const image = context.getImageData(0, 0, clip.width, clip.height);
    const {ids} = await decodeIds(clip.masks.get(index));
    ids.forEach((id, i) => { image.data[4 * i + 3] = id ? 255 : 0; });
    context.putImageData(image, 0, 0);
    entries.push([`${clip.source.stem(index)}.png`,
      await new Promise((done) => { canvas.toBlob(done, 'image/png'); })]);
    context.clearRect(0, 0, clip.width, clip.height);
    if (entries.length % 50 === 0) say(`${entries.length} of ${indices.length} frames.`);
  }
  return zipFiles(entries);
}
