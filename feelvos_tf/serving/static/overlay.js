/** Draws object ids over a frame as datasets/masks.py does: a tint inside, a contour around it. */

import {BRIGHT, PALETTE} from './palette.js';

const TINT_ALPHA = Math.round(0.45 * 255);

/**
 * Fills the rectangle `rect` ({x, y, width, height}) of a canvas context with the ids' colours.
 *
 * @param {CanvasRenderingContext2D} context of a canvas as large as the mask.
 * @param {Uint8Array} ids width * height ids.
 * @param {Set<number>} hidden ids that are not drawn.
 */
export function drawIds(context, ids, width, height, rect, hidden) {
  if (rect.width <= 0 || rect.height <= 0) return;
  const image = context.createImageData(rect.width, rect.height);
  const pixels = image.data;
  // One more pixel of contour for every 480 lines keeps it visible on large frames.
  const radius = 1 + Math.floor(height / 480);
  let at = 0;
  for (let y = rect.y; y < rect.y + rect.height; y++) {
    for (let x = rect.x; x < rect.x + rect.width; x++, at += 4) {
      const id = ids[y * width + x];
      if (!id || hidden.has(id)) continue;
      const edge = isEdge(ids, width, height, x, y, id, radius);
      const colours = edge ? BRIGHT : PALETTE;
      pixels[at] = colours[3 * id];
      pixels[at + 1] = colours[3 * id + 1];
      pixels[at + 2] = colours[3 * id + 2];
      pixels[at + 3] = edge ? 255 : TINT_ALPHA;
    }
  }
  context.putImageData(image, rect.x, rect.y);
}

/** How far a changed pixel can change the drawing around it. */
export function contourRadius(height) {
  return 1 + Math.floor(height / 480);
}

function isEdge(ids, width, height, x, y, id, radius) {
  for (let step = radius; step > 0; step -= Math.max(1, radius - 1)) {
    const left = Math.max(0, x - step);
    const right = Math.min(width - 1, x + step);
    const top = Math.max(0, y - step) * width;
    const bottom = Math.min(height - 1, y + step) * width;
    const row = y * width;
    if (ids[row + left] !== id || ids[row + right] !== id || ids[top + x] !== id ||
        ids[bottom + x] !== id || ids[top + left] !== id || ids[top + right] !== id ||
        ids[bottom + left] !== id || ids[bottom + right] !== id) return true;
  }
  return false;
}
