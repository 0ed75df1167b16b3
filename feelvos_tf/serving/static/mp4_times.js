/**
 * When each frame of an MP4 or MOV file is shown: a video element can seek, but does not say how
 * many frames there are or when they begin. Reads only the boxes that say so (ISO/IEC 14496-12).
 */

const MAX_INDEX_BYTES = 64 << 20;
const MAX_FRAGMENTS = 20000;
const MAX_FRAMES = 1 << 22; // 46 hours at 25 frames a second.
const CONTAINERS = ['moov', 'trak', 'mdia', 'minf', 'stbl', 'edts'];
// Flags of a fragment's boxes: which optional fields there are.
const TFHD = {dataOffset: 1, description: 2, duration: 8};
const TRUN = {dataOffset: 1, firstFlags: 4, duration: 0x100, size: 0x200, flags: 0x400,
  offset: 0x800};

/**
 * @param {Blob} file any file.
 * @returns {Promise<{times: number[], codec: string} | null>} seconds at which each frame begins,
 *   in order, with the end of the last one appended; null for a file that does not say it this way.
 */
export async function readMp4Times(file) {
  const {index, fragments} = await findIndex(file);
  if (!index) return null;
  try {
    const boxes = boxesIn(index, 0, index.byteLength);
    const track = boxes.filter(({type}) => type === 'trak').map((trak) => readTrack(index, trak))
      .find(({handler}) => handler === 'vide');
    if (!track) return null;
    const defaults = boxes.filter(({type}) => type === 'mvex')
      .flatMap(({start, end}) => boxesIn(index, start, end)).filter(({type}) => type === 'trex')
      .find(({start}) => index.getUint32(start + 4) === track.id);
    track.duration = defaults ? index.getUint32(defaults.start + 12) : 0;
    for (const fragment of fragments) readFragment(fragment, track);
    const movie = boxes.find(({type}) => type === 'mvhd')?.start;
    const movieScale = movie === undefined ? 0 : index.getUint32(movie + idOffset(index, movie));
    const times = presentationTimes(track, fragments.length ? 0 : movieScale);
    return times && {times, codec: track.codec};
  } catch (error) {
    if (error instanceof RangeError) return null; // A damaged index points outside of itself.
    throw error;
  }
}

/** The contents of the `moov` box (null without) and of the `moof` boxes as DataViews. */
async function findIndex(file) {
  const found = {index: null, fragments: []};
  for (let at = 0; at + 8 <= file.size && found.fragments.length < MAX_FRAGMENTS;) {
    const view = new DataView(await file.slice(at, at + 16).arrayBuffer());
    const {type, start, size} = boxHeader(view, 0, file.size - at);
    if (!/^[a-zA-Z0-9 ]{4}$/.test(type) || size < 8) break;
    if (['moov', 'moof'].includes(type) && size <= MAX_INDEX_BYTES) {
      const contents = new DataView(await file.slice(at + start, at + size).arrayBuffer());
      if (type === 'moov') found.index = contents;
      else found.fragments.push(contents);
    }
    at += size;
  }
  return found;
}

function boxHeader(view, at, left) {
  let size = view.getUint32(at);
  const type = String.fromCharCode(...[4, 5, 6, 7].map((i) => view.getUint8(at + i)));
  let start = 8;
  if (size === 1 && view.byteLength >= at + 16) {
    size = Number(view.getBigUint64(at + 8));
    start = 16;
  } else if (size === 0) {
    size = left;
  }
  return {type, start, size};
}

/** The boxes between two offsets: [{type, start, end}] of their contents. */
function boxesIn(view, from, to) {
  const boxes = [];
  for (let at = from; at + 8 <= to;) {
    const {type, start, size} = boxHeader(view, at, to - at);
    if (size < start) throw new RangeError('a box smaller than its header');
    boxes.push({type, start: at + start, end: Math.min(to, at + size)});
    at += size;
  }
  return boxes;
}

function readTrack(view, trak) {
  const track = {id: 0, handler: '', timescale: 1, edits: [], codec: '', durations: [], offsets: []};
  const visit = (box) => {
    const at = box.start;
    if (CONTAINERS.includes(box.type)) boxesIn(view, at, box.end).forEach(visit);
    else if (box.type === 'tkhd') track.id = view.getUint32(at + idOffset(view, at));
    else if (box.type === 'hdlr') track.handler ||= text(view, at + 8); // The first is the media's.
    else if (box.type === 'mdhd') track.timescale = view.getUint32(at + idOffset(view, at));
    else if (box.type === 'stsd') track.codec = text(view, at + 12);
    else if (box.type === 'stts') track.durations = runs(view, at);
    else if (box.type === 'ctts') track.offsets = runs(view, at);
    else if (box.type === 'elst') track.edits = readEdits(view, at);
  };
  visit(trak);
  if (!track.timescale) throw new RangeError('a track without a time scale');
  track.end = 0;
  track.starts = [];
  addFrames(track, track.durations, track.offsets);
  return track;
}

