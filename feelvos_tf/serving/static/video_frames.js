/** Frames of a video file, taken from a video element one at a time; none is kept. */

import {readMp4Times} from './mp4_times.js';
import {PageError} from './page_error.js';
import {readWebmTimes} from './webm_times.js';

const COMMON_RATES = [12, 15, 24000 / 1001, 24, 25, 30000 / 1001, 30, 48, 50, 60000 / 1001, 60,
  120];
const ASSUMED_RATE = 25;
const SEEK_SECONDS = 20;
const PICTURE_MS = 120;
const SURE_PICTURE_MS = 1000;
const PLAY_MS = 3000;
const MEASURE_SECONDS = 1.5;

/** A file whose frames cannot be taken; the message says why and what to do. */
export class FrameSourceError extends PageError {}

/**
 * Opens a video file.
 *
 * @param {File | Blob} file the video.
 * @param {string} name what messages call it.
 * @returns {Promise<VideoFrames>}
 * @throws {FrameSourceError} the browser cannot decode it.
 */
export async function openVideo(file, name) {
  const index = await readMp4Times(file) ?? await readWebmTimes(file);
  const video = newVideo();
  const url = URL.createObjectURL(file);
  const first = firstPictureTime(video);
  video.src = url;
  try {
    await once(video, 'loadeddata');
    if (!video.videoWidth) throw new Error('no picture');
  } catch (error) {
    URL.revokeObjectURL(url);
    throw new FrameSourceError(cannotDecode(name, index?.codec), {cause: error});
  }
  const source = new VideoFrames(video, name);
  try {
    if (index) source.setTimes(index.times, await first);
    else await source.setMeasuredRate();
  } catch (error) {
    source.close();
    throw error;
  }
  return source;
}

/** Names of all frames, size and pictures of one video; see `openVideo`. */
class VideoFrames {
  constructor(video, name) {
    Object.assign(this, {video, name, width: video.videoWidth, height: video.videoHeight});
    this.exact = false; // Whether the file itself says when its frames begin.
    this.turn = Promise.resolve();
    this.shown = -1; // The frame in the video element.
  }

  get count() {
    return this.times.length - 1;
  }

  /** Takes the times of frames; `first`: when the first one is in the browser's eyes, or null. */
  setTimes(times, first) {
    const shift = first === null ? 0 : first - times[0];
    this.times = times.map((time) => time + shift);
    this.exact = true;
    this.framesPerSecond = commonRate(this.count / (times.at(-1) - times[0]));
  }

  /** Takes frames at a fixed rate. */
  setRate(framesPerSecond) {
    this.framesPerSecond = framesPerSecond;
    // A duration is that of the container: half a frame more or less is no frame.
    const count = Math.max(1, Math.round(this.video.duration * framesPerSecond));
    this.times = Array.from({length: count + 1}, (_, i) => i / framesPerSecond);
  }

  async setMeasuredRate() {
    if (!Number.isFinite(this.video.duration)) await this.findDuration();
    this.setRate(await measureRate(this.video));
  }

  /** Name of a frame without folder and ending, as the masks are called. */
  stem(index) {
    return String(index).padStart(5, '0');
  }

  /**
   * Whether there is a frame behind this one: a count that is estimated may claim more than there
   * are, as sound can be longer. False where the browser cannot tell.
   */
  async goesOn(index) {
    if (this.exact || index >= this.count - 1) return index < this.count - 1;
    this.lastPicture ??= lastPictureTime(this.video).catch(() => null);
    const last = await this.lastPicture;
    if (last === null) this.lastPicture = null; // The page may have been in the background.
    // A frame is taken in its middle; a picture that begins behind that is another one.
    return last !== null && last > (this.times[index] + this.times[index + 1]) / 2;
  }

  /**
   * Calls `use(drawable)` with the frame while it is in the video element; one call at a time.
   *
   * @returns what `use` returns.
   */
  withFrame(index, use) {
    const result = this.turn.then(async () => {
      if (this.shown === index || await this.seek(index)) return use(this.video);
      return this.playTo(index, use);
    });
    this.turn = result.catch(() => {});
    return result;
  }

