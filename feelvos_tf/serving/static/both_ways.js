/**
 * A run in both directions, as `runtime/both_directions.py` has it: before the first mask frames
 * are segmented backward, behind the last one forward. Between two masks both runs pass; what they
 * say waits here, and the server merges it.
 */

import {agreement, agreementOf, trusts} from './opinions.js';
import {decodeIds} from './png.js';
import {SessionRun} from './session_run.js';

const MOST_OTHERS = 3; // Further masks that a session compares with.

export class BothWays extends SessionRun {
  /** Runs the stretches that depend on new masks, and those that lack masks. */
  async goOn() {
    const {clip} = this;
    const stretches = this.stretches();
    for (const {first, last, ends} of stretches) { // Those between masks in the order of time.
      const uses = this.usesOf(ends);
      const isOld = uses.some((index) => clip.unsent.has(index)) ||
        clip.stretches.get(`${first}-${last}`) !== String(uses);
      // The mask behind a stretch was completed by its run.
      if (isOld) clip.dropResults((i) => first <= i && (i <= last || i === ends[1]));
    }
    clip.unsent.clear();
    try {
      for (const stretch of stretches) {
        if (!this.stopping) await this.runStretch(stretch);
      }
      if (!this.stopping) await this.close();
    } finally {
      clip.stretches = new Map(stretches.filter((stretch) => this.isThere(stretch))
        .map(({first, last, ends}) => [`${first}-${last}`, String(this.usesOf(ends))]));
    }
  }

  /** Frames whose masks decide a stretch. */
  usesOf(ends) {
    return ends.flatMap((end) => [end, ...this.othersOf(end, ends.length > 1 ? end : Infinity)]);
  }

  /** Whether all frames of a stretch have masks. */
  isThere({first, last}) {
    return Array.from({length: last - first + 1}, (_, i) => first + i)
      .every((index) => this.clip.masks.has(index));
  }

  /** {first, last: frames without a mask by the user, ends: frames with one}. */
  stretches() {
    const {clip} = this;
    const given = [...clip.corrections.keys()].sort((a, b) => a - b);
    const between = given.slice(1).map((behind, i) =>
      ({first: given[i] + 1, last: behind - 1, ends: [given[i], behind]}));
    return [...between, {first: 0, last: given[0] - 1, ends: [given[0]]},
      {first: given.at(-1) + 1, last: clip.count - 1, ends: [given.at(-1)]}];
  }

  async runStretch(stretch) {
    const {first, last, ends: [start, behind]} = stretch;
    const adds = behind !== undefined && this.addsOnly(behind);
    if (this.isThere(stretch) && !adds) return;
    if (behind === undefined) await this.fromOneMask(start, first, last);
    else await this.between(start, behind, adds);
  }

  /** Frames before the first mask, the last of them first, or behind the last one. */
  async fromOneMask(start, first, last) {
    await this.startAt(start, Infinity);
    const step = start < first ? 1 : -1;
    for (let index = start + step; first <= index && index <= last; index += step) {
      if (this.stopping) return;
      const {blob, canvas} = await this.clip.encodeFrame(index);
      await this.take(index, await this.api.step(this.session.id, blob));
      await this.onFrame(index, canvas);
    }
  }

  async between(before, behind, adds) {
    const {api, clip} = this;
    const there = await this.seeFrom(before, behind, adds);
    if (!there) return;
    const back = await this.seeFrom(behind, before, false);
    if (!back) return;
    const trust = trusts([back.arrival, ...await this.agreements(there, back), there.arrival]);
    for (let index = before + 1; index < behind; index++) {
      if (this.stopping) return;
      const place = index - before;
      const [one, other] = [there, back].map(({opinions}, side) =>
        ({opinion: opinions.get(index), trust: trust[place][side ? 'behind' : 'before']}));
      const share = place / (behind - before);
      await this.take(index, await api.merged(this.session.id, one, other, share));
      await this.onFrame(index, (await clip.encodeFrame(index)).canvas);
    }
  }

  /** How well both runs agree on the frames between the masks, in the order of time. */
  async agreements(there, back) {
    const found = [];
    for (const [index, opinion] of there.opinions) {
      found.push(await agreementOf(opinion, back.opinions.get(index)));
    }
    return found;
  }

  /**
   * What the run from one mask says of the frames up to another one, and how well it meets that:
   * {opinions: Map of frame index to Blob, arrival: Map of object id to J}; null if it was stopped.
   */
  async seeFrom(start, end, adds) {
    const {api, clip} = this;
    const opinions = new Map();
    await this.startAt(start, start);
    const step = Math.sign(end - start);
    for (let index = start + step; index !== end; index += step) {
      if (this.stopping) return null;
      const {blob} = await clip.encodeFrame(index);
      opinions.set(index, await api.opinion(this.session.id, blob));
      await this.onFrame(index, null);
    }
    if (this.stopping) return null;
    const {blob} = await clip.encodeFrame(end);
    const {ids} = await decodeIds((await api.step(this.session.id, blob)).mask);
    if (adds) await this.complete(end, ids);
    const given = await decodeIds(clip.masks.get(end));
    return {opinions, arrival: agreement(ids, given.ids, this.objectIds)};
  }

  async startAt(index, done) {
    const others = [];
    for (const other of this.othersOf(index, done)) {
      others.push([(await this.clip.encodeFrame(other)).blob, this.clip.masks.get(other)]);
    }
    await this.open(index, others);
  }

  /**
   * The nearest masks with objects that the mask of a frame does not show. Those that only add
   * objects count up to frame `done`: a run that was interrupted may have completed some behind it.
   */
  othersOf(end, done) {
    const {clip, clip: {corrections}} = this;
    const covered = new Set(corrections.get(end));
    const rest = [...corrections.keys()].filter((index) => index !== end)
      .sort((a, b) => Math.abs(a - end) - Math.abs(b - end) || a - b);
    const chosen = [];
    for (const index of rest) {
      const ids = [...corrections.get(index)];
      const isWhole = index <= done || !(clip.completed.has(index) || this.addsOnly(index));
      if (isWhole && chosen.length < MOST_OTHERS && ids.some((id) => !covered.has(id))) {
        chosen.push(index);
        ids.forEach((id) => covered.add(id));
      }
    }
    return chosen;
  }

  addsOnly(index) {
    const earlier = [...this.clip.corrections].filter(([other]) => other < index);
    return this.clip.addsOnly(index, new Set(earlier.flatMap(([, ids]) => [...ids])));
  }
}
