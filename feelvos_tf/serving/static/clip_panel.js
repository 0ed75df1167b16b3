/** What clip is open, the size in which its frames are sent, and its rate. */

const LONG_SIDES = [1280, 854, 640, 480];

export class ClipPanel {
  /** @param {{resized: function(number), rated: function(number)}} actions */
  constructor(workspace, actions) {
    const find = (id) => document.getElementById(id);
    Object.assign(this, {workspace, shown: null, name: find('clip-name'), facts: find('clip-facts'),
      settings: find('clip-settings'), size: find('long-side'), rate: find('rate')});
    this.size.addEventListener('change', () => actions.resized(Number(this.size.value)));
    this.rate.addEventListener('change', () => {
      const rate = Number(this.rate.value);
      if (rate >= 0.1 && rate <= 240) actions.rated(rate);
      else this.rate.value = this.rateText();
    });
  }

  update() {
    const {clip, running} = this.workspace;
    if (!clip) return;
    if (this.shown !== clip) this.open(clip);
    const {source} = clip;
    this.facts.textContent = `${source.width} x ${source.height} pixels, ${clip.count} ` +
      `${clip.count === 1 ? 'frame' : 'frames'}` +
      (source.exact ? '.' : '. The file does not say when frames begin: check frames/s.');
    this.size.disabled = running || clip.hasResults || this.size.options.length < 2;
    // The times of a video's frames are those of its file, or follow from the rate.
    const isVideo = Boolean(source.video);
    this.rate.disabled = running || (isVideo && (source.exact || clip.masks.size > 0));
  }

  open(clip) {
    const {source} = clip;
    this.shown = clip;
    this.name.textContent = source.name;
    this.facts.hidden = this.settings.hidden = false;
    const longest = Math.max(source.width, source.height);
    const sides = [Infinity, ...LONG_SIDES.filter((side) => side < longest)];
    const labels = new Map(sides.map((side) => [this.sizeText(clip, side), side]));
    this.size.replaceChildren(...[...labels].map(([text, side]) => new Option(text, side)));
    clip.setLongSide(this.workspace.longSide, this.workspace.maxPixels);
    this.size.value = labels.get(`${clip.width} x ${clip.height}`);
    this.rate.value = this.rateText();
  }

  sizeText(clip, side) {
    clip.setLongSide(side, this.workspace.maxPixels);
    return `${clip.width} x ${clip.height}`;
  }

  rateText() {
    return String(Math.round(1000 * this.shown.source.framesPerSecond) / 1000);
  }
}
