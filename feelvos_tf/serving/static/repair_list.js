/** The repair list: frames of a run to look at first; the same as `runtime/repair_list.py`. */

export const LENGTH = 5;
const APART = 0.1; // Share of the clip between two entries.
export const DOUBTFUL = 0.9; // Frames with a higher confidence are not listed.

/** The object with the lowest confidence on a frame, {id, confidence}; null without any. */
export function leastSure(confidences) {
  let found = null;
  for (const [id, confidence] of confidences ?? []) {
    if (!found || confidence < found.confidence) found = {id, confidence};
  }
  return found;
}

/**
 * Frames with the lowest confidence, the lowest first, spread over the clip.
 *
 * @param {Map<number, Map<number, number>>} confidence of each object on each frame of a run.
 * @param {number} count frames of the clip.
 * @returns {{index: number, id: number, confidence: number}[]}
 */
export function framesToCheck(confidence, count, length = LENGTH) {
  const apart = Math.max(1, Math.round(APART * count));
  const doubtful = [...confidence].map(([index, values]) => ({index, ...leastSure(values)}))
    .filter((entry) => entry.confidence < DOUBTFUL)
    .sort((a, b) => a.confidence - b.confidence || a.index - b.index);
  const entries = [];
  for (const entry of doubtful) {
    if (entries.length === length) break;
    if (entries.every(({index}) => Math.abs(index - entry.index) > apart)) entries.push(entry);
  }
  return entries;
}
