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
    return (await this.request('GET', 'v1/limits')).json();
  }

  /** Bytes of the demo: 'clip.mp4' or 'mask.png'. */
  async demo(name) {
    return (await this.request('GET', `v1/demo/${name}`)).blob();
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
    return (await this.request('POST', 'v1/sessions', body)).json();
  }

  /** The server's description of a session. */
  async describeSession(id) {
    return (await this.request('GET', `v1/sessions/${id}`)).json();
  }

  /** Gives a session the right mask of a frame, whose number is `index`; ends objects there. */
  async correct(id, frame, mask, index, removed = []) {
    const path = `v1/sessions/${id}/mask`;
    const fields = {frame, mask, frame_index: index, remove: removed.join(',')};
    return (await this.request('POST', path, form(fields))).json();
  }

  /** Goes on after a frame whose mask this or an earlier session of the same masks predicted. */
  async remember(id, frame, mask, index) {
    const path = `v1/sessions/${id}/remember`;
    return (await this.request('POST', path, form({frame, mask, frame_index: index}))).json();
  }

  /** Sends a frame; returns {mask: Blob, confidence: Map of object id to number}. */
  async step(id, frame) {
    return answer(await this.request('POST', `v1/sessions/${id}/frames`, frame));
  }

  /** Sends a frame between two masks; returns what the run says of it, for `merged`. */
  async opinion(id, frame) {
    return (await this.request('POST', `v1/sessions/${id}/opinions`, frame)).blob();
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
    return answer(await this.request('POST', `v1/sessions/${id}/merged`, body));
  }

  /** Mask PNG of shapes, [kind, numbers as text] each, on a frame. */
  async draw(frame, shapes, {model} = {}) {
    const body = form({frame, ...(model ? {model} : {})});
    for (const [kind, text] of shapes) body.append(kind, text);
    return (await this.request('POST', 'v1/draw', body)).blob();
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
    return (await this.request('POST', 'v1/results', body)).blob();
  }

  /** Closes a session, also while the page is being left. Errors do not matter any more. */
  closeSession(id) {
    return this.request('DELETE', `v1/sessions/${id}`, undefined, {keepalive: true})
      .catch(() => {});
  }

  /** Makes a video of a short clip's frames and masks. */
  async overlay(frames, masks, framesPerSecond) {
    const body = new FormData();
    frames.forEach((blob, i) => body.append('frames', blob, `${i}.jpg`));
    masks.forEach((blob, i) => body.append('masks', blob, `${i}.png`));
    body.append('frames_per_second', framesPerSecond);
    return (await this.request('POST', 'v1/overlay', body)).blob();
  }

  /** A WebSocket; browsers cannot give it headers, so the token is its subprotocol. */
  socket(path) {
    const url = new URL(path, this.base);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    const socket = new WebSocket(url, this.token ? [`bearer.${this.token}`] : []);
    socket.binaryType = 'blob';
    return socket;
  }

  async request(method, path, body, options = {}) {
    const headers = this.token ? {Authorization: `Bearer ${this.token}`} : {};
    let response;
    try {
      response = await fetch(new URL(path, this.base), {method, body, headers, ...options});
    } catch (error) {
      throw new ServerError('The server does not answer. Check that it runs, then try again.', 0);
    }
    if (response.ok) return response;
    throw new ServerError(await describe(response), response.status);
  }
}

/** The mask and the confidences of a frame's answer. */
async function answer(response) {
  const numbers = (name) => (response.headers.get(name) ?? '').split(',').filter(Boolean)
    .map(Number);
  const confidence = confidences(numbers('X-Object-Ids'), numbers('X-Confidence'));
  return {mask: await response.blob(), confidence};
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
