/**
 * When each frame of a WebM or Matroska file is shown, by the time stamps of its blocks (RFC 9559).
 * The file is read from start to end in pieces; only the headers of its elements are looked at.
 */

const PIECE_BYTES = 4 << 20;
const IDS = {ebml: 0x1a45dfa3, segment: 0x18538067, info: 0x1549a966, scale: 0x2ad7b1,
  tracks: 0x1654ae6b, track: 0xae, trackNumber: 0xd7, trackType: 0x83, codec: 0x86,
  cluster: 0x1f43b675, clusterTime: 0xe7, simpleBlock: 0xa3, group: 0xa0, block: 0xa1};
const ENTERED = [IDS.segment, IDS.info, IDS.tracks, IDS.track, IDS.cluster, IDS.group];
const DEFAULT_SCALE = 1e6; // Nanoseconds of one unit of time.
const VIDEO = 1;
const MOST_READ_BYTES = 64; // Of one element: a number, a codec's name, a block's header.
const AFTER_TRACK_BYTES = 3; // Of a block's header: the time and flags.
const DEFAULT_SECONDS = 1 / 25; // Of a file's only frame.

/**
 * @param {Blob} file any file.
 * @returns {Promise<{times: number[], codec: string} | null>} as `readMp4Times`.
 */
export async function readWebmTimes(file) {
  const cursor = new Cursor(file);
  if (!(await cursor.need(4)) || cursor.view.getUint32(cursor.at) !== IDS.ebml) return null;
  const state = {scale: DEFAULT_SCALE, track: {}, video: null, cluster: 0, times: [],
    isDamaged: false};
  while (await cursor.need(2)) {
    await cursor.need(12); // Less is there only at the end of the file.
    const id = cursor.number(true);
    const size = cursor.number(false);
    if (id === undefined || size === undefined) break;
    if (ENTERED.includes(id)) {
      if (id === IDS.track) state.track = {};
      continue;
    }
    if (size === null) break; // Only elements that are entered may be of unknown size.
    if (await cursor.need(Math.min(size, MOST_READ_BYTES))) readElement(id, size, cursor, state);
    cursor.skip(size);
  }
  const times = state.times.sort((a, b) => a - b).map((time) => (time * state.scale) / 1e9);
  if (!times.length || state.isDamaged) return null;
  times.push(times.at(-1) + (times.length > 1 ? times.at(-1) - times.at(-2) : DEFAULT_SECONDS));
  return {times, codec: state.video.codec ?? ''};
}

function readElement(id, size, cursor, state) {
  const {track} = state;
  if (id === IDS.scale) state.scale = cursor.unsigned(size);
  else if (id === IDS.clusterTime) state.cluster = cursor.unsigned(size);
  else if (id === IDS.trackNumber) track.number = cursor.unsigned(size);
  else if (id === IDS.trackType) track.type = cursor.unsigned(size);
  else if (id === IDS.codec) track.codec = cursor.text(size);
  else if (id === IDS.simpleBlock || id === IDS.block) readBlock(size, cursor, state);
  if (track.type === VIDEO && track.number) state.video ??= track;
}

function readBlock(size, cursor, state) {
  const start = cursor.at;
  const track = cursor.number(false);
  const {view, at} = cursor;
  const left = start + size - at - AFTER_TRACK_BYTES;
  cursor.at = start;
  if (track === undefined || left < 0) {
    state.isDamaged = true;
    return;
  }
  const isVideo = track === state.video?.number;
  // A VP8 frame that is only a reference for others has this bit unset; an empty one is none.
  const isShown = state.video?.codec !== 'V_VP8' ||
    (left > 0 && Boolean(view.getUint8(at + AFTER_TRACK_BYTES) & 0x10));
  if (isVideo && isShown) state.times.push(state.cluster + view.getInt16(at));
}

/** A place in a file of which one piece is in memory. */
class Cursor {
  constructor(file) {
    Object.assign(this, {file, begin: 0, at: 0, view: new DataView(new ArrayBuffer(0))});
  }

  /** Brings at least `count` bytes into memory; false if the file ends before. */
  async need(count) {
    if (this.at + count <= this.view.byteLength) return true;
    this.begin += this.at;
    this.at = 0;
    const piece = this.file.slice(this.begin, this.begin + PIECE_BYTES);
    this.view = new DataView(await piece.arrayBuffer());
    return count <= this.view.byteLength;
  }

  /** A variable-length number; ids keep the marker. null: unknown size; undefined: none there. */
  number(keepMarker) {
    const {view, at} = this;
    const first = at < view.byteLength ? view.getUint8(at) : 0;
    const length = Math.clz32(first) - 23;
    if (!first || at + length > view.byteLength) return undefined;
    let value = keepMarker ? first : first & ((1 << (8 - length)) - 1);
    let unknown = !keepMarker && value === (1 << (8 - length)) - 1;
    for (let i = 1; i < length; i++) {
      const byte = view.getUint8(at + i);
      unknown &&= byte === 255;
      value = value * 256 + byte;
    }
    this.at += length;
    return unknown ? null : value;
  }

  unsigned(size) {
    let value = 0;
    for (let i = 0; i < Math.min(size, 8); i++) value = value * 256 + this.byte(i);
    return value;
  }

  text(size) {
    const length = Math.min(size, MOST_READ_BYTES);
    return String.fromCharCode(...Array.from({length}, (_, i) => this.byte(i)));
  }

  byte(offset) {
    return this.view.getUint8(this.at + offset);
  }

  skip(size) {
    this.at += size;
  }
}
