"""The best weights of a run, `best.h5`, and the score that the next ones must beat, `best.json`.

Weights of another validation than the present one are kept as `best_of_<hash>.h5`.
"""

from collections.abc import Callable
import json
import os
import pathlib
import re
from typing import Any

from feelvos_tf.deeplab import weights_file
from feelvos_tf.files import whole_file


class BestWeights:
  """`best.h5` and `best.json` of a run's folder."""

  def __init__(self, folder: str | os.PathLike) -> None:
    """Args: the folder of the run; `read` looks into it."""
    self._weights = pathlib.Path(folder) / 'best.h5'
    self._notes = pathlib.Path(folder) / 'best.json'
    # What best.json holds: best score, its step, the last step that was validated, and of which
    # validation the score is (`of`).
    self._noted: dict[str, Any] = {}

  @property
  def score(self) -> float:
    """The score to beat; -1 if there is none."""
    return self._noted.get('score', -1.0)

  @property
  def validated(self) -> int:
    """The last step that was validated; 0 if there is none."""
    return self._noted.get('validated', 0)

  def read(self) -> list[str]:
    """Reads what earlier starts noted; a score counts if its weights are there.

    Returns:
      A line for every file that is missing or damaged.
    """
    noted, lines = _read_notes(self._notes)
    of_weights, problem = _notes_of(self._weights)
    if of_weights and 'score' not in noted:
      self._noted = {**of_weights, **noted}
      said = f'{self._weights} (step {of_weights["step"]}, score {of_weights["score"]:.4f}) counts'
      return lines + [f'{self._notes}: no score of the best weights; that in {said}']
    if of_weights is None and 'score' in noted:
      problem = problem or f'{self._weights}: gone'
      noted = {key: noted[key] for key in ('validated',) if key in noted}
    self._noted = noted
    if problem and 'score' not in noted:  # With a score, whole weights without notes are trusted.
      lines.append(f'{problem}; the next validation writes best weights anew')
    return lines

  def start_anew(self) -> None:
    """No step of the present run was validated: there is no checkpoint to go on from."""
    self._noted.pop('validated', None)

  def begin(self, identity: str | None) -> str | None:
    """Sets the best weights aside if they are of another validation; returns a line if so.

    Args:
      identity: hash of the validation that comes; None is not told apart.
    """
    before = self._noted.get('of')
    if before is None or before == identity:
      return None
    kept = self._weights.with_name(f'best_of_{before}.h5')
    known, problem = _notes_of(kept)
    if known and known['score'] > self.score:  # It was set aside once before.
      self._weights.unlink(missing_ok=True)
    elif self._weights.is_file():
      whole_file.move(self._weights, kept)
    self._notes.unlink(missing_ok=True)
    self._noted = {}
    replaced = f', in the place of a damaged file ({problem})' if problem else ''
    return f'another validation than before: its best weights are kept as {kept}{replaced}'

  def add(
    self,
    step: int,
    score: float,
    identity: str | None,
    export: Callable[[pathlib.Path, dict[str, Any]], None],
  ) -> None:
    """Notes a validation, and keeps the weights if their score is the best.

    Args:
      step: of the weights.
      score: of the validation; one that is no number is not the best.
      identity: as for `begin`.
      export: writes the weights, with notes, to a path.

    Raises:
      OSError: a file cannot be written.
    """
    if score > self.score:
      of = {'of': identity} if identity else {}
      named = {'validation_of': identity} if identity else {}
      export(self._weights, {'step': step, 'validation': score, **named})
      self._noted = {'step': step, 'score': score, **of}
    self._noted['validated'] = step
    whole_file.write_text(self._notes, json.dumps(self._noted))


def _read_notes(path: pathlib.Path) -> tuple[dict[str, Any], list[str]]:
  """(content of best.json or {}, a line if it is damaged)."""
  if not path.exists():
    return {}, []
  try:
    noted = json.loads(path.read_text(encoding='utf-8'))
  except ValueError:
    noted = None
  if not _are_notes(noted):
    return {}, [f'{path}: damaged, its content does not count']
  return noted, []


def _notes_of(path: pathlib.Path) -> tuple[dict[str, Any] | None, str | None]:
  """(`score`, `step` and `of` in a weights file or {}, why not); None for {}: gone or damaged."""
  if not path.is_file():
    return None, None
  try:
    notes = weights_file.read_metadata(path).get('notes')
  except ValueError as error:
    return None, str(error)
  names = {'step': 'step', 'validation': 'score', 'validation_of': 'of'}
  notes = notes if isinstance(notes, dict) else {}
  found = {known: notes[name] for name, known in names.items() if name in notes}
  if not {'step', 'score'} <= found.keys() or not _are_notes(found):
    return {}, f'{path}: not of a validation'
  return found, None


def _are_notes(noted: Any) -> bool:
  if not isinstance(noted, dict):
    return False
  numbers = [noted[key] for key in ('score', 'step', 'validated') if key in noted]
  of = noted.get('of', '')
  return all(isinstance(number, int | float) for number in numbers) and (
    isinstance(of, str) and re.fullmatch('[0-9a-f]*', of) is not None
  )
