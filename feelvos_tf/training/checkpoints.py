"""The checkpoints of a run: on the disk before they count; one before replaces a damaged one."""

from collections.abc import Callable
import os
import pathlib
import shutil

from google.protobuf import text_format
import tensorflow as tf

from feelvos_tf.files import plain_path
from feelvos_tf.files import whole_file

_NAME = 'train'
# What TensorFlow writes before it renames, and leaves where a kill or a full disk ended it.
_LEFTOVERS = ('checkpoint.tmp*', f'{_NAME}-*.tempstate*', f'{_NAME}-*_temp')


class Checkpoints:
  """The folder of a run's checkpoints."""

  def __init__(
    self, folder: str | os.PathLike, checkpoint: tf.train.Checkpoint, max_to_keep: int
  ) -> None:
    """Reads the list of checkpoints; makes it anew if a power failure took it.

    Args:
      folder: where they are; it need not exist.
      checkpoint: tf.train.Checkpoint, which is saved and restored.
      max_to_keep: number of checkpoints; older ones are removed.
    """
    self._folder, self._checkpoint = pathlib.Path(folder), checkpoint
    self._mend_list()
    self._plain = plain_path.of_folder(self._folder)
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
      path = pathlib.Path(self._manager.save(checkpoint_number=step))
    for file in [*self._folder.glob(f'{path.name}.*'), self._folder / 'checkpoint', self._folder]:
      whole_file.flush(file)
    self._saved_step = step

  def restore(self, step_of: Callable[[], int]) -> list[str]:
    """Restores the newest checkpoint that is whole.

    Args:
      step_of: function that returns the step restored.

    Returns:
      A line for every newer one, which is damaged.

    Raises:
      ValueError: there are checkpoints and none can be restored: another model's, or damaged.
    """
    problems = []
    for path in self._manager.checkpoints[::-1]:
      try:
        self._checkpoint.restore(path).assert_existing_objects_matched().expect_partial()
      except (AssertionError, IndexError, ValueError, tf.errors.OpError) as error:
        reason = (self._named(str(error)).strip().splitlines() or [''])[0][:200]
        problems.append((self._named(path), reason))
        continue
      self._saved_step = step_of()
      taken = self._named(path)
      return [
        f'{bad}: the checkpoint is damaged ({why}); {taken} is taken' for bad, why in problems
      ]
    if problems:
      raise ValueError(
        f'{problems[0][0]}: the checkpoint does not fit this model or is damaged '
        f'({problems[0][1]}). Resume with the flags the run was started with, or choose '
        'another --train_logdir.'
      )
    return []

  def _named(self, text: str) -> str:
    """A path or a message with the folder's own name."""
    return text.replace(self._plain, str(self._folder))

  def _mend_list(self) -> None:
    for pattern in _LEFTOVERS:
      for path in self._folder.glob(pattern):
        shutil.rmtree(path, ignore_errors=True)
        whole_file.remove(path)
    try:
      if tf.train.get_checkpoint_state(self._folder) or not (self._folder / 'checkpoint').exists():
        return
    except (ValueError, text_format.ParseError, UnicodeDecodeError):
      pass
    found = {
      int(number): path
      for path in self._folder.glob(f'{_NAME}-*.index')
      if (number := path.stem.rpartition('-')[2]).isdecimal()
    }
    if not found:
      (self._folder / 'checkpoint').unlink()
      return
    files = [found[number] for number in sorted(found)]
    lines = [f'model_checkpoint_path: "{files[-1].stem}"']  # The text of a CheckpointState.
    lines += [f'all_model_checkpoint_paths: "{file.stem}"' for file in files]
    lines += [f'all_model_checkpoint_timestamps: {file.stat().st_mtime}' for file in files]
    whole_file.write_text(self._folder / 'checkpoint', '\n'.join(lines) + '\n')
