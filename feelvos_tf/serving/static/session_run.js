/** What runs in one direction and in both have in common: sessions of the server, errors, masks. */

import {ServerError} from './api.js';
import {decodeIds, encodeIds} from './png.js';

export class SessionRun {
  /**
   * @param {Api} api
   * @param {Clip} clip
   * @param {object} settings {model, version} for new sessions.
   * @param {function(number, HTMLCanvasElement): Promise} onFrame called with each done frame.
   */
  constructor(api, clip, settings, onFrame) {
    Object.assign(this, {api, clip, settings, onFrame, stopping: false});
    this.session = null; // {id, ...}
    this.objectIds = new Set(); // Ids that the masks of the run can hold.
  }

  /** Runs to the end or until `stop`; resolves when no frame is under way. */
  async run() {
    this.stopping = false;
    try {
      await this.goOn();
    } catch (error) {
      const reason = await this.explain(error);
      await this.close(); // Nobody knows how far the session got; the masks here are enough.
      throw reason;
    } finally {
      this.rest();
    }
  }

  /** Lets go of what a run needs and a pause does not. */
  rest() {}

  /** Sends no more frames; those under way are still taken. */
  stop() {
    this.stopping = true;
  }

  async close() {
    const {session} = this;
    this.session = null;
    if (session) await this.api.closeSession(session.id);
  }

  /** Opens a session with a frame and its mask, and with further [frame, mask] to compare with. */
  async open(index, others = []) {
    await this.close();
    const {api, clip, settings} = this;
    const {blob} = await clip.encodeFrame(index);
    const {session_id: id, object_ids: objectIds, remembers_masks: remembers} =
      await api.createSession({frame: blob, mask: clip.masks.get(index), ...settings}, others);
    this.objectIds = new Set(objectIds.filter(Boolean));
    this.session = {id, remembers};
  }

  /** Completes a mask of new objects by the ids that the session predicts for its frame. */
  async complete(index, predicted) {
    const {clip} = this;
    const {ids} = await decodeIds(clip.masks.get(index));
    const gone = clip.gone(index);
    const whole = ids.map((id, i) => id || (gone.has(predicted[i]) ? 0 : predicted[i]));
    const mask = await encodeIds(whole, clip.width, clip.height);
    clip.complete(index, mask, [...new Set(whole)].filter(Boolean));
  }

  /** Takes a mask that the run made; of objects that were removed nothing is shown. */
  async take(index, {mask, confidence}) {
    const {clip} = this;
    clip.setResult(index, mask, confidence);
    await hideGone(clip, index);
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
}

/**
 * Takes removed objects out of the mask that a run made of a frame. Those whose removal was taken
 * back come again.
 */
export async function hideGone(clip, index) {
  if (clip.corrections.has(index) || !clip.masks.has(index)) return;
  const gone = clip.gone(index);
  const ids = [...gone].sort().join();
  const before = clip.hidden.get(index);
  if (ids === (before?.ids ?? '')) return;
  const made = before ?? {blob: clip.masks.get(index), confidence: clip.confidence.get(index)};
  const {blob, confidence} = gone.size ? await without(gone, made) : made;
  clip.setResult(index, blob, confidence);
  if (gone.size) clip.hidden.set(index, {...made, ids});
}

async function without(gone, {blob, confidence}) {
  const {ids, width, height} = await decodeIds(blob);
  const sure = new Map(confidence);
  for (const id of gone) if (sure.has(id)) sure.set(id, 1);
  return {blob: await encodeIds(ids.map((id) => (gone.has(id) ? 0 : id)), width, height),
    confidence: sure};
}
