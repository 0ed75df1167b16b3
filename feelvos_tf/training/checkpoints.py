"""The checkpoints of a run: on the disk before they count; one before replaces a damaged one."""

from collections.abc import Callable
import os
import pathlib
import re
import shutil
import time

from google.protobuf import text_format
import tensorflow as tf

from feelvos_tf.files import plain_path
from feelvos_tf.files import whole_file

_NAME = 'train'
# What TensorFlow writes before it renames, and leaves where a kill or a full disk ended it.
_LEFTOVERS = ('checkpoint.tmp*', f'{_NAME}-*.tempstate*', f'{_NAME}-*_temp')
# The list while the first one is written: that one is the run's own, wherever a kill comes.
_FIRST = '# {} is being written.\n'


class Checkpoints:
  """The folder of a run's checkpoints."""

  def __init__(
    self, folder: str | os.PathLike, checkpoint: tf.train.Checkpoint, max_to_keep: int
  ) -> None:
    """Reads the list of checkpoints; makes it anew if it is lost.

    Args:
      folder: where they are; it need not exist.
      checkpoint: tf.train.Checkpoint, which is saved and restored.
      max_to_keep: number of checkpoints; older ones are removed.
    """
    self._folder, self._checkpoint = pathlib.Path(folder), checkpoint
    self._list = self._folder / 'checkpoint'
    self._plain = plain_path.of_folder(self._folder)
    self._max_to_keep = max_to_keep
    self._about_list = self._mend_list()  # What `restore` says of it.
    self._manager = tf.train.CheckpointManager(
      checkpoint, self._plain, max_to_keep, checkpoint_name=_NAME
    )
    self._saved_step: int | None = None  # Of the newest whole checkpoint.

  @property
  def latest(self) -> str | None:
    """Path of the newest checkpoint."""
    path = self._manager.latest_checkpoint
    return None if path is None else self._named(path)

  def save(self, step: int) -> None:
    """Writes the checkpoint of a step, once.

    Raises:
      OSError: it cannot be written.
    """
    if step == self._saved_step:
      return
    with whole_file.named_errors(self._folder):
      # TensorFlow would make the folder, but not through a link, which may have gone since.
      self._folder.mkdir(parents=True, exist_ok=True)
      plain_path.of_folder(self._folder)
      if not self._list.exists():
        whole_file.write_text(self._list, _FIRST.format(f'{_NAME}-{step}'))
      path = pathlib.Path(self._manager.save(checkpoint_number=step))
    for file in [*self._folder.glob(f'{path.name}.*'), self._list, self._folder]:
      whole_file.flush(file)
    self._saved_step = step

  def restore(self, step_of: Callable[[], int]) -> list[str]:
    """Restores the checkpoint that the list names; if it is gone or damaged, another that is whole.

    Args:
      step_of: function that returns the step restored.

    Returns:
      A line for every one that is damaged, and one for a list that was made anew.

    Raises:
      ValueError: there are checkpoints and none can be restored: another model's, damaged, or gone.
    """
    problems = []
    for path in self._candidates():
      try:
        self._checkpoint.restore(path).assert_existing_objects_matched().expect_partial()
      except (AssertionError, IndexError, ValueError, tf.errors.OpError) as error:
        reason = (self._named(str(error)).strip().splitlines() or [''])[0][:200]
        problems.append((self._named(path), reason))
        continue
      self._saved_step = step_of()
      self._remove_old(path)
      taken = self._named(path)
      return self._about_list + [
        f'{bad}: the checkpoint is damaged ({why}); {taken} is taken' for bad, why in problems
      ]
    if problems:
      raise ValueError(
        f'{problems[0][0]}: the checkpoint does not fit this model or is damaged '
        f'({problems[0][1]}). Resume with the flags the run was started with, or choose '
        'another --train_logdir.'
      )
    return []

  def _remove_old(self, taken: str) -> None:
    """Ends a removal that a kill broke off, behind the last checkpoint of a run that has ended."""
    names = self._manager.checkpoints
    if names[-1:] == [taken]:  # As the manager writes its list, not as somebody edits it.
      for path in map(pathlib.Path, names[: -self._max_to_keep]):
        for kind in ('index', 'data-?????-of-?????'):
          for file in path.parent.glob(f'{path.name}.{kind}'):
            whole_file.remove(file)

  def _named(self, text: str) -> str:
    """A path or a message with the folder's own name."""
    return text.replace(self._plain, str(self._folder))

  def _mend_list(self) -> list[str]:
    """Writes the list anew if it is lost or the clock was set back; returns a line if it was lost.

    Without the list nothing tells which checkpoints are copies that somebody keeps: the new one
    names the newest alone, and none of them is removed.
    """
    for pattern in _LEFTOVERS:
      for path in self._folder.glob(pattern):
        shutil.rmtree(path, ignore_errors=True)
        whole_file.remove(path)
    try:
      state = tf.train.get_checkpoint_state(self._plain)
    except (ValueError, text_format.ParseError, UnicodeDecodeError):
      state = None
    if state is None:
      newest = max(self._files(), key=_step_of, default=None)
      if newest is None:
        whole_file.remove(self._list)  # Of a kill during the first one.
        return []
      text, lines = f'model_checkpoint_path: "{newest}"\n', []
      if self._list.is_file() and self._list.read_bytes() == _FIRST.format(newest).encode():
        text += f'all_model_checkpoint_paths: "{newest}"\nall_model_checkpoint_timestamps: 1\n'
      else:
        lines = [
          f'{self._list}: lost or damaged; {newest} is the newest checkpoint, and none that is there '
          'now will be removed'
        ]
      whole_file.write_text(self._list, text)
      return lines
    times = state.all_model_checkpoint_timestamps
    if times and min(time.time(), *times) <= state.last_preserved_timestamp:
      # TensorFlow would forget these, and never remove them.
      state.last_preserved_timestamp = 0
      times[:] = range(1, 1 + len(times))
      here = f'{self._plain}{os.sep}'
      state.model_checkpoint_path = state.model_checkpoint_path.removeprefix(here)
      paths = state.all_model_checkpoint_paths
      paths[:] = [listed.removeprefix(here) for listed in paths]
      whole_file.write_text(self._list, text_format.MessageToString(state))
    return []

  def _candidates(self) -> list[str]:
    """Paths: of what the list names, then of older checkpoints, then of newer ones."""
    named = self._manager.latest_checkpoint
    if named is None:
      return []
    step = _step_of(named)
    others = {os.path.join(self._plain, name) for name in self._files()} - {named}
    order = sorted(others, key=lambda path: (_step_of(path) <= step, _step_of(path)), reverse=True)
    return [named, *order]

  def _files(self) -> list[str]:
    """Names of the checkpoints that are there."""
    names = (path.stem for path in self._folder.glob(f'{_NAME}-*.index'))
    return [name for name in names if re.fullmatch(rf'{_NAME}-\d+', name)]


def _step_of(path: str) -> int:
  """The number in the name of a checkpoint; -1 if it has none."""
  number = path.rpartition('-')[2]
  return int(number) if number.isdecimal() else -1
