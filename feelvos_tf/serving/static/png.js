/**
 * Masks as PNG files. The pixel values are the object ids, whatever colours the palette gives them,
 * so the file is read here: a browser would turn the indices into colours, which ids may share.
 */

import {crc32} from './checksums.js';
import {PageError} from './page_error.js';
import {PALETTE} from './palette.js';

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const REFUSED_COLOUR_TYPES = {2: 'an RGB colour', 4: 'a grey-with-alpha', 6: 'an RGBA colour'};
// Start and step (x, y) of the passes of an interlaced file (PNG specification, section 8.2).
const ADAM7 = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2],
  [0, 1, 1, 2]];

/** A file that is no mask; the message says why in one line. */
export class MaskFileError extends PageError {}

/**
 * Decodes a palette or grey PNG of 1, 2, 4 or 8 bits.
 *
 * @param {Blob} blob the file.
 * @param {number} maxPixels larger headers are refused before anything is decoded.
 * @returns {Promise<{width: number, height: number, ids: Uint8Array}>} ids row by row.
 * @throws {MaskFileError} not a PNG, colour, 16 bits, damaged, too large.
 */
export async function decodeIds(blob, maxPixels = 1 << 26) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const {header, compressed} = readChunks(bytes);
  const {width, height, bitDepth, interlaced} = header;
  if (!width || !height || width * height > maxPixels) {
    throw new MaskFileError(
      `The mask has ${width} x ${height} pixels. Give 1 to ${maxPixels} pixels.`);
  }
  const passes = interlaced ? ADAM7 : [[0, 0, 1, 1]];
  const sizes = passes.map(([x, y, stepX, stepY]) => ({
    columns: Math.ceil((width - x) / stepX), rows: Math.ceil((height - y) / stepY)}));
  const rowBytes = sizes.map(({columns}) => Math.ceil((columns * bitDepth) / 8));
  const expected = sizes.reduce(
    (sum, {columns, rows}, i) => sum + (columns > 0 && rows > 0 ? rows * (rowBytes[i] + 1) : 0), 0);
  const data = await inflate(compressed, expected);
  const ids = new Uint8Array(width * height);
  let offset = 0;
  passes.forEach(([x, y, stepX, stepY], i) => {
    const {columns, rows} = sizes[i];
    if (columns <= 0 || rows <= 0) return;
    const stride = rowBytes[i];
    let previous = new Uint8Array(stride);
    for (let row = 0; row < rows; row++) {
      const line = data.subarray(offset + 1, offset + 1 + stride);
      unfilter(data[offset], line, previous);
      const start = (y + row * stepY) * width + x;
      for (let column = 0; column < columns; column++) {
        ids[start + column * stepX] = sample(line, column, bitDepth);
      }
      previous = line;
      offset += stride + 1;
    }
  });
  return {width, height, ids};
}

/**
 * Encodes ids as an 8-bit palette PNG with the DAVIS palette.
 *
 * @param {Uint8Array} ids width * height ids, row by row.
 * @returns {Promise<Blob>} the file.
 */
export async function encodeIds(ids, width, height) {
  const rows = new Uint8Array(height * (width + 1)); // A filter byte before each row: 0, none.
  for (let y = 0; y < height; y++) {
    rows.set(ids.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  }
  const stream = new Blob([rows]).stream().pipeThrough(new CompressionStream('deflate'));
  const compressed = new Uint8Array(await new Response(stream).arrayBuffer());
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, 3, 0, 0, 0], 8); // 8 bits, palette, deflate, the one filter method, no interlace.
  return new Blob([new Uint8Array(SIGNATURE), ...chunk('IHDR', header), ...chunk('PLTE', PALETTE),
    ...chunk('IDAT', compressed), ...chunk('IEND', new Uint8Array(0))], {type: 'image/png'});
}

/** Ids resized to another size by taking the nearest pixel. */
export function resizeIds({width, height, ids}, newWidth, newHeight) {
  if (width === newWidth && height === newHeight) return ids;
  const result = new Uint8Array(newWidth * newHeight);
  for (let y = 0; y < newHeight; y++) {
    const row = Math.floor(((y + 0.5) * height) / newHeight) * width;
    for (let x = 0; x < newWidth; x++) {
      result[y * newWidth + x] = ids[row + Math.floor(((x + 0.5) * width) / newWidth)];
    }
  }
  return result;
}

