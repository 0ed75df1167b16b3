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
    """Reads the list of checkpoints; makes it anew if it is not that of the files.

    Args:
      folder: where they are; it need not exist.
      checkpoint: tf.train.Checkpoint, which is saved and restored.
      max_to_keep: number of checkpoints; older ones are removed.
    """
    self._folder, self._checkpoint = pathlib.Path(folder), checkpoint
    self._max_to_keep = max_to_keep
    self._names, self._about_list = self._mend_list()  # What `restore` takes, and says.
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
    """Restores the newest checkpoint that is whole; removes what a kill kept from being removed.

    Args:
      step_of: function that returns the step restored.

    Returns:
      A line for every newer one, which is damaged, and one for a list that was made anew.

    Raises:
      ValueError: there are checkpoints and none can be restored: another model's, damaged, or gone.
    """
    problems = []
    # Not the manager's list, which leaves out those that a clock set back makes young.
    for name in reversed(self._names):
      path = os.path.join(self._plain, name)
      try:
        self._checkpoint.restore(path).assert_existing_objects_matched().expect_partial()
      except (AssertionError, IndexError, ValueError, tf.errors.OpError) as error:
        reason = (self._named(str(error)).strip().splitlines() or [''])[0][:200]
        problems.append((self._named(path), reason))
        continue
      self._saved_step = step_of()
      self._remove_old(name)
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
    """Removes the oldest checkpoints above the number to keep, if not all of these are damaged."""
    if taken in self._names[-self._max_to_keep :]:
      for name in self._names[: -self._max_to_keep]:
        for path in self._folder.glob(f'{name}.*'):
          whole_file.remove(path)

  def _named(self, text: str) -> str:
    """A path or a message with the folder's own name."""
    return text.replace(self._plain, str(self._folder))

  def _mend_list(self) -> tuple[list[str], list[str]]:
    """Lists the checkpoints that are there.

    What TensorFlow does not find in its list, a run would neither go on from nor remove.

    Returns:
      (names of the checkpoints, the newest last; a line if that changes where a run goes on).
    """
    for pattern in _LEFTOVERS:
      for path in self._folder.glob(pattern):
        shutil.rmtree(path, ignore_errors=True)
        whole_file.remove(path)
    path, listed = self._folder / 'checkpoint', self._listed()
    found = {file.stem for file in self._folder.glob(f'{_NAME}-*.index')}
    # Of some, a kill or an accident left a part.
    files = [file.name for file in self._folder.glob(f'{_NAME}-*.*')]
    found |= {name for name in listed or () if any(file.startswith(f'{name}.') for file in files)}
    numbers = {name: name.rpartition('-')[2] for name in found}
    names = sorted((n for n in found if numbers[n].isdecimal()), key=lambda n: int(numbers[n]))
    if not names:
      if listed is None:
        path.unlink(missing_ok=True)  # Of a kill during the first one.
      return [] if listed is None else listed[:1], []
    if listed == [names[-1], *names]:
      return names, []
    lines = [f'model_checkpoint_path: "{names[-1]}"']  # The text of a CheckpointState.
    lines += [f'all_model_checkpoint_paths: "{name}"' for name in names]
    # Above 0, or TensorFlow leaves them out.
    lines += [f'all_model_checkpoint_timestamps: {1 + place}' for place in range(len(names))]
    whole_file.write_text(path, '\n'.join(lines) + '\n')
    if listed is not None and listed[0] == names[-1]:
      return names, []
    line = f'{path}: the list was lost or not that of the files; the newest is {names[-1]}'
    return names, [line]

  def _listed(self) -> list[str] | None:
    """Names in the list, the newest of them first and again; None: it is missing or damaged."""
    try:
      state = tf.train.get_checkpoint_state(self._folder)
    except (ValueError, text_format.ParseError, UnicodeDecodeError):
      return None
    if state is None:
      return None
    paths = [state.model_checkpoint_path, *state.all_model_checkpoint_paths]
    return [os.path.basename(path) for path in paths]
