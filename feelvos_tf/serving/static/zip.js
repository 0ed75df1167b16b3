/** A zip file whose entries are stored as they are: PNGs do not get smaller. */

import {crc32} from './checksums.js';
import {PageError} from './page_error.js';

const MAX_ENTRIES = 65535; // Of a zip file without the 64-bit extension.
const MAX_BYTES = 0xffffffff;
const UTF8_NAMES = 0x0800;
const VERSION = 20;
const DOS_DATE = (1 << 5) | 1; // 1 January 1980: equal masks give equal files.

/**
 * @param {Iterable<[string, Blob]>} entries names and contents; read one at a time.
 * @returns {Promise<Blob>} the zip file.
 * @throws {PageError} more entries or bytes than the format takes.
 */
export async function zipFiles(entries) {
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const [path, blob] of entries) {
    const name = new TextEncoder().encode(path);
    const fields = {crc: crc32(new Uint8Array(await blob.arrayBuffer())), size: blob.size, name};
    if (directory.length === MAX_ENTRIES || offset + blob.size > MAX_BYTES) {
      throw new PageError(`A zip file takes ${MAX_ENTRIES} files and 4 GB.`);
    }
    const local = header(0x04034b50, fields);
    directory.push(header(0x02014b50, fields, offset));
    parts.push(local, blob);
    offset += local.length + blob.size;
  }
  const size = directory.reduce((sum, entry) => sum + entry.length, 0);
  const end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, 0x06054b50, true);
  end.setUint16(8, directory.length, true);
  end.setUint16(10, directory.length, true);
  end.setUint32(12, size, true);
  end.setUint32(16, offset, true);
  return new Blob([...parts, ...directory, end], {type: 'application/zip'});
}

/** A local header, or with `offset` the directory's entry that points to it. */
function header(signature, {crc, size, name}, offset = null) {
  const central = offset !== null;
  const view = new DataView(new ArrayBuffer((central ? 46 : 30) + name.length));
  let at = 0;
  const put16 = (value) => { view.setUint16(at, value, true); at += 2; };
  const put32 = (value) => { view.setUint32(at, value, true); at += 4; };
  put32(signature);
  if (central) put16(VERSION);
  [VERSION, UTF8_NAMES, 0, 0, DOS_DATE].forEach(put16); // Method 0: stored. Time 0.
  [crc, size, size].forEach(put32);
  [name.length, 0].forEach(put16); // No extra field.
  if (central) {
    [0, 0, 0].forEach(put16); // No comment, first disk, no internal attributes.
    [0, offset].forEach(put32);
  }
  const bytes = new Uint8Array(view.buffer);
  bytes.set(name, at);
  return bytes;
}
