/** The colours of object ids: the palette of DAVIS and PASCAL VOC, as datasets/masks.py has it. */

export const PALETTE = new Uint8Array(256 * 3);
for (let id = 0; id < 256; id++) {
  for (let bit = 0; bit < 8; bit++) {
    for (let channel = 0; channel < 3; channel++) {
      PALETTE[3 * id + channel] |= ((id >> (3 * bit + channel)) & 1) << (7 - bit);
    }
  }
}

/** The same colours scaled until the strongest channel is 255: outlines and swatches. */
export const BRIGHT = new Uint8Array(256 * 3);
for (let id = 0; id < 256; id++) {
  const colour = PALETTE.subarray(3 * id, 3 * id + 3);
  const strongest = Math.max(1, ...colour);
  for (let channel = 0; channel < 3; channel++) {
    BRIGHT[3 * id + channel] = Math.round((colour[channel] * 255) / strongest);
  }
}

/** CSS colour of an object id. */
export function cssColour(id) {
  return `rgb(${BRIGHT[3 * id]} ${BRIGHT[3 * id + 1]} ${BRIGHT[3 * id + 2]})`;
}
