/** What the server says about itself; the token and the model to use. */

const TOKEN_KEY = 'feelvos-token';
const DEFAULTS = {max_pixels: 1 << 23, max_objects: 255, max_body_bytes: 1 << 25, models: [],
  idle_seconds: null, needs_token: false};

export class ServerPanel {
  /** @param {function()} onChange called when limits, model or token changed. */
  constructor(api, onChange) {
    const find = (id) => document.getElementById(id);
    Object.assign(this, {api, onChange, limits: DEFAULTS, facts: find('server-facts'),
      details: find('server'), model: find('model'), token: find('token')});
    this.token.value = api.token = sessionStorage.getItem(TOKEN_KEY) ?? '';
    this.token.addEventListener('change', () => this.setToken());
    this.model.addEventListener('change', () => onChange());
  }

  /** Asks the server for its limits; throws ServerError if it does not answer. */
  async load() {
    const chosen = this.settings();
    this.limits = {...DEFAULTS, ...await this.api.limits()};
    const {models, max_pixels: pixels, max_objects: objects, idle_seconds: idle} = this.limits;
    const choices = models.flatMap(({name, versions, speed}) => versions.map((version) =>
      ({name, version, speed})).sort((a, b) => b.version - a.version));
    this.model.replaceChildren(...choices.map(({name, version, speed}) =>
      new Option(`${name}, version ${version}${speed ? ` (${speed})` : ''}`,
        JSON.stringify({model: name, version}))));
    const kept = choices.find(({name, version}) => name === chosen.model && version === chosen.version)
      ?? choices.find(({name}) => name === chosen.model); // Its newest version.
    if (kept) this.model.selectedIndex = choices.indexOf(kept);
    document.getElementById('model-row').hidden = choices.length < 2;
    const names = choices.map(({name, version}) => `${name} ${version}`).join(', ');
    this.facts.textContent = `Model: ${names || 'none'}. Frames up to ${pixels.toLocaleString()} ` +
      `pixels, up to ${objects} objects.` +
      (idle ? ` A session ends after ${Math.round(idle / 60)} min without a frame.` : '');
    document.getElementById('token-row').hidden = !this.limits.needs_token;
    if (this.limits.needs_token && !this.api.token) this.details.open = true;
    this.onChange();
  }

  /** Model and version for new sessions; nothing where there is no choice. */
  settings() {
    return this.model.options.length > 1 ? JSON.parse(this.model.value) : {};
  }

  get lacksToken() {
    return this.limits.needs_token && !this.api.token;
  }

  askForToken() {
    this.details.open = true;
    document.getElementById('token-row').hidden = false;
    this.token.focus();
  }

  setToken() {
    this.api.token = this.token.value.trim();
    sessionStorage.setItem(TOKEN_KEY, this.api.token);
    this.onChange();
  }
}
