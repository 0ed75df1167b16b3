/** How fast a run is and how long it takes: from the times of the last masks. */

const WINDOW = 12;

/** Frames per second over the last frames, and the seconds that are left. */
export class Pace {
  constructor(now = performance.now()) {
    this.start = now;
    this.marks = [now];
    this.frames = 0;
  }

  /** A frame is done. */
  mark(now = performance.now()) {
    this.frames++;
    this.marks.push(now);
    if (this.marks.length > WINDOW) this.marks.shift();
  }

  get framesPerSecond() {
    const seconds = (this.marks.at(-1) - this.marks[0]) / 1000;
    return seconds > 0 ? (this.marks.length - 1) / seconds : 0;
  }

  /** Seconds since the start. */
  elapsed(now = performance.now()) {
    return (now - this.start) / 1000;
  }

  /** Text such as '1.2 frames/s, 40 s left'; empty before the first frame. */
  describe(framesLeft) {
    const rate = this.framesPerSecond;
    if (!rate) return '';
    return `${formatNumber(rate)} frames/s, ${formatSeconds(framesLeft / rate)} left`;
  }
}

export function formatNumber(value) {
  return value >= 10 ? String(Math.round(value)) : value.toFixed(1);
}

export function formatSeconds(seconds) {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
