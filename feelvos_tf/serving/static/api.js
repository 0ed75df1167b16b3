/** The server's sessions API over HTTP. Every failure is a ServerError that says what happened. */

import {PageError} from './page_error.js';

/** A request that failed. `status` is the HTTP code, 0 if the server did not answer. */
export class ServerError extends PageError {
  constructor(message, status) {
    super(message);
    this.status = status;
  }

  /** Whether the session that was asked for does not exist (any more). */
  get sessionGone() {
    return this.status === 404 || this.status === 410;
  }
}

/** Requests to the server the page came from; paths are relative, so a proxy's prefix is kept. */
export class Api {
  constructor(base = document.baseURI) {
    this.base = base;
    this.token = '';
  }

  async limits() {
    return this.read('json', 'GET', 'v1/limits');
  }

  /** Bytes of the demo: 'clip.mp4' or 'mask.png'. */
  async demo(name) {
    return this.read('blob', 'GET', `v1/demo/${name}`);
  }

  /**
   * Opens a session with a frame and its mask, and with further [frame, mask] to compare with;
   * returns the server's description of it.
   */
  async createSession({frame, mask, model, version}, others = []) {
    const fields = {frame, mask, ...(model ? {model} : {}), ...(version ? {version} : {})};
    const body = form(fields);
    for (const [otherFrame, otherMask] of others) {
      body.append('other_frame', otherFrame, 'frame');
      body.append('other_mask', otherMask, 'mask.png');
    }
    return this.read('json', 'POST', 'v1/sessions', body);
  }

  /** The server's description of a session. */
  async describeSession(id) {
    return this.read('json', 'GET', `v1/sessions/${id}`);
  }

  /**
   * Gives a session the right mask of a frame, whose number is `index`; ends objects there. It may be
   * the one that the session just predicted, with new objects.
   */
  async correct(id, frame, mask, index, removed = [], onlyAdds = false) {
    const path = `v1/sessions/${id}/mask`;
    const fields = {frame, mask, frame_index: index, remove: removed.join(','),
      only_adds: Number(onlyAdds)};
    return this.read('json', 'POST', path, form(fields));
  }

  /** Goes on after a frame whose mask this or an earlier session of the same masks predicted. */
  async remember(id, frame, mask, index) {
    const path = `v1/sessions/${id}/remember`;
    return this.read('json', 'POST', path, form({frame, mask, frame_index: index}));
  }

  /** Sends a frame; returns {mask: Blob, confidence: Map of object id to number}. */
  async step(id, frame) {
    return this.answer('POST', `v1/sessions/${id}/frames`, frame);
  }

  /** Sends a frame between two masks; returns what the run says of it, for `merged`. */
  async opinion(id, frame) {
    return this.read('blob', 'POST', `v1/sessions/${id}/opinions`, frame);
  }

  /**
   * Merges what two runs say of a frame; returns as `step`.
   *
   * @param {string} id of a session of the clip.
   * @param {{opinion: Blob, trust: Map}} before of the run from the mask before.
   * @param {{opinion: Blob, trust: Map}} behind of the run from the mask behind.
   * @param {number} share place of the frame between the masks.
   */
  async merged(id, before, behind, share) {
    const body = form({share});
    for (const [side, {opinion, trust}] of Object.entries({before, behind})) {
      body.append(side, opinion, side);
      body.append(`${side}_trust`, [...trust].map((pair) => pair.join(':')).join(','));
    }
    return this.answer('POST', `v1/sessions/${id}/merged`, body);
  }

  /** Mask PNG of shapes, [kind, numbers as text] each, on a frame. */
  async draw(frame, shapes, {model} = {}) {
    const body = form({frame, ...(model ? {model} : {})});
    for (const [kind, text] of shapes) body.append(kind, text);
    return this.read('blob', 'POST', 'v1/draw', body);
  }

  /**
   * A zip of masks, [name, PNG] each, in a form that other tools read; `places` of them: '3-9,12';
   * `suffixes` of their frames: ['.jpg', '.png:5,7-8']; `goesOn`: there are frames behind them.
   */
  async results(masks, format, labels, {name, suffixes, places, goesOn}) {
    const body = form({format, name, frame_indices: places, goes_on: goesOn ? 1 : 0});
    for (const suffix of suffixes) body.append('suffix', suffix);
    for (const [file, blob] of masks) body.append('masks', blob, file);
    for (const label of labels) body.append('label', label);
    return this.read('blob', 'POST', 'v1/results', body);
  }

  /** Closes a session, also while the page is being left. Errors do not matter any more. */
  closeSession(id) {
    return this.request('DELETE', `v1/sessions/${id}`, undefined, {keepalive: true})
      .catch(() => {});
  }

  /** Makes a video of a short clip's frames and masks; an AbortSignal ends it. */
  async overlay(frames, masks, framesPerSecond, signal) {
    const body = new FormData();
    frames.forEach((blob, i) => body.append('frames', blob, `${i}.jpg`));
    masks.forEach((blob, i) => body.append('masks', blob, `${i}.png`));
    body.append('frames_per_second', framesPerSecond);
    return this.read('blob', 'POST', 'v1/overlay', body, {signal});
  }

  /**
   * A WebSocket; browsers cannot give it headers, so the token is its subprotocol, where few
   * characters are allowed.
   */
  socket(path) {
    const url = new URL(path, this.base);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    const token = encodeURIComponent(this.token).replaceAll('(', '%28').replaceAll(')', '%29');
    const socket = new WebSocket(url, token ? [`bearer.${token}`] : []);
    socket.binaryType = 'blob';
    return socket;
  }

  /** The body of an answer as `kind`: 'json' or 'blob'. */
  async read(kind, ...request) {
    return contents(await this.request(...request), kind);
  }

  /** The mask and the confidences of a frame's answer. */
  async answer(...request) {
    const response = await this.request(...request);
    const numbers = (name) => (response.headers.get(name) ?? '').split(',').filter(Boolean)
      .map(Number);
    const confidence = confidences(numbers('X-Object-Ids'), numbers('X-Confidence'));
    return {mask: await contents(response, 'blob'), confidence};
  }

  async request(method, path, body, options = {}) {
    const headers = this.token ? {Authorization: `Bearer ${this.token}`} : {};
    let response;
    try {
      response = await fetch(new URL(path, this.base), {method, body, headers, ...options});
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new ServerError('The server does not answer. Check that it runs, then try again.', 0);
    }
    if (response.ok) return response;
    throw new ServerError(await describe(response), response.status);
  }
}

/** The body of a response; the connection can break on the way. */
async function contents(response, kind) {
  try {
    return await response[kind]();
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ServerError('The connection broke before the whole answer of the server was here. ' +
      'Try again.', 0);
  }
}

/** Map of object id to confidence, without the background. */
export function confidences(ids, values) {
  return new Map(ids.map((id, i) => [id, values[i]]).filter(([id]) => id));
}

function form(fields) {
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value instanceof Blob) body.append(name, value, `${name}.${value.type.split('/')[1]}`);
    else body.append(name, value);
  }
  return body;
}

async function describe(response) {
  if (response.status === 401) {
    return 'The server wants a token. Type it under Server, then try again.';
  }
  const text = await response.text().catch(() => '');
  try {
    const {error} = JSON.parse(text);
    if (error) return `The server says: ${error}`;
  } catch {
    // A proxy's page; its code has to do.
  }
  return `The server answered with code ${response.status} ${response.statusText}`.trim() + '.';
}
