/** Hands a file to the browser's downloads. */

const URL_SECONDS = 600;

/**
 * Downloads a file.
 *
 * @returns {HTMLAnchorElement} a link to the same file: a browser may keep a page from downloading
 *   a second file by itself, long after the click that asked for it.
 */
export function saveFile(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.textContent = 'Save again';
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => { URL.revokeObjectURL(link.href); link.remove(); }, URL_SECONDS * 1000);
  return link;
}
