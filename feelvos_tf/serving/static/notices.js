/** Messages: errors in words with what to do next, and short news for screen readers. */

const find = (id) => document.getElementById(id);

/** Tells a screen reader. */
export function say(text) {
  find('live').textContent = text;
}

/**
 * Shows an error until it is closed.
 *
 * @param {Error | string} error
 * @param {{label: string, run: function()}} action what the user can do about it.
 */
export function showError(error, action = null) {
  find('alert-text').textContent = typeof error === 'string' ? error : error.message;
  const button = find('alert-action');
  button.hidden = !action;
  if (action) {
    button.textContent = action.label;
    button.onclick = () => { hideError(); action.run(); };
  }
  find('alert').hidden = false;
  find('alert').scrollIntoView({block: 'nearest'});
}

export function hideError() {
  find('alert').hidden = true;
}

find('alert-close').addEventListener('click', hideError);