  /** Files are sent as the page draws them. */
  original() {
    return null;
  }

  /**
   * Brings a frame into the video element. A browser can take a frame of a variable rate for
   * shorter or longer than it is, so the time of the picture that comes decides whether to seek
   * again.
   *
   * @returns {Promise<boolean>} whether it is there.
   */
  async seek(index) {
    const {video, times} = this;
    this.shown = -1;
    const [start, end] = [times[index], times[index + 1]];
    const afterwards = (times[index + 2] ?? end) - end;
    const places = this.exact ? [(start + end) / 2, end + afterwards / 4,
      end + (3 * afterwards) / 4, start + (end - start) / 8] : [(start + end) / 2];
    for (const place of places) {
      const watch = new PictureWatch(video, start, this.tolerance(index));
      video.currentTime = Math.min(place, video.duration || place);
      await once(video, 'seeked');
      if (await watch.arrived(this.exact)) {
        if (video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) await once(video, 'canplay');
        this.shown = index;
        return true;
      }
    }
    return !this.exact;
  }

  /** How far a time may be off and still mean this frame, in seconds. */
  tolerance(index) {
    const {times} = this;
    const before = index ? times[index] - times[index - 1] : Infinity;
    return Math.min(before, times[index + 1] - times[index]) / 2;
  }

  /** Plays up to a frame that no seek brings and uses it in passing; the nearest one at worst. */
  async playTo(index, use) {
    const {video, times} = this;
    this.shown = -1;
    video.currentTime = times[Math.max(0, index - 2)];
    await once(video, 'seeked');
    const earliest = times[index] - this.tolerance(index);
    return new Promise((resolve, reject) => {
      const end = () => { // What comes later is the picture of another seek.
        clearTimeout(timer);
        video.cancelVideoFrameCallback(handle);
        video.pause();
      };
      const finish = () => {
        end();
        resolve(use(video));
      };
      const look = (_, {mediaTime}) => {
        if (mediaTime >= earliest) finish();
        else handle = video.requestVideoFrameCallback(look);
      };
      const timer = setTimeout(finish, PLAY_MS);
      let handle = video.requestVideoFrameCallback(look);
      video.play().catch((error) => {
        end();
        reject(new FrameSourceError(cannotDecode(this.name), {cause: error}));
      });
    });
  }

  /** Files from a recorder do not say how long they are; a seek behind the end finds it. */
  async findDuration() {
    this.video.currentTime = Number.MAX_SAFE_INTEGER;
    await once(this.video, 'durationchange');
    if (!Number.isFinite(this.video.duration)) {
      throw new FrameSourceError(`${this.name} does not say how long it is. Write it again with ` +
        'ffmpeg: ffmpeg -i VIDEO -c copy out.mp4');
    }
  }

  close() {
    URL.revokeObjectURL(this.video.src);
    empty(this.video);
  }
}

/** Waits for the picture of a time: 'seeked' can come before it, and it can be another one. */
class PictureWatch {
  constructor(video, time, tolerance) {
    this.video = video;
    this.seen = new Promise((resolve) => {
      const look = (_, {mediaTime}) => {
        clearTimeout(this.patience);
        if (Math.abs(mediaTime - time) <= tolerance) {
          resolve(true);
          return;
        }
        this.handle = video.requestVideoFrameCallback(look);
        this.patience = setTimeout(resolve, PICTURE_MS, false); // Another picture; maybe more come.
      };
      this.handle = video.requestVideoFrameCallback?.(look);
    });
  }

  /** Whether it came. A page in the background and some browsers cannot tell: taken for yes. */
  async arrived(isNew) {
    const canTell = this.handle && !document.hidden;
    const limit = new Promise((done) => {
      setTimeout(done, isNew && canTell ? SURE_PICTURE_MS : PICTURE_MS, true);
    });
    const result = await Promise.race([this.seen, limit]);
    clearTimeout(this.patience);
    if (this.handle) this.video.cancelVideoFrameCallback(this.handle);
    return result;
  }
}

