r"""Writes the masks of `feelvos segment` in the forms of other tools.

  feelvos convert-masks --masks=result/masks --format=coco,cvat --output=annotations
  feelvos convert-masks --masks=result/masks --input=clip.mp4 --format=cutouts,prores --output=cut

Each form gets a folder of its name in --output; docs/results.md says what is in it.
"""

from collections.abc import Iterable, Iterator
import pathlib

from absl import flags

from feelvos_tf.datasets import data_warning
from feelvos_tf.datasets import masks
from feelvos_tf.datasets import names as names_lib
from feelvos_tf.datasets.result_files import writing
from feelvos_tf.datasets.result_files.target import ResultFrame
from feelvos_tf.datasets.result_files.target import Target
from feelvos_tf.datasets.sources import clip_folder
from feelvos_tf.datasets.sources import folder
from feelvos_tf.datasets.sources.part import Part
from feelvos_tf.datasets.video import NumberedNames
from feelvos_tf.datasets.video import Video
from feelvos_tf.files import folder_lock
from feelvos_tf.files import whole_file
from feelvos_tf.runtime import command_line

FLAGS = flags.FLAGS

_TEMPORARY = 'convert-masks'  # Of another command's leftovers those of this one are told apart.
_COUNTING = frozenset(['coco', 'mots', 'cvat', 'cvat_images'])  # Forms with numbers of frames.


def define_flags() -> None:
  """Defines the flags; only when run as a program."""
  flags.DEFINE_string('masks', None, 'Folder of masks named like frames: result/masks.')
  flags.DEFINE_string(
    'input',
    None,
    'Video file or folder of frames of the masks; cutouts, prores and vp9 need it, others take '
    'rate and numbers of frames from it.',
  )
  flags.DEFINE_list(
    'format', [], f'What to write, separated by commas: {", ".join(writing.FORMATS)}.'
  )
  flags.DEFINE_string('output', None, 'Folder to write to; it must be empty or new.')
  flags.DEFINE_multi_string(
    'label', [], 'ID:NAME, the class of an object. May be repeated; default: a class an object.'
  )


def main() -> None:
  """Checks flags and files, then writes."""
  for flag in ('masks', 'format', 'output'):
    if not getattr(FLAGS, flag):
      raise command_line.UsageError(f'--{flag} is missing.')
  try:
    writing.check_formats(FLAGS.format)
    labels = writing.parse_labels(FLAGS.label)
  except ValueError as error:
    raise command_line.UsageError(f'--{error}') from None
  if writing.needs_frames(FLAGS.format) and not FLAGS.input:
    raise command_line.UsageError('--input is missing: cutouts, prores and vp9 show the frames.')
  output = pathlib.Path(FLAGS.output)
  with folder_lock.locked(output):
    # What a killed run left says that files are of a run that did not come to its end.
    if _has_files(output) and not whole_file.has_leftovers(output, _TEMPORARY):
      raise ValueError(f'{output} is not empty; choose another --output.')
    with whole_file.temporary_folder(output, _TEMPORARY) as temporary:
      count = _write(temporary, labels)
      _move_files(temporary, output)
  print(f'{count} masks as {", ".join(FLAGS.format)} in {output}')


def _has_files(folder: pathlib.Path) -> bool:
  paths = (path for path in folder.rglob('*') if path.name != folder_lock.LOCK_FILE)
  return any(path.is_symlink() or not path.is_dir() for path in paths)


def _move_files(source: pathlib.Path, target: pathlib.Path) -> None:
  """Moves all files of a folder into another one, or none of them."""
  targets = {path: target / path.relative_to(source) for path in sorted(source.rglob('*'))}
  folders = [path for path in targets if path.is_dir()]
  try:
    for path in folders:
      targets.pop(path).mkdir(exist_ok=True)
    for path, to in targets.items():
      whole_file.move(path, to)
  except BaseException:
    for to in targets.values():
      if not to.is_dir():
        whole_file.remove(to)
    raise


