/** Run, stop, progress: the one place that starts and ends runs. */

import {BothWays} from './both_ways.js';
import {hideError, say, showError} from './notices.js';
import {Pace, formatSeconds} from './pace.js';
import {Tracking} from './tracking.js';

const SPOKEN_STEPS = 4; // A screen reader hears every quarter.

export class RunPanel {
  /**
   * @param {Api} api
   * @param {Workspace} workspace
   * @param {ServerPanel} server
   * @param {function(string): boolean} mayDrop whether masks that were not saved may be lost.
   * @param {function()} onChange called when a run starts, ends or gets a frame.
   * @param {function(number)} onLook called with a frame that the user wants to look at.
   */
  constructor(api, workspace, server, mayDrop, onChange, onLook) {
    const find = (id) => document.getElementById(id);
    Object.assign(this, {api, workspace, server, mayDrop, onChange, onLook, tracking: null,
      pace: null, stopping: false, summary: '', seen: '', direction: find('direction'),
      runButton: find('run'), stopButton: find('stop'),
      overButton: find('start-over'), note: find('run-note'), follow: find('follow'),
      list: find('look-first'), row: find('progress-row'),
      bar: find('progress'), text: find('progress-text')});
    this.runButton.addEventListener('click', () => this.run());
    this.stopButton.addEventListener('click', () => this.stop());
    this.overButton.addEventListener('click', () => this.startOver());
    this.direction.addEventListener('change', () => this.turn().catch(showError));
    window.addEventListener('pagehide', () => this.forget());
  }

  get running() {
    return this.workspace.running;
  }

  /** Closes the session: another clip, model or size. */
  forget() {
    this.tracking?.close();
    this.tracking = null;
    this.summary = '';
  }

  /** Takes the direction that is chosen; what was made in another is made again by the next run. */
  async turn() {
    const {workspace, direction: {value}} = this;
    this.forget();
    await workspace.settled();
    workspace.clip?.setDirection(value);
    this.onChange();
    await workspace.renew(); // Undo must not bring back what a run in the other direction used.
  }

  async run() {
    const {workspace} = this;
    if (this.running || this.whyNot()) return;
    workspace.running = true;
    this.stopping = false;
    this.summary = '';
    this.follow.checked = true;
    hideError();
    this.onChange();
    this.stopButton.focus();
    const {clip} = workspace;
    try {
      await workspace.settled();
      this.pace = new Pace();
      const Kind = clip.direction === 'both' ? BothWays : Tracking;
      const settings = this.server.settings();
      const isOther = JSON.stringify(settings) !== JSON.stringify(this.tracking?.settings);
      if (isOther) this.forget(); // Another model was chosen while the last run went on.
      this.tracking ??= new Kind(this.api, clip, settings,
        (index, canvas) => this.frameDone(index, canvas));
      say(clip.direction === 'both' ? 'Run started.'
        : `Run started after frame ${clip.from + 1}.`);
      if (!this.stopping) await this.tracking.run(); // Stop can be pressed before.
      this.finish(clip);
    } catch (error) {
      await this.fail(error, clip);
    } finally {
      if (workspace.clip === clip) await workspace.renew().catch(showError);
      workspace.running = false;
      this.onChange();
      if (document.activeElement === document.body) this.focusNext();
    }
  }

  stop() {
    this.stopping = true;
    this.tracking?.stop();
    this.onChange();
  }

  async startOver() {
    const {workspace} = this;
    await workspace.settled();
    if (!workspace.clip.hasResults || !this.mayDrop('Start over')) return; // A second click.
    this.forget();
    workspace.clip.startOver();
    await workspace.show(workspace.clip.start);
    say('The masks of the run are gone. The first mask is still here.');
  }

  /** A frame has its mask, or, without `canvas`, was seen from one side. */
  async frameDone(index, canvas) {
    const {clip} = this.workspace;
    this.pace.mark();
    this.seen = canvas ? '' : `looked at frame ${index + 1} on the way forward`;
    const isShown = this.follow.checked || index === this.workspace.index;
    if (isShown && canvas) await this.workspace.present(index, canvas);
    else this.onChange();
    const {total, done} = clip.progress;
    if (canvas && done % Math.ceil(total / SPOKEN_STEPS) === 0) {
      say(`${done} of ${total} frames. ${this.pace.describe(total - done)}`);
    }
  }

