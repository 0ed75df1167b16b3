/** A run in one direction: sends frames through a session of the server and collects masks. */

import {openStream} from './frame_stream.js';
import {decodeIds} from './png.js';
import {SessionRun} from './session_run.js';

// Frames under way at once: one in the model, one waiting there, one on the way.
const FRAMES_UNDER_WAY = 3;
const STOPPED = new Error('stopped on the way to a frame');

/**
 * Runs a clip through the server, forward or backward.
 *
 * The session's references are the masks that the user made up to its position. A run that goes
 * back behind one of them, or whose session is gone, builds a new session from those masks. Before
 * it takes a mask, a session is brought to the frame before it, whose mask is known: so it gives what
 * a run over all frames gives.
 */
export class Tracking extends SessionRun {
  constructor(...given) {
    super(...given);
    this.stream = null;
  }

  /** Runs on from `clip.from`. */
  async goOn() {
    const {clip} = this;
    const {from} = clip;
    try {
      await this.moveTo(from);
    } catch (error) {
      if (error !== STOPPED) throw error;
      await this.close(); // It lacks masks; the next run builds another one.
      return;
    }
    clip.dropResultsAfter(from);
    await this.follow(clip.position(from) + 1);
  }

  rest() {
    this.stream?.close();
    this.stream = null;
  }

  /** Brings the session to a frame whose mask is known. */
  async moveTo(index) {
    const {clip, session} = this;
    const corrected = clip.unsent.has(index);
    if (session?.position === index && !corrected) return;
    const place = clip.position(index);
    const earlier = clip.position(place - 1);
    const goesOn = session && place > Math.max(...[...session.references].map(
      (other) => clip.position(other))) && index !== clip.start &&
      (session.position === earlier ||
        !(clip.corrections.has(earlier) || this.isHiding(earlier)));
    if (!goesOn || !corrected) await this.rebuild(index);
    if (this.session.position === index && !clip.unsent.has(index)) return;
    if (clip.corrections.has(index) || !await this.reach(index)) await this.giveMask(index);
  }

  /** A new session with the user's masks before `index`. */
  async rebuild(index) {
    const {clip} = this;
    const {start} = clip;
    await this.open(start);
    clip.unsent.delete(start);
    Object.assign(this.session, {position: start, references: new Set([start])});
    const places = [...clip.corrections.keys()].map((other) => clip.position(other));
    const between = places.filter((place) =>
      place > clip.position(start) && place < clip.position(index));
    for (const place of between.sort((a, b) => a - b)) await this.giveMask(clip.position(place));
  }

  async giveMask(index) {
    const {api, clip, session} = this;
    const earlier = clip.position(clip.position(index) - 1);
    if (session.position !== earlier) await this.reach(earlier);
    const {blob, canvas} = await clip.encodeFrame(index);
    const onlyAdds = session.position === earlier && clip.corrections.has(index) &&
      clip.addsOnly(index, this.objectIds);
    if (onlyAdds) {
      await this.complete(index, (await decodeIds((await api.step(session.id, blob)).mask)).ids);
    }
    const mask = clip.masks.get(index);
    const {object_ids: objectIds} = await api.correct(session.id, blob, mask,
      Math.abs(index - clip.start), await this.removedAt(index, mask), onlyAdds);
    this.objectIds = new Set(objectIds.filter(Boolean));
    session.position = index;
    session.references.add(index);
    clip.unsent.delete(index);
    return canvas;
  }

  /** Brings the session to a frame by its mask or on the way of the run; whether it can. */
  async reach(index) {
    const {api, clip, session} = this;
    if (await this.remember(index)) return true;
    const place = clip.position(session.position);
    if (!session.remembers || place > clip.position(index)) return false;
    for (let next = place + 1; next <= clip.position(index); next++) {
      if (this.stopping) throw STOPPED;
      const {blob} = await clip.encodeFrame(clip.position(next));
      await api.step(session.id, blob);
      session.position = clip.position(next);
    }
    return true;
  }

  /**
   * Brings the session to a frame whose mask a run made with the references that it has; whether it
   * can. A mask of which removed objects were taken out is not what the run predicted.
   */
  async remember(index) {
    const {api, clip, session} = this;
    if (!session.remembers || !clip.masks.has(index) || clip.corrections.has(index) ||
        this.isHiding(index)) {
      return false;
    }
    const {blob} = await clip.encodeFrame(index);
    await api.remember(session.id, blob, clip.masks.get(index), Math.abs(index - clip.start));
    session.position = index;
    return true;
  }

  /** Whether removed objects, which are followed on, are not shown on a frame. */
  isHiding(index) {
    return this.clip.direction !== 'forward' && this.clip.gone(index).size > 0;
  }

  /** Ids that the session follows and that end at a frame; one that was painted again does not. */
  async removedAt(index, mask) {
    if (this.clip.direction !== 'forward') return []; // They are followed on and not shown.
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
      await this.take(index, await answer);
      this.session.position = index;
      await this.onFrame(index, canvas);
    };
    this.stream ??= await openStream(this.api, this.session.id);
    for (let place = first; place < clip.count && !this.stopping; place++) {
      const index = clip.position(place);
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
