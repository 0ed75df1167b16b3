/** The overlay as an mp4: the server draws and encodes it from frames and masks sent one by one. */

import {ServerError} from './api.js';

const PAIRS_UNDER_WAY = 4;

/**
 * @param {Api} api
 * @param {Clip} clip with masks.
 * @param {number[]} indices frames to show.
 * @param {number} maxBytes what one request may hold, for servers without WebSockets.
 * @param {function(number)} onProgress called with the number of frames done.
 * @param {AbortSignal} signal ends it, also while the server does not answer.
 * @returns {Promise<Blob>} the video.
 */
export async function makeOverlayVideo(api, clip, indices, maxBytes, onProgress, signal) {
  signal.throwIfAborted(); // No event will tell it any more.
  let socket;
  try {
    socket = api.socket('v1/overlay/stream');
    await new Promise((resolve, reject) => {
      socket.addEventListener('open', resolve);
      socket.addEventListener('close', reject);
      signal.addEventListener('abort', reject);
    });
  } catch {
    if (signal.aborted) socket?.close();
    signal.throwIfAborted();
    return postOverlay(api, clip, indices, maxBytes, onProgress, signal);
  }
  return streamOverlay(socket, clip, indices, onProgress, signal);
}

async function streamOverlay(socket, clip, indices, onProgress, signal) {
  const parts = [];
  let answered = 0;
  let failure = null;
  let finished = false;
  let wake = () => {};
  socket.addEventListener('message', ({data}) => {
    if (data instanceof Blob) {
      parts.push(data);
    } else {
      const message = JSON.parse(data);
      if (message.error) failure ??= new ServerError(`The server says: ${message.error}`, 0);
      if (message.frames) onProgress(answered = message.frames);
      finished ||= Boolean(message.done);
    }
    wake();
  });
  socket.addEventListener('close', () => {
    if (!finished) failure ??= new ServerError('The connection to the server broke.', 0);
    wake();
  });
  signal.addEventListener('abort', () => wake());
  const until = async (condition) => {
    while (!condition()) {
      if (failure) throw failure;
      signal.throwIfAborted();
      await new Promise((resolve) => { wake = resolve; });
    }
  };
  try {
    socket.send(JSON.stringify({frames_per_second: clip.source.framesPerSecond}));
    for (const [sent, index] of indices.entries()) {
      await until(() => sent - answered < PAIRS_UNDER_WAY);
      signal.throwIfAborted();
      const {blob} = await clip.encodeFrame(index);
      if (failure) throw failure;
      socket.send(blob);
      socket.send(clip.masks.get(index));
    }
    await until(() => answered === indices.length);
    socket.send(JSON.stringify({end: true}));
    await until(() => finished);
  } finally {
    socket.close();
  }
  return new Blob(parts, {type: 'video/mp4'});
}

async function postOverlay(api, clip, indices, maxBytes, onProgress, signal) {
  const frames = [];
  const masks = [];
  let bytes = 0;
  for (const index of indices) {
    signal.throwIfAborted();
    const {blob} = await clip.encodeFrame(index);
    frames.push(blob);
    masks.push(clip.masks.get(index));
    bytes += blob.size + masks.at(-1).size + 400; // The form's text between them.
    if (bytes > maxBytes) {
      throw new ServerError('The clip is longer than the server takes in one request, and it has ' +
        'no WebSocket here. Download the masks, or make the overlay with feelvos_tf.segment.', 413);
    }
    onProgress(frames.length);
  }
  return api.overlay(frames, masks, clip.source.framesPerSecond, signal);
}
