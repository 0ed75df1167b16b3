/**
 * What the runs from both masks of a gap say of its frames: read from the bytes of `/opinions`, and
 * how far each run is to be trusted, as `inference/merging.py` has it.
 */

const HEAD_BYTES = 6; // Number of objects, h4, w4.
const ZERO = 0x8000; // Of float16; log-probabilities are never above it.

/** Ids of the objects and, at stride 4, the id that has the highest probability. */
export async function readOpinion(blob) {
  const buffer = await blob.arrayBuffer();
  const [count, height, width] = new Uint16Array(buffer.slice(0, HEAD_BYTES));
  const objectIds = new Uint8Array(buffer, HEAD_BYTES, count);
  // Of numbers that are not positive, the bits of the highest one are the lowest.
  const bits = new Uint16Array(buffer.slice(HEAD_BYTES + count));
  const places = height * width;
  const ids = new Uint8Array(places);
  for (let place = 0; place < places; place++) {
    let best = 0;
    let lowest = bits[place] || ZERO;
    for (let channel = 1; channel < count; channel++) {
      const value = bits[channel * places + place] || ZERO;
      if (value < lowest) [best, lowest] = [channel, value];
    }
    ids[place] = objectIds[best];
  }
  return {objectIds: new Set([...objectIds].filter(Boolean)), ids};
}

/** J of every object between two masks; 1 if it is on neither. Map of id to number. */
export function agreement(one, other, objectIds) {
  const both = new Map();
  const either = new Map();
  const count = (counts, id) => counts.set(id, (counts.get(id) ?? 0) + 1);
  for (let i = 0; i < one.length; i++) {
    count(either, one[i]);
    if (one[i] === other[i]) count(both, one[i]);
    else count(either, other[i]);
  }
  return new Map([...objectIds].map((id) =>
    [id, either.has(id) ? (both.get(id) ?? 0) / either.get(id) : 1]));
}

/** Agreement of two opinions on a frame, of the objects that both know. */
export async function agreementOf(one, other) {
  const [first, second] = [await readOpinion(one), await readOpinion(other)];
  return agreement(first.ids, second.ids,
    [...first.objectIds].filter((id) => second.objectIds.has(id)));
}

/**
 * How far both runs are to be trusted on every frame, see `merging.trusts`.
 *
 * @param {Array<Map>} meetings agreements from the mask before to the mask behind.
 * @returns {Array<{before: Map, behind: Map}>} one for each of them; those of the ends mean nothing.
 */
export function trusts(meetings) {
  const last = meetings.length - 1;
  const found = meetings.map(() => ({before: new Map(), behind: new Map()}));
  for (const id of meetings[0].keys()) {
    if (!meetings.every((meeting) => meeting.has(id))) continue;
    let most = 0;
    for (let place = last; place > 0; place--) {
      most = Math.max(most, meetings[place].get(id) * (place / last));
      found[place].before.set(id, most);
    }
    most = 0;
    for (let place = 0; place < last; place++) {
      most = Math.max(most, meetings[place].get(id) * (1 - place / last));
      found[place].behind.set(id, most);
    }
  }
  return found;
}
