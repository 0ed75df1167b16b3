/** Frames in, masks out, in order: over a WebSocket, or by one POST a frame where there is none. */

import {ServerError, confidences} from './api.js';

const OPEN_SECONDS = 5;

/**
 * Opens the stream of a session.
 *
 * @param {Api} api
 * @param {string} sessionId
 * @returns {Promise<{send: function(Blob): Promise<{mask: Blob, confidence: Map}>,
 *   close: function(), kind: string}>} `send` may be called again before its answer is there.
 */
export async function openStream(api, sessionId) {
  try {
    const socket = api.socket(`v1/sessions/${sessionId}/stream?confidence=1`);
    await opened(socket);
    return new SocketStream(socket);
  } catch {
    return new PostStream(api, sessionId);
  }
}

class SocketStream {
  kind = 'WebSocket';

  constructor(socket) {
    this.socket = socket;
    this.waiting = [];
    this.confidence = new Map(); // Of the mask to come.
    socket.addEventListener('message', ({data}) => this.receive(data));
    socket.addEventListener('close', ({reason}) => this.fail(new ServerError(
      reason ? `The server says: ${reason}` : 'The connection to the server broke.', 0)));
  }

  send(frame) {
    return new Promise((resolve, reject) => {
      if (this.socket.readyState !== WebSocket.OPEN) {
        reject(new ServerError('The connection to the server broke.', 0));
        return;
      }
      this.waiting.push({resolve, reject});
      this.socket.send(frame);
    });
  }

  receive(data) {
    if (data instanceof Blob) {
      const mask = new Blob([data], {type: 'image/png'});
      this.waiting.shift()?.resolve({mask, confidence: this.confidence});
      return;
    }
    const {error, status = 0, object_ids: ids, confidence} = JSON.parse(data);
    if (confidence) {
      this.confidence = confidences(ids, confidence);
      return;
    }
    this.waiting.shift()?.reject(new ServerError(`The server says: ${error}`, status));
  }

  fail(error) {
    for (const {reject} of this.waiting.splice(0)) reject(error);
  }

  close() {
    this.socket.close();
  }
}

class PostStream {
  kind = 'HTTP';

  constructor(api, sessionId) {
    Object.assign(this, {api, sessionId, last: Promise.resolve()});
  }

  send(frame) {
    // One after the other: two requests under way could arrive in any order.
    this.last = this.last.then(() => this.api.step(this.sessionId, frame));
    return this.last;
  }

  close() {}
}

function opened(socket) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => { reject(new Error('no answer')); socket.close(); },
      OPEN_SECONDS * 1000);
    socket.addEventListener('open', () => { clearTimeout(timer); resolve(); });
    socket.addEventListener('close', () => { clearTimeout(timer); reject(new Error('closed')); });
  });
}
