/** Files from a dialog, from a drop or from the demo: which of them are a clip, which a mask. */

import {openImages} from './image_frames.js';
import {FrameSourceError, openVideo} from './video_frames.js';

const VIDEO_NAMES = /\.(mp4|m4v|mov|webm|mkv|avi|ogv|mpe?g|3gp)$/i;
const IMAGE_NAMES = /\.(png|jpe?g|webp|bmp|gif|avif)$/i;

/**
 * Opens files as a clip: one video, or images.
 *
 * @param {File[]} files
 * @returns {Promise<VideoFrames | ImageFrames>}
 * @throws {FrameSourceError} neither, or not decodable here.
 */
export function openFiles(files) {
  const those = (kind, names) => files.filter(({type, name}) =>
    type.startsWith(kind) || names.test(name));
  const videos = those('video/', VIDEO_NAMES);
  const images = those('image/', IMAGE_NAMES);
  if (videos.length === 1 && files.length === 1) return openVideo(files[0], files[0].name);
  if (images.length && images.length === files.length) return openImages(images);
  const given = files.length === 1 ? `${files[0].name} is neither.`
    : `${files.length} files were given, ${videos.length} videos and ${images.length} images.`;
  return Promise.reject(new FrameSourceError(`Give one video, or images only. ${given}`));
}

/**
 * Calls the handlers when files are dropped on the page: one PNG while a clip is open is a mask.
 *
 * @param {HTMLElement} zone what shows that a drop would be taken.
 * @param {{hasClip: function(): boolean, clip: function(File[]), mask: function(File)}} handlers
 */
export function acceptDrops(zone, {hasClip, clip, mask}) {
  let depth = 0; // Events of children come between those of the page.
  const hasFiles = (event) => event.dataTransfer?.types.includes('Files');
  const mark = (change) => {
    depth = Math.max(0, depth + change);
    zone.classList.toggle('drop', depth > 0);
  };
  document.addEventListener('dragenter', (event) => { if (hasFiles(event)) mark(1); });
  document.addEventListener('dragleave', (event) => { if (hasFiles(event)) mark(-1); });
  document.addEventListener('dragover', (event) => {
    if (hasFiles(event)) event.preventDefault();
  });
  document.addEventListener('drop', (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    mark(-depth);
    const files = [...event.dataTransfer.files];
    const isMask = files.length === 1 && /\.png$/i.test(files[0].name) && hasClip();
    if (isMask) mask(files[0]);
    else if (files.length) clip(files);
  });
}
