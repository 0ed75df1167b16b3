/** Frames that are image files; each is decoded when it is needed and not kept. */

import {FrameSourceError} from './video_frames.js';

const SENT_AS_THEY_ARE = ['image/png', 'image/jpeg'];
const DEFAULT_RATE = 25;
const HEADER_BYTES = 4096;

/**
 * Opens image files as the frames of a clip, in the order of their names.
 *
 * @param {File[]} files images of one size.
 * @returns {Promise<ImageFrames>}
 * @throws {FrameSourceError} the first one cannot be decoded, or two differ in the suffix only.
 */
export async function openImages(files) {
  const order = new Intl.Collator(undefined, {numeric: true});
  const source = new ImageFrames([...files].sort((a, b) => order.compare(a.name, b.name)));
  const names = new Map();
  for (const [index, {name}] of source.files.entries()) {
    const stem = source.stem(index);
    if (names.has(stem)) {
      throw new FrameSourceError(`Both ${names.get(stem)} and ${name} were given: their masks ` +
        'would have one name. Leave one of them out.');
    }
    names.set(stem, name);
  }
  await source.withFrame(0, ({width, height}) => Object.assign(source, {width, height}));
  return source;
}

/** Names of all frames, size and pictures; see `openImages`. */
class ImageFrames {
  constructor(files) {
    this.files = files;
    this.framesPerSecond = DEFAULT_RATE;
    this.exact = true; // Every file is a frame.
    const more = files.length > 1 ? ` to ${files.at(-1).name}` : '';
    this.name = `${files[0].name}${more}`;
  }

  get count() {
    return this.files.length;
  }

  setRate(framesPerSecond) {
    this.framesPerSecond = framesPerSecond;
  }

  stem(index) {
    return this.files[index].name.replace(/\.[^.]*$/, '');
  }

  /** Whether there is a frame behind this one. */
  async goesOn(index) {
    return index < this.count - 1;
  }

  /** Calls `use(drawable)` with the decoded frame; returns what it returns. */
  async withFrame(index, use) {
    const file = this.files[index];
    let bitmap;
    try {
      bitmap = await createImageBitmap(file);
    } catch (error) {
      throw new FrameSourceError(`${file.name} is not an image that this browser can decode. ` +
        'Give frames as JPEG or PNG files.', {cause: error});
    }
    try {
      if (this.width && (bitmap.width !== this.width || bitmap.height !== this.height)) {
        throw new FrameSourceError(`${file.name} has ${bitmap.width} x ${bitmap.height} pixels, ` +
          `the first frame ${this.width} x ${this.height}. Give frames of one size.`);
      }
      return await use(bitmap);
    } finally {
      bitmap.close();
    }
  }

  /** The file itself if a server decodes it as the browser does, else null. */
  async original(index) {
    const file = this.files[index];
    if (!SENT_AS_THEY_ARE.includes(file.type)) return null;
    const start = await file.slice(0, HEADER_BYTES).arrayBuffer();
    // Orientation and colour profiles change what the browser shows.
    const header = new TextDecoder('latin1').decode(start);
    return /Exif\0\0|ICC_PROFILE|iCCP|eXIf/.test(header) ? null : file;
  }

  close() {}
}