function readChunks(bytes) {
  if (bytes.length < 33 || SIGNATURE.some((value, i) => bytes[i] !== value)) {
    throw new MaskFileError('This is not a PNG file. Give a mask as a palette or grey PNG.');
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const compressed = [];
  let header = null;
  for (let at = 8; at + 12 <= bytes.length;) {
    const length = view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const end = at + 8 + length;
    if (end + 4 > bytes.length) break;
    if (view.getUint32(end) !== crc32(bytes.subarray(at + 4, end))) {
      throw new MaskFileError('The PNG file is damaged: a checksum is wrong. Write it again.');
    }
    if (type === 'IHDR') header = readHeader(view, at + 8);
    if (type === 'IDAT') compressed.push(bytes.subarray(at + 8, end));
    if (type === 'IEND') return {header, compressed};
    at = end + 4;
  }
  throw new MaskFileError('The PNG file is damaged: it ends too early. Write it again.');
}

function readHeader(view, at) {
  const colourType = view.getUint8(at + 9);
  const bitDepth = view.getUint8(at + 8);
  if (colourType !== 0 && colourType !== 3) {
    const kind = REFUSED_COLOUR_TYPES[colourType] ?? `a type ${colourType}`;
    throw new MaskFileError(`This is ${kind} image. A mask is a palette or grey PNG whose values ` +
      'are the object ids. Convert it to indexed colours.');
  }
  if (bitDepth > 8) {
    throw new MaskFileError(`The mask has ${bitDepth} bits a pixel. Save it with 8 bits or less.`);
  }
  return {width: view.getUint32(at), height: view.getUint32(at + 4), bitDepth,
    interlaced: view.getUint8(at + 12) === 1};
}

async function inflate(parts, expected) {
  const result = new Uint8Array(expected);
  let filled = 0;
  try {
    const reader = new Blob(parts).stream().pipeThrough(new DecompressionStream('deflate'))
      .getReader();
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      if (filled + read.value.length > expected) {
        await reader.cancel();
        throw new RangeError('too much data');
      }
      result.set(read.value, filled);
      filled += read.value.length;
    }
  } catch (error) {
    throw new MaskFileError('The PNG file is damaged: its pixels cannot be read. Write it again.',
      {cause: error});
  }
  if (filled < expected) {
    throw new MaskFileError('The PNG file is damaged: pixels are missing. Write it again.');
  }
  return result;
}

/** Undoes a row's filter in place; pixels of 8 bits or less, so the left neighbour is one byte. */
function unfilter(filter, line, above) {
  if (filter > 4) throw new MaskFileError('The PNG file is damaged: no such filter.');
  if (filter === 0) return;
  for (let i = 0; i < line.length; i++) {
    const left = i ? line[i - 1] : 0;
    if (filter === 1) line[i] += left;
    else if (filter === 2) line[i] += above[i];
    else if (filter === 3) line[i] += (left + above[i]) >> 1;
    else line[i] += paeth(left, above[i], i ? above[i - 1] : 0);
  }
}

function paeth(left, above, corner) {
  const guess = left + above - corner;
  const toLeft = Math.abs(guess - left);
  const toAbove = Math.abs(guess - above);
  const toCorner = Math.abs(guess - corner);
  if (toLeft <= toAbove && toLeft <= toCorner) return left;
  return toAbove <= toCorner ? above : corner;
}

function sample(line, column, bitDepth) {
  if (bitDepth === 8) return line[column];
  const bit = column * bitDepth;
  return (line[bit >> 3] >> (8 - bitDepth - (bit & 7))) & ((1 << bitDepth) - 1);
}

function chunk(type, data) {
  const name = Uint8Array.from(type, (letter) => letter.charCodeAt(0));
  const ends = new DataView(new ArrayBuffer(8));
  ends.setUint32(0, data.length);
  ends.setUint32(4, crc32(name, data));
  return [new Uint8Array(ends.buffer, 0, 4), name, data, new Uint8Array(ends.buffer, 4, 4)];
}