/** Appends frames: how long each lasts in decoding order, and how much later it is shown. */
function addFrames(track, durations, offsets) {
  durations.forEach((duration, i) => {
    track.starts.push(track.end + (offsets[i] ?? 0));
    track.end += duration;
  });
}

/** Appends the frames that a `moof` box lists for a track. */
function readFragment(view, track) {
  for (const traf of boxesIn(view, 0, view.byteLength).filter(({type}) => type === 'traf')) {
    const boxes = boxesIn(view, traf.start, traf.end);
    const header = boxes.find(({type}) => type === 'tfhd')?.start;
    if (header === undefined) throw new RangeError('a fragment of no track');
    if (view.getUint32(header + 4) !== track.id) continue;
    const flags = view.getUint32(header) & 0xffffff;
    const place = header + 8 + (flags & TFHD.dataOffset ? 8 : 0) +
      (flags & TFHD.description ? 4 : 0);
    const duration = flags & TFHD.duration ? view.getUint32(place) : track.duration;
    const time = boxes.find(({type}) => type === 'tfdt')?.start;
    if (time !== undefined) {
      const isLong = view.getUint8(time) === 1;
      track.end = isLong ? Number(view.getBigUint64(time + 4)) : view.getUint32(time + 4);
    }
    for (const {type, start} of boxes) if (type === 'trun') readRun(view, start, duration, track);
  }
}

function readRun(view, start, duration, track) {
  const flags = view.getUint32(start) & 0xffffff;
  const count = view.getUint32(start + 4);
  // Frames without fields of their own take no bytes, so the end of the box does not bound them.
  if (track.starts.length + count > MAX_FRAMES) throw new RangeError('too many frames');
  let place = start + 8 + (flags & TRUN.dataOffset ? 4 : 0) + (flags & TRUN.firstFlags ? 4 : 0);
  const take = (flag, otherwise) => {
    if (!(flags & flag)) return otherwise;
    place += 4;
    return view.getInt32(place - 4);
  };
  for (let i = 0; i < count; i++) {
    const own = take(TRUN.duration, duration);
    take(TRUN.size);
    take(TRUN.flags);
    addFrames(track, [own], [take(TRUN.offset, 0)]);
  }
}

function text(view, at) {
  return String.fromCharCode(...[0, 1, 2, 3].map((i) => view.getUint8(at + i)));
}

/** Where the field after two dates is, which are longer in a box of version 1. */
function idOffset(view, at) {
  return view.getUint8(at) ? 20 : 12;
}

/** A run-length coded table of (count, signed value), written out. */
function runs(view, at) {
  const values = [];
  const entries = view.getUint32(at + 4);
  for (let i = 0, place = at + 8; i < entries; i++, place += 8) {
    const count = view.getUint32(place);
    if (values.length + count > MAX_FRAMES) throw new RangeError('too many frames');
    const value = view.getInt32(place + 4);
    for (let j = 0; j < count; j++) values.push(value);
  }
  return values;
}

/** Where the edits that show something begin, and how long they last: [{mediaTime, duration}]. */
function readEdits(view, at) {
  const long = view.getUint8(at) === 1;
  const entries = view.getUint32(at + 4);
  const edits = [];
  for (let i = 0; i < entries; i++) {
    const place = at + 8 + i * (long ? 20 : 12);
    const mediaTime = long ? Number(view.getBigInt64(place + 8)) : view.getInt32(place + 4);
    const duration = long ? Number(view.getBigUint64(place)) : view.getUint32(place);
    if (mediaTime >= 0) edits.push({mediaTime, duration});
  }
  return edits;
}

/**
 * Times of the frames that the edits show, with the end appended; null without any. Edits last
 * `movieScale` units a second; 0: to the end of the media, as those of files in fragments.
 */
function presentationTimes({starts, edits, timescale, durations, duration}, movieScale) {
  let shown = [];
  let before = 0; // What the edits so far have shown, in units of the media.
  for (const edit of edits.length ? edits : [{mediaTime: 0, duration: 0}]) {
    const length = movieScale ? Math.round((edit.duration * timescale) / movieScale) : 0;
    const {mediaTime} = edit;
    const end = length ? mediaTime + length : Infinity;
    const shift = before - mediaTime;
    shown = shown.concat(starts.filter((start) => mediaTime <= start && start < end)
      .map((start) => start + shift));
    before += length;
    if (!length) break;
  }
  if (!shown.length) return null;
  shown.sort((a, b) => a - b);
  const last = shown.at(-1);
  shown.push(last + (durations.at(-1) || duration || last - (shown.at(-2) ?? 0) || timescale / 25));
  return shown.map((time) => time / timescale);
}