  finish(clip) {
    const seconds = formatSeconds(this.pace.elapsed());
    const frames = this.pace.frames;
    this.summary = `${frames} ${frames === 1 ? 'frame' : 'frames'} in ${seconds}`;
    say(clip.isDone ? `Done: ${this.summary}.` : 'Stopped.');
  }

  async fail(error, clip) {
    console.info(error);
    this.summary = 'ended early';
    if (error.status === 404) { // The server may have other models by now.
      await this.server.load().catch(() => {});
      this.tracking = null;
    }
    if (error.status === 401 || error.status === 403) this.server.askForToken();
    const goesOn = clip.hasResults && clip.direction !== 'both';
    const label = goesOn ? `Go on from frame ${clip.from + 1}` : 'Try again';
    showError(error, {label, run: () => this.run()});
  }

  focusNext() {
    (this.runButton.disabled ? this.workspace.view.surface : this.runButton)
      .focus({preventScroll: true});
  }

  /** Why there is nothing to run; empty if there is. */
  whyNot() {
    const {clip} = this.workspace;
    if (!clip) return 'Open a clip.';
    if (this.workspace.opening) return 'Another clip is being opened.';
    if (!clip.masks.size) return 'Paint an object on a frame, or load a mask.';
    if (this.server.lacksToken) return 'Type the token under Server.';
    if (!clip.isDone) return '';
    return clip.hasResults
      ? 'All frames have masks. Paint on a frame to correct it and run on from there.'
      : 'No frame is left in this direction. Choose another, or put the mask on another frame.';
  }

  update() {
    const {clip} = this.workspace;
    const {running} = this;
    this.runButton.hidden = running;
    this.stopButton.hidden = !running;
    this.stopButton.disabled = this.stopping;
    this.stopButton.textContent = this.stopping ? 'Stopping' : 'Stop';
    document.getElementById('follow-row').hidden = !running;
    this.direction.disabled = running;
    if (clip) this.direction.value = clip.direction;
    this.overButton.hidden = running || !clip?.hasResults;
    this.runButton.disabled = Boolean(this.whyNot());
    this.runButton.textContent = clip?.hasResults ? 'Run on' : 'Run';
    this.note.textContent = running ? '' : this.whyNot() || this.whatNext();
    this.note.hidden = !this.note.textContent;
    this.listFrames(running ? [] : clip?.toCheck ?? []);
    this.row.hidden = !running && !clip?.hasResults;
    if (!this.row.hidden) this.showProgress();
  }

  /** Buttons of the frames to look at first. */
  listFrames(entries) {
    this.list.hidden = !entries.length;
    this.list.replaceChildren(...(entries.length ? ['Look first at'] : []),
      ...entries.map(({index, id, confidence}) => {
        const button = document.createElement('button');
        button.type = 'button';
        button.textContent = `Frame ${index + 1}`;
        button.title = `Object ${id}: ${Math.round(100 * confidence)} % sure`;
        button.addEventListener('click', () => this.onLook(index));
        return button;
      }));
  }

  whatNext() {
    const {clip} = this.workspace;
    const frame = clip.from + 1;
    if (clip.direction === 'both') {
      return clip.hasResults ? 'Runs between the masks that are new or lack results.'
        : 'Runs both ways from every mask that you made, and merges between two.';
    }
    if (!clip.hasResults) {
      const left = clip.count - clip.progress.total;
      const frames = left === 1 ? 'frame gets no mask' : `${left} frames get no masks`;
      const side = clip.direction === 'forward' ? 'before' : 'behind';
      return `Starts with frame ${frame}.${left ? ` The ${frames} ${side} it.` : ''}`;
    }
    const {done} = clip.progress;
    const isMiddle = clip.position(clip.from) < clip.position(clip.start) + done - 1;
    return isMiddle
      ? `Runs on from frame ${frame}. The frames ${clip.direction === 'forward' ? 'after' : 'before'
      } it are computed again.` : `Runs on from frame ${frame}.`;
  }

  showProgress() {
    const {clip} = this.workspace;
    const {total, done} = clip.progress;
    this.bar.max = total;
    this.bar.value = done;
    const pace = this.running ? this.pace?.describe(total - done) || 'waiting for the first mask'
      : this.summary;
    const seen = this.running && this.seen;
    this.text.textContent = [`${done} of ${total} frames`, seen || pace].filter(Boolean).join(', ');
  }
}
