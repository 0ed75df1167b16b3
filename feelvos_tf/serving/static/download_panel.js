/** Masks as a zip, the overlay as an mp4. */

import {say, showError} from './notices.js';
import {makeOverlayVideo} from './overlay_video.js';
import {saveFile} from './save_file.js';
import {zipFiles} from './zip.js';

const MOST_LETTERS = 100; // Of a clip's name; the server takes no more.

export class DownloadPanel {
  constructor(api, workspace, server) {
    const find = (id) => document.getElementById(id);
    Object.assign(this, {api, workspace, server, work: null, packing: false, masks: find('save-masks'),
      overlay: find('save-overlay'), cancel: find('cancel-overlay'), note: find('download-note')});
    this.masks.addEventListener('click', () => this.saveMasks());
    this.overlay.addEventListener('click', () => this.saveOverlay());
    this.cancel.addEventListener('click', () => this.work?.abort());
  }

  async saveMasks() {
    if (this.packing) return;
    const {workspace} = this;
    this.packing = true; // Before anything is waited for, as in `ExportPanel.save`.
    this.update();
    try {
      await workspace.settled();
      const {clip} = workspace;
      const {state} = clip; // A run may go on while the file is made, or another clip be opened.
      const [indices, name] = [this.indices(), this.baseName()];
      const zip = await zipFiles(indices.map((index) =>
        [`${clip.source.stem(index)}.png`, clip.masks.get(index)]));
      const link = saveFile(zip, `${name}_masks.zip`);
      clip.setSaved(state);
      const noun = indices.length === 1 ? 'mask' : 'masks';
      this.tell(`${indices.length} ${noun} in the zip file.`, link);
    } catch (error) {
      showError(error);
    } finally {
      this.packing = false;
      this.update();
      if (document.activeElement === document.body) this.masks.focus({preventScroll: true});
    }
  }

  async saveOverlay() {
    if (this.work) return; // 'Try again' stays on the page.
    const {api, workspace, server} = this;
    this.work = new AbortController(); // Before anything is waited for, as in `ExportPanel.save`.
    this.update();
    this.cancel.focus();
    try {
      await workspace.settled();
      const clip = workspace.clip.copy();
      const [indices, name] = [this.filmed(), this.baseName()];
      const video = await makeOverlayVideo(api, clip, indices, server.limits.max_body_bytes,
        (done) => { this.note.textContent = `${done} of ${indices.length} frames drawn.`; },
        this.work.signal);
      const link = saveFile(video, `${name}_overlay.mp4`);
      this.tell(`${indices.length} frames in the video.`, link);
    } catch (error) {
      if (error.name === 'AbortError') this.tell('No video was made.');
      else showError(error, {label: 'Try again', run: () => this.saveOverlay()});
    } finally {
      this.work = null;
      this.update();
      if (document.activeElement === document.body) this.overlay.focus({preventScroll: true});
    }
  }

  /** Frames with masks in the order of time. */
  indices() {
    return [...this.workspace.clip.masks.keys()].sort((a, b) => a - b);
  }

  /** Those of them that a film shows: up to the first gap, in the order of the run. */
  filmed() {
    const {clip} = this.workspace;
    if (clip.direction === 'both' || clip.last < 0) return this.indices();
    const [first, last] = [clip.start, clip.last].sort((a, b) => a - b);
    return this.indices().filter((index) => first <= index && index <= last);
  }

  tell(text, link = '') {
    this.note.replaceChildren(`${text} `, link);
    say(text);
  }

  baseName() {
    const {name} = this.workspace.clip.source;
    return name.replace(/\.[^.]*$/, '').replace(/[^\w.-]+/g, '_').slice(0, MOST_LETTERS);
  }

  update() {
    const {clip, running} = this.workspace;
    const nothing = !clip?.masks.size;
    this.masks.disabled = nothing || this.packing;
    this.overlay.disabled = nothing || running || Boolean(this.work);
    this.overlay.hidden = Boolean(this.work);
    this.cancel.hidden = !this.work;
    if (nothing) this.note.textContent = 'A mask is a PNG file. The value of a pixel is the id.';
  }
}
