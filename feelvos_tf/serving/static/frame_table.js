/** frames.csv: where every object is on every frame, as `runtime/frame_table.py` writes it. */

import {decodeIds} from './png.js';

const COLUMNS = 'frame,object,area,left,top,width,height,confidence';

/** The file of a clip's masks. */
export async function frameTable(clip, indices) {
  const lines = [COLUMNS];
  for (const index of indices) {
    const boxes = boxesOf(await decodeIds(clip.masks.get(index)));
    const confidence = clip.confidence.get(index) ?? new Map();
    const ids = [...new Set([...boxes.keys(), ...confidence.keys()])].sort((a, b) => a - b);
    for (const id of ids) {
      const {area, left, top, right, bottom} = boxes.get(id) ?? {area: 0};
      const box = area ? [left, top, right - left + 1, bottom - top + 1] : ['', '', '', ''];
      const sure = number(confidence.get(id) ?? 1); // A mask by the user is right.
      lines.push([field(clip.source.stem(index)), id, area, ...box, sure].join(','));
    }
  }
  return new Blob([`${lines.join('\n')}\n`], {type: 'text/csv'});
}

function boxesOf({ids, width}) {
  const boxes = new Map();
  ids.forEach((id, at) => {
    if (!id) return;
    const x = at % width;
    const y = (at - x) / width;
    const box = boxes.get(id) ?? {area: 0, left: x, right: x, top: y, bottom: y};
    box.area++;
    box.left = Math.min(box.left, x);
    box.right = Math.max(box.right, x);
    box.bottom = y;
    boxes.set(id, box);
  });
  return boxes;
}

function number(value) {
  return Number.isInteger(value) ? value.toFixed(1) : String(value);
}

function field(text) {
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
