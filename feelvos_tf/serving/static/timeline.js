/** Moves between frames; a bar shows which have masks, which are doubtful, which the user made. */

import {DOUBTFUL, leastSure} from './repair_list.js';

export class Timeline {
  /**
   * @param {function(number)} onMove called with the frame (from 0) that the user wants to see.
   */
  constructor(onMove) {
    const find = (id) => document.getElementById(id);
    Object.assign(this, {onMove, root: find('timeline'), slider: find('frame'),
      marks: find('marks'), value: find('frame-value'), playButton: find('play'), clip: null,
      index: 0, playing: false, turn: null});
    this.slider.addEventListener('input', () => this.user(Number(this.slider.value) - 1));
    find('previous').addEventListener('click', () => this.user(this.index - 1));
    find('next').addEventListener('click', () => this.user(this.index + 1));
    this.playButton.addEventListener('click', () => this.toggle());
    new ResizeObserver(() => this.draw()).observe(this.marks);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.draw());
  }

  open(clip) {
    this.pause();
    this.clip = clip;
    this.slider.max = clip.count;
    this.root.hidden = false;
    this.set(0);
  }

  /** Shows that a frame is the one on the page. */
  set(index) {
    this.index = index;
    this.slider.value = index + 1;
    const text = `${index + 1} of ${this.clip.count}`;
    this.value.textContent = text;
    this.slider.setAttribute('aria-valuetext', `Frame ${text}`);
    this.draw();
  }

  user(index) {
    this.pause();
    if (this.clip) this.onMove(Math.min(this.clip.count - 1, Math.max(0, index)));
  }

  /** Goes through the frames that have masks, or all if none has, no faster than the clip. */
  async play() {
    const {clip} = this;
    const shown = clip.hasResults ? [...clip.masks.keys()] : [0, clip.count - 1];
    const end = Math.max(...shown);
    this.setPlaying(true);
    const turn = this.turn = {}; // Another one when it is paused and played again.
    let index = this.index >= end ? Math.min(...shown) : this.index;
    for (; turn === this.turn && index <= end && clip === this.clip; index++) {
      const milliseconds = 1000 / clip.source.framesPerSecond;
      const pause = new Promise((done) => { setTimeout(done, milliseconds); });
      await this.onMove(index);
      await pause;
    }
    if (turn === this.turn) this.setPlaying(false);
  }

  toggle() {
    if (this.playing) this.pause();
    else if (this.clip) this.play();
  }

  pause() {
    this.turn = null;
    this.setPlaying(false);
  }

  setPlaying(playing) {
    this.playing = playing;
    const label = playing ? 'Pause' : 'Play';
    this.playButton.setAttribute('aria-label', label);
    this.playButton.title = label;
    this.playButton.querySelector('use').setAttribute('href', playing ? '#i-pause' : '#i-play');
  }

  draw() {
    const {clip, marks} = this;
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(marks.clientWidth * ratio);
    const height = Math.round(marks.clientHeight * ratio);
    if (!clip || !width || !height) return;
    Object.assign(marks, {width, height});
    const style = getComputedStyle(marks);
    const colour = (name) => style.getPropertyValue(name);
    const context = marks.getContext('2d');
    const step = width / Math.max(1, clip.count - 1); // The thumb stands in the middle of a frame.
    const bar = (first, last, name, least = 0) => {
      context.fillStyle = colour(name);
      const half = Math.max(step, least) / 2;
      context.fillRect(first * step - half, 0, (last - first) * step + 2 * half, height);
    };
    bar(0, clip.count - 1, '--line');
    for (const [first, last] of runsOf(clip.masks.keys())) bar(first, last, '--accent');
    for (const [index, values] of clip.confidence) {
      const least = leastSure(values);
      context.globalAlpha = least && least.confidence < DOUBTFUL ? 1 - least.confidence : 0;
      bar(index, index, '--bad');
    }
    context.globalAlpha = 1;
    for (const {index} of clip.toCheck) bar(index, index, '--bad', 5 * ratio);
    for (const index of clip.corrections.keys()) bar(index, index, '--mark', 5 * ratio);
  }
}

/** [first, last] of the stretches of numbers that follow each other. */
export function runsOf(indices) {
  const runs = [];
  for (const index of [...indices].sort((a, b) => a - b)) {
    if (runs.length && runs.at(-1)[1] === index - 1) runs.at(-1)[1] = index;
    else runs.push([index, index]);
  }
  return runs;
}