def _write(output: pathlib.Path, labels: dict[int, str]) -> int:
  """Writes all forms; returns the number of masks."""
  video = folder.open_video(clip_folder.frames_of_clip(FLAGS.input)) if FLAGS.input else None
  found = writing.masks_of_folder(FLAGS.masks)
  _, first = next(found)
  indices = _indices(video)
  target = Target(
    output,
    _name(),
    first.shape,
    video.fps if video else None,
    labels,
    suffixes=video.frame_suffixes if video else {},
    goes_on=video is not None and _goes_on(video, indices),
  )
  return writing.write(_frames(video, indices), FLAGS.format, target)


def _indices(video: Video | None) -> dict[str, int]:
  """{name of a mask: index of its frame, else of the one behind the mask before}.

  Frames of films are named by their numbers. Without --input, masks that have such names all are
  taken for those of a film; others begin with the video.

  Raises:
    ValueError: a mask has no frame of its own, where others have one.
  """
  found = masks.list_masks(FLAGS.masks)
  if video is not None and video.seeks:
    frames = {name: i for i, name in enumerate(video.frame_names)}
    known = {name: frames[frame] for name, frame in _spelled(found, video).items()}
    others = [name for name in found if name not in known]
    if others and (known or len(others) > len(frames)):
      raise _without_frame(found[others[0]], video)
  else:
    known = {name: int(name) for name in found if name.isascii() and name.isdecimal()}
  if video is None:
    film = NumberedNames(None)
    if any(name not in known or film[known[name]] != name for name in found):
      known = {}
    elif [*known.values()] != [*range(len(known))] and _COUNTING & {*FLAGS.format}:
      first = next(iter(known))
      data_warning.warn(
        f'{FLAGS.masks}: {first}.png is taken for frame {known[first]} of the video, counted from '
        '0, and all others by their names; give --input if they have other places'
      )
  indices: dict[str, int] = {}
  last = -1
  for name, path in found.items():
    index = known.get(name, last + 1)
    if index <= last:
      raise ValueError(f'{path}: a further mask of frame {index} given, expected one of a frame')
    indices[name] = last = index
  return indices


def _spelled(names: Iterable[str], video: Video | None) -> dict[str, str]:
  """{name of a mask: that of its frame}, whose letters may be composed in another way."""
  return names_lib.spelled(names, video.frame_names) if video is not None and video.seeks else {}


def _without_frame(path: pathlib.Path, video: Video) -> ValueError:
  return ValueError(
    f'{path}: a mask without a frame given, expected names of frames of {video.name}'
  )


def _goes_on(video: Video, indices: dict[str, int]) -> bool:
  """Whether there are frames behind the last mask; asked for where it matters."""
  if 'cvat' not in FLAGS.format or not indices:
    return False
  return Part(video, 0, max(indices.values())).goes_on()


def _name() -> str:
  path = pathlib.Path(FLAGS.masks).resolve()
  return path.parent.name if path.name == 'masks' else path.name


def _frames(video: Video | None, indices: dict[str, int]) -> Iterator[ResultFrame]:
  """Frames that have masks, with their images if a form shows them."""
  spelled = _spelled(indices, video)
  if video is None or not writing.needs_frames(FLAGS.format):
    for name, ids in writing.masks_of_folder(FLAGS.masks):
      yield ResultFrame(spelled.get(name, name), indices[name], ids)
    return
  paths = {spelled.get(name, name): path for name, path in masks.list_masks(FLAGS.masks).items()}
  for index, frame in enumerate(video.frames()):
    name = video.frame_names[index]
    path = paths.pop(name, None)
    if path is not None:
      mask = masks.read_mask(path, void=False, own=True)
      ids = video.check_mask_size(mask, str(path)).ids
      yield ResultFrame(name, index, ids, frame, video.frame_time(index))
    if not paths:
      return
  raise _without_frame(next(iter(paths.values())), video)


if __name__ == '__main__':
  command_line.run(main, define_flags)
