/** The run: sends frames of a clip through a session of the server and collects their masks. */

import {ServerError} from './api.js';
import {openStream} from './frame_stream.js';
import {decodeIds} from './png.js';

// Frames under way at once: one in the model, one waiting there, one on the way.
const FRAMES_UNDER_WAY = 3;

/**
 * Runs a clip through the server.
 *
 * The session's references are the masks that the user made up to its position. A run that goes
 * back behind one of them, or whose session is gone, builds a new session from those masks.
 */
export class Tracking {
  /**
   * @param {Api} api
   * @param {Clip} clip
   * @param {object} settings {model, version} for new sessions.
   * @param {function(number, HTMLCanvasElement): Promise} onFrame called with each done frame.
   */
  constructor(api, clip, settings, onFrame) {
    Object.assign(this, {api, clip, settings, onFrame, stream: null, stopping: false});
    this.session = null; // {id, position, references}
    this.objectIds = new Set(); // Ids that the masks of the run can hold.
  }

  /** Runs on from `clip.from` to the end or until `stop`; resolves when no frame is under way. */
  async run() {
    this.stopping = false;
    const {clip} = this;
    const from = clip.from;
    try {
      await this.moveTo(from);
      clip.dropResultsAfter(from);
      await this.follow(from + 1);
    } catch (error) {
      const reason = await this.explain(error);
      await this.close(); // Nobody knows how far the session got; the masks here are enough.
      throw reason;
    } finally {
      this.stream?.close();
      this.stream = null;
    }
  }

  /** Sends no more frames; those under way are still taken. */
  stop() {
    this.stopping = true;
  }

  async close() {
    const {session} = this;
    this.session = null;
    if (session) await this.api.closeSession(session.id);
  }

  /** The error itself, or that the session is gone if that is why. */
  async explain(error) {
    if (!(error instanceof ServerError) || !this.session) return error;
    const found = await this.api.describeSession(this.session.id)
      .then(() => null, (other) => other);
    if (!found?.sessionGone) return error;
    return new ServerError('The session is gone: it was idle too long, or the server was started ' +
      'again. The masks on this page are still here.', found.status);
  }

  /** Brings the session to a frame whose mask is known. */
  async moveTo(index) {
    const {clip, session} = this;
    const corrected = clip.unsent.has(index);
    if (session?.position === index && !corrected) return;
    const goesOn = session && index > Math.max(...session.references) && index > clip.start;
    if (!goesOn || !corrected) await this.rebuild(index);
    if (this.session.position !== index) await this.giveMask(index);
  }

  /** A new session with the user's masks before `index`. */
  async rebuild(index) {
    const {api, clip, settings} = this;
    await this.close();
    const {blob} = await clip.encodeFrame(clip.start);
    const {session_id: id, object_ids: objectIds} = await api.createSession(
      {frame: blob, mask: clip.masks.get(clip.start), ...settings});
    this.objectIds = new Set(objectIds);
    clip.unsent.delete(clip.start);
    this.session = {id, position: clip.start, references: new Set([clip.start])};
    const between = [...clip.corrections].filter((other) => other > clip.start && other < index);
    for (const other of between.sort((a, b) => a - b)) await this.giveMask(other);
  }

  async giveMask(index) {
    const {api, clip, session} = this;
    const {blob, canvas} = await clip.encodeFrame(index);
    const mask = clip.masks.get(index);
    const {object_ids: objectIds} = await api.correct(
      session.id, blob, mask, index - clip.start, await this.removedAt(index, mask));
    this.objectIds = new Set(objectIds);
    session.position = index;
    session.references.add(index);
    clip.unsent.delete(index);
    return canvas;
  }

  /** Ids that the session follows and that end at a frame; one that was painted again does not. */
  async removedAt(index, mask) {
    const removed = [...this.clip.removals.get(index) ?? []].filter((id) => this.objectIds.has(id));
    if (!removed.length) return removed;
    const {ids} = await decodeIds(mask);
    return removed.filter((id) => !ids.includes(id));
  }

  async follow(first) {
    const {clip} = this;
    const underWay = [];
    const take = async () => {
      const {index, canvas, answer} = underWay.shift();
      const {mask, confidence} = await answer;
      clip.setResult(index, mask, confidence);
      clip.unsaved = true;
      this.session.position = index;
      await this.onFrame(index, canvas);
    };
    this.stream ??= await openStream(this.api, this.session.id);
    for (let index = first; index < clip.count && !this.stopping; index++) {
      if (clip.corrections.has(index)) {
        while (underWay.length) await take();
        await this.onFrame(index, await this.giveMask(index));
        continue;
      }
      const {blob, canvas} = await clip.encodeFrame(index);
      const answer = this.stream.send(blob);
      answer.catch(() => {}); // Reported when it is taken.
      underWay.push({index, canvas, answer});
      if (underWay.length >= FRAMES_UNDER_WAY) await take();
    }
    while (underWay.length) await take();
  }
}
