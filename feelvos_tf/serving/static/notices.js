/** Messages: errors in words with what to do next, and short news for screen readers. */

import {PageError} from './page_error.js';

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
  find('alert-text').textContent = inWords(error);
  const button = find('alert-action');
  button.hidden = !action;
  if (action) {
    button.textContent = action.label;
    button.onclick = () => { hideError(); action.run(); };
  }
  find('alert').hidden = false;
  find('alert').scrollIntoView({block: 'nearest'});
}

/** What browsers say about their insides helps nobody; it goes to the console. */
function inWords(error) {
  if (typeof error === 'string') return error;
  if (error instanceof PageError) return error.message;
  console.error(error);
  return 'This browser could not do that. Reload the page and try again; if it happens again, take ' +
    'another browser, or a smaller clip.';
}

export function hideError() {
  find('alert').hidden = true;
}

find('alert-close').addEventListener('click', hideError);