/** Frames per second of a video, from the times of frames while it plays for a moment. */
async function measureRate(video) {
  if (!video.requestVideoFrameCallback) return ASSUMED_RATE;
  const marks = [];
  let going = true;
  const mark = (_, {mediaTime, presentedFrames}) => {
    marks.push([mediaTime, presentedFrames]);
    if (going) video.requestVideoFrameCallback(mark);
  };
  video.requestVideoFrameCallback(mark);
  try {
    video.currentTime = 0;
    await video.play();
    await new Promise((resolve) => {
      setTimeout(resolve, MEASURE_SECONDS * 1000);
      video.addEventListener('ended', resolve, {once: true});
    });
  } catch {
    return ASSUMED_RATE; // Playing can be forbidden; the rate can be typed in.
  } finally {
    going = false;
    video.pause();
  }
  const [first, last] = [marks[0], marks.at(-1)];
  if (marks.length < 3 || last[0] <= first[0]) return ASSUMED_RATE;
  const rate = (last[1] - first[1]) / (last[0] - first[0]);
  return commonRate(rate);
}

/** A rate without the rounding of a file's time stamps. */
function commonRate(rate) {
  const byDistance = (a, b) => Math.abs(a - rate) - Math.abs(b - rate);
  const nearest = [...COMMON_RATES].sort(byDistance)[0];
  return Math.abs(rate / nearest - 1) < 0.001 ? nearest : Math.round(100 * rate) / 100;
}

/** Time of the first picture of a video that is about to load; null where that is not told. */
function firstPictureTime(video) {
  return new Promise((resolve) => {
    if (!video.requestVideoFrameCallback || document.hidden) {
      resolve(null);
      return;
    }
    video.requestVideoFrameCallback((_, {mediaTime}) => resolve(mediaTime));
    video.addEventListener('loadeddata', () => setTimeout(resolve, SURE_PICTURE_MS, null),
      {once: true});
  });
}

/**
 * Time at which the last picture of a video begins in the browser's eyes; null where it does not
 * tell. An element of its own looks: the end may be damaged, and the clip be shown or closed.
 */
async function lastPictureTime({src, duration}) {
  const video = newVideo();
  if (!video.requestVideoFrameCallback || document.hidden) return null;
  let last = null;
  const look = (_, {mediaTime}) => {
    last = Math.max(last, mediaTime);
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
  try {
    video.src = src;
    await once(video, 'loadeddata');
    video.currentTime = duration;
    await once(video, 'seeked');
    await new Promise((done) => { setTimeout(done, SURE_PICTURE_MS); });
    return last;
  } finally {
    empty(video);
  }
}

function newVideo() {
  const video = document.createElement('video');
  return Object.assign(video, {muted: true, playsInline: true, preload: 'auto'});
}

/** Takes the file out of a video element. */
function empty(video) {
  video.removeAttribute('src');
  video.load();
}

function once(video, event) {
  return new Promise((resolve, reject) => {
    const finish = (action, value) => {
      clearTimeout(timer);
      video.removeEventListener(event, good);
      video.removeEventListener('error', bad);
      action(value);
    };
    const good = () => finish(resolve);
    const bad = () => finish(reject, new FrameSourceError(
      'The video cannot be decoded at this place: the file is damaged, or this browser lacks its ' +
      'codec. Convert it with ffmpeg, or give its frames as images.', {cause: video.error}));
    const timer = setTimeout(() => finish(reject, new FrameSourceError(
      'The video does not answer. Convert it to MP4 (H.264), or give its frames as images.')),
    SEEK_SECONDS * 1000);
    video.addEventListener(event, good);
    video.addEventListener('error', bad);
  });
}

function cannotDecode(name, codec) {
  return `This browser cannot decode ${name}${codec ? ` (codec ${codec})` : ''}. Convert it: ` +
    'ffmpeg -i VIDEO -c:v libx264 -pix_fmt yuv420p clip.mp4. ' +
    'Or give its frames as JPEG or PNG files.';
}
