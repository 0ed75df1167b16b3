"""The folder of one training run: who may write to it, and the options it was started with.

The folder is locked by the process that trains. `run.json` holds the options, so that a resumed run
cannot become another one by mistake.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import json
import os
import pathlib
from typing import Any

from feelvos_tf.files import folder_lock
from feelvos_tf.files import whole_file
from feelvos_tf.model.options import InferenceOptions

FORMAT = 1
CHECKPOINTS = 'checkpoints'  # Folder of the checkpoints.
_RESULTS = (f'{CHECKPOINTS}/*.index', 'best*.h5', 'final.h5')
# Parts of the options that decide what a checkpoint holds, and what in them does not.
FIXED = ('model', 'optimizer', 'loss_scaling')
_FREE = tuple(f'model.{field.name}' for field in dataclasses.fields(InferenceOptions))


class RunDirectory:
  """A `train_logdir`.

  Attributes:
    path: `pathlib.Path` of the folder.
  """

  def __init__(self, path: str | os.PathLike) -> None:
    """Args: path of the folder; `locked` makes it."""
    self.path = pathlib.Path(path)

  @property
  def options_path(self) -> pathlib.Path:
    """Path of `run.json`, which holds the options."""
    return self.path / 'run.json'

  @contextlib.contextmanager
  def locked(self) -> 'Iterator[RunDirectory]':
    """Creates the folder and keeps other runs out while the context lasts.

    Raises:
      ValueError: another process writes to this folder, or it cannot be written.
    """
    with folder_lock.locked(self.path):
      yield self

  def register(self, options: dict[str, Any], defaults: dict[str, Any] | None = None) -> list[str]:
    """Writes `run.json`, or compares it with the options of the run that resumes.

    Without checkpoints and weights there is nothing to resume or to replace, and all options may
    change: a first start may have failed because they were wrong. Where there are some and the file
    is lost, nothing says whose they are before they have been restored: `note` writes it then.

    Args:
      options: JSON-ready dict with at least the keys FIXED.
      defaults: like `options`: what an option was that the file does not know, because it was
        written before there was such an option.

    Returns:
      List of 'name: old -> new' of options that changed and may change. They are written down.

    Raises:
      ValueError: an option changed that a checkpoint depends on, or the file cannot be read.
    """
    options = json.loads(json.dumps(options))
    known = self._read()
    changes = []
    if known is not None:
      before = {**_flat(json.loads(json.dumps(defaults or {}))), **_flat(known['options'])}
      after = _flat(options)
      changed = [
        (name, before.get(name), after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
      ]
      fixed = [
        change for change in changed if change[0].split('.')[0] in FIXED and change[0] not in _FREE
      ]
      if fixed and self._has_results():
        raise ValueError(
          f'{self.path}: this folder holds a run of another model: '
          f'{"; ".join(_describe(change) for change in fixed[:5])}. Resume with the flags it was '
          'started with, or choose another --train_logdir.'
        )
      changes = [_describe(change) for change in changed]
    if known is not None or not self._has_results():
      self._write({'format': FORMAT, 'options': options})
    return changes

  def note(self, options: dict[str, Any]) -> bool:
    """Writes `run.json` if `register` did not, with the options of a run that has its weights.

    Returns:
      Whether it did.
    """
    if self.options_path.exists():
      return False
    self._write({'format': FORMAT, 'options': options})
    return True

  def registered(self) -> dict[str, Any] | None:
    """The options in `run.json`; None if there is none.

    Raises:
      ValueError: it cannot be read.
    """
    known = self._read()
    return None if known is None else known['options']

  def _has_results(self) -> bool:
    return any(True for pattern in _RESULTS for _ in self.path.glob(pattern))

  def _read(self) -> dict[str, Any] | None:
    if not self.options_path.exists():
      return None
    try:
      content = json.loads(self.options_path.read_text(encoding='utf-8'))
      if content['format'] > FORMAT:
        raise ValueError('from a newer version')
      _flat(content['options'])
      return content
    except (ValueError, KeyError, TypeError, AttributeError) as error:
      raise ValueError(
        f'{self.options_path}: cannot be read ({error}); restore it, or choose '
        'another --train_logdir.'
      ) from error

  def _write(self, content: dict[str, Any]) -> None:
    whole_file.write_text(self.options_path, json.dumps(content, indent=1, sort_keys=True) + '\n')


def _flat(options: dict[str, Any], prefix: str = '') -> dict[str, Any]:
  """{'model.output_stride': 16, ...} of nested dicts."""
  flat = {}
  for name, value in options.items():
    if isinstance(value, dict):
      flat.update(_flat(value, f'{prefix}{name}.'))
    else:
      flat[f'{prefix}{name}'] = value
  return flat


def _describe(change: tuple[str, Any, Any]) -> str:
  name, before, after = change
  return f'{name} {json.dumps(before)} -> {json.dumps(after)}'
