"""Segments videos into a result folder: masks, table, overlay video and contact sheet.

Forward, masks and pictures are written frame by frame. Backward and in both directions, masks are
written first, in the order in which they are found; then the frames are read once more, in the
order of time, for the pictures.

An interrupted run goes on where it was, and one with further masks where these begin to count: the
frames before are read again for the pictures and compared with those that the run saw, but not
segmented.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import contextlib
import json
from typing import Any, TYPE_CHECKING, TypeAlias

from feelvos_tf.datasets import backwards
from feelvos_tf.datasets import data_warning
from feelvos_tf.datasets import names as names_lib
from feelvos_tf.datasets.masks import Mask
from feelvos_tf.datasets.video import Video
from feelvos_tf.inference import given_masks
from feelvos_tf.runtime import background
from feelvos_tf.runtime import export_results
from feelvos_tf.runtime import frame_table
from feelvos_tf.runtime import progress
from feelvos_tf.runtime import repair_list
from feelvos_tf.runtime import result_folder
from feelvos_tf.runtime import resuming
from feelvos_tf.runtime.estimate import Estimate
from feelvos_tf.runtime.results import frame_digest
from feelvos_tf.runtime.results import mask_name
from feelvos_tf.runtime.results import OtherFrames
from feelvos_tf.runtime.results import picture_names
from feelvos_tf.runtime.results import Results

if TYPE_CHECKING:
  import numpy as np

  from feelvos_tf.inference.segmenter import VideoSegmenter


# Name of the output, `GivenMasks` or the `Mask` of the first frame, number of frames or None.
Deciding: TypeAlias = tuple[str, given_masks.GivenMasks | Mask, int | None]


def run_id(model: str, options: dict, jobs: Sequence[Deciding]) -> str:
  """Hash of what decides the masks, the frames left aside: they are compared one by one.

  Args:
    model: digest or name of the weights.
    options: what the run was asked for; values that str() tells apart.
    jobs: `Deciding` of each video.
  """
  given = [[name, *_fingerprint(given_masks.of(masks))] for name, masks, _ in jobs]
  return result_folder.digest(json.dumps([model, options, given], default=str).encode())


def plans(model: str, options: dict, jobs: Sequence[Deciding]) -> dict[str, dict]:
  """What decides the masks of every video, to be compared by `kept_frames`; ready for JSON.

  Arguments as of `run_id`; returns a plan for each name.
  """
  base = result_folder.digest(json.dumps([model, options], default=str).encode())
  return {
    name: {'base': base, **_plan(given_masks.of(masks)), 'frames': count}
    for name, masks, count in jobs
  }


def _plan(given: given_masks.GivenMasks) -> dict[str, Any]:
  return {
    'direction': given.direction,
    'first': given.first,
    'size': list(given.mask(given.frames[0]).shape),
    'palette': result_folder.digest(b'' if given.palette is None else given.palette.tobytes()),
    'removals': [list(removal) for removal in given.removals],
    'masks': [
      [i, result_folder.digest(given.mask(i).tobytes()), sorted(given.object_ids(i))]
      for i in given.frames
    ],
  }


def _fingerprint(given: given_masks.GivenMasks) -> list[Any]:
  masks = [[i, result_folder.digest(given.mask(i).tobytes())] for i in given.frames]
  palette = None if given.palette is None else given.palette.tolist()
  # Runs from frame 0 on have the hash that they had before it counted.
  first = [given.first] if given.first else []
  shape = given.mask(given.frames[0]).shape
  return [given.direction, given.removals, masks, shape, palette, *first]


def segment(
  segmenter: 'VideoSegmenter',
  video: Video,
  given: given_masks.GivenMasks | Mask,
  output: result_folder.ResultFolder,
  name: str = '',
  pictures: bool = True,
  forms: export_results.Forms = export_results.Forms(),
) -> int:
  """Segments one video and writes the results while frames come.

  Args:
    segmenter: `VideoSegmenter`.
    video: `feelvos_tf.datasets.video.Video`. Forward, its first frame has a mask; backward, the
      mask that comes last is where it ends.
    given: `GivenMasks`, or the `feelvos_tf.datasets.masks.Mask` of the first frame.
    output: `ResultFolder` to write to.
    name: '' for one video, else the sub-folder of `masks` and the stem of the pictures.
    pictures: bool, whether to write the overlay video and the contact sheet.
    forms: `export_results.Forms` to write in addition.

  Returns:
    Number of masks. If a frame cannot be read, the masks before it are there and its error is
    raised.

  Raises:
    ValueError: a frame cannot be read, or a file that no run wrote is where a result has to go.
    OSError: a result cannot be written.
  """
  given = given_masks.of(given)
  _check_views(segmenter, video, given)
  job = output.job(name, f'masks/{name}'.rstrip('/'))
  if job.kept_ranges is not None:
    _keep_unchanged(video, job, name, output)
  known = job.frames()
  if job.is_done_but(picture_names(name)):
    if is_of(video, dict(known), name, given):
      if pictures and job.lacks(picture_names(name)):
        _add_pictures(job, name, given, video, len(known))
      return len(known)
    if output.lacks_pictures:
      _check_overwrite(output, _results_of_others(video))
    job.begin_again()
    known = []
  if len(known) > len(job.noted('objects')):  # Of a version without a table.
    known = []
  frame_names = video.frame_names[: video.num_frames or 0]
  objects = {i for index in given.frames for i in given.object_ids(index)}
  of_forms = export_results.names(name, video, frame_names, objects, forms)
  of_frames = (mask_name(name, frame_name) for frame_name in frame_names)
  job.check_free([*_extra_names(name, pictures), *of_frames, *of_forms])
  run = {'forward': _forward, 'backward': _backward, 'both': _both}[given.direction]
  try:
    count = run(segmenter, video, given, job, name, pictures, known)
  except OtherFrames:
    job.begin_again()
    count = run(segmenter, video, given, job, name, pictures, [])
  except BaseException as error:
    # Other interrupted runs go on and write it then; a live source ends by an interruption.
    is_last = video.live or isinstance(error, (OSError, ValueError))
    if is_last and job.noted('objects'):
      with contextlib.suppress(OSError, ValueError):  # The first error is the one to report.
        _write_table(video, job, name)
    raise
  _warn_of_late_removals(video, given, count)
  _remove_left_over(video, job, name, count)
  table = _write_table(video, job, name)
  with progress.Waiting(f'{video.name}: writing {", ".join(forms.formats)}', at_once=False):
    export_results.export(job, name, video, forms, lambda frame: mask_name(name, frame))
  job.finish()
  names, confidences, ids = table.confidences()
  entries = repair_list.frames_to_check(confidences, ids)
  names_lib.tell(f'{video.name}: {repair_list.to_line(entries, names)}')
  return count


def _check_views(segmenter: 'VideoSegmenter', video: Video, given: given_masks.GivenMasks) -> None:
  """Refuses masks that a video cannot take whose frames are shown in several ways."""
  if segmenter.options.shows_once or len(given.frames) == 1:
    return
  objects = {tuple(sorted(given.object_ids(index))) for index in given.frames}
  if given.direction != 'both' or len(objects) > 1:
    raise ValueError(
      f'{video.name}: masks on {len(given.frames)} frames given, which a video cannot take that is '
      'segmented mirrored or at several scales (--speed=best, --flip, --image_pyramid); leave these '
      'out, or give one mask'
    )


def all_pictures(names: Iterable[str], pictures: bool) -> list[str]:
  """Pictures of the videos of these names, for `ResultFolder`; none if none are to be written."""
  return [picture for name in names for picture in picture_names(name)] if pictures else []


def is_of(video: Video, known: Mapping[str, str], name: str, given: given_masks.GivenMasks) -> bool:
  """`resuming.is_of`; says so if it takes long."""
  with progress.Waiting(f'{video.name}: comparing frames with those of before', at_once=False):
    return resuming.is_of(video, known, name, given)


def _keep_unchanged(
  video: Video, job: result_folder.Job, name: str, output: result_folder.ResultFolder
) -> None:
  """Removes what depends on changed masks; all of it if `output` may and nothing would stay."""
  try:
    with progress.Waiting(f'{video.name}: comparing frames with those of before', at_once=False):
      if resuming.keep_unchanged(video, job, name):
        return
    there = 'masks that all depend on what changed'
  except OtherFrames:
    there = _results_of_others(video)
  _check_overwrite(output, there)
  job.begin_again()


def _results_of_others(video: Video) -> str:
  return f'results of other frames than those of {video.name}'


def _check_overwrite(output: result_folder.ResultFolder, there: str) -> None:
  if not output.overwrite:
    raise ValueError(
      f'{output.path}: {there} are there; choose another output folder or add --overwrite'
    )


def _warn_of_late_removals(video: Video, given: given_masks.GivenMasks, count: int) -> None:
  """Warns of objects that are removed on a frame that did not come: a film may not know before."""
  for object_id, index in given.removals:
    if index >= count:
      data_warning.warn(
        f'{video.name}: object {object_id} is to be removed at frame {given.first + index} and stays, '
        f'as the last frame is {given.first + count - 1}; check --remove'
      )


def _remove_left_over(video: Video, job: result_folder.Job, name: str, count: int) -> None:
  """Removes masks of an interrupted run of more frames than there are now."""
  own = {mask_name(name, video.frame_names[index]) for index in range(count)}
  if left_over := [mask for mask in job.noted('frame') if mask not in own]:
    job.remove(left_over)


def _table_name(name: str) -> str:
  return f'{name}.frames.csv' if name else 'frames.csv'


def _extra_names(name: str, pictures: bool) -> tuple[str, ...]:
  """Files of a video besides its masks."""
  return (_table_name(name), *(picture_names(name) if pictures else ()))


def _write_table(video: Video, job: result_folder.Job, name: str) -> frame_table.FrameTable:
  """Writes frames.csv of the masks that are there; returns the `FrameTable`."""
  rows = job.noted('objects')
  table = frame_table.FrameTable()
  # A container may claim fewer frames than it has; the masks may be of a run with more frames.
  count = video.num_frames or 0
  for index in range(count if video.seeks else max(count, len(rows))):
    frame_name = video.frame_names[index]
    if (path := mask_name(name, frame_name)) in rows:
      table.add(frame_name, rows[path])
  job.write(_table_name(name), table.to_csv())
  return table


def _forward(
  segmenter: 'VideoSegmenter',
  video: Video,
  given: given_masks.GivenMasks,
  job: result_folder.Job,
  name: str,
  pictures: bool,
  known: Sequence[tuple[str, str]],
) -> int:
  frames = enumerate(video.frames())
  with Results(job, name, given, video, pictures) as results:
    count = _one_direction(segmenter, video, frames, given, job, results, known, results.write)
  video.check_has_mask_frame(given.frames[-1], count)
  return count


def _backward(
  segmenter: 'VideoSegmenter',
  video: Video,
  given: given_masks.GivenMasks,
  job: result_folder.Job,
  name: str,
  pictures: bool,
  known: Sequence[tuple[str, str]],
) -> int:
  last = given.frames[-1]
  frames = backwards.frames_backwards(video, 0, last, job.folder)
  with Results(job, name, given, video, pictures=False) as results:
    _one_direction(segmenter, video, frames, given, job, results, known, results.write_mask)
  return _write_pictures(job, name, given, video, pictures, last + 1)


def _both(
  segmenter: 'VideoSegmenter',
  video: Video,
  given: given_masks.GivenMasks,
  job: result_folder.Job,
  name: str,
  pictures: bool,
  known: Sequence[tuple[str, str]],
) -> int:
  from feelvos_tf.runtime import both_directions  # Imports TensorFlow.

  there = resuming.still_known(video, dict(known), name)
  if there:
    names_lib.tell(f'{video.name}: goes on after the {len(there)} masks that are there')
  with Results(job, name, given, video, pictures=False) as results:
    seen = both_directions.segment(segmenter, video, given, job, results, there)
  return _write_pictures(job, name, given, video, pictures, seen, there)


def _one_direction(
  segmenter: 'VideoSegmenter',
  video: Video,
  frames: 'Iterable[tuple[int, np.ndarray]]',
  given: given_masks.GivenMasks,
  job: result_folder.Job,
  results: Results,
  known: Sequence[tuple[str, str]],
  write_result: Callable,
) -> int:
  """Segments (index, frame) in the order they come in; returns how many there were."""
  last, total = given.frames[-1], video.num_frames
  order = lambda position: position
  if given.direction == 'backward':
    order, total = (lambda position: last - position), last + 1
  read_mask = lambda index: results.read_mask(video.frame_names[index])
  count, restore = resuming.after_known(segmenter, job, known, given, order, read_mask)
  if count:
    names_lib.tell(f'{video.name}: goes on after the {count} masks that are there')
  with (
    background.BackgroundCalls(write_result) as write,
    progress.Progress(total, 'frames', video.name) as bar,
  ):
    estimate = Estimate(video, segmenter.options)
    for position, (index, frame, following) in enumerate(_with_following(video, frames)):
      frame_name = video.frame_names[index]
      if position < count:
        if known[position] != (results.mask_name(frame_name), frame_digest(frame)):
          raise OtherFrames
        write(frame_name, frame, None, None, restore(position, frame))
      else:
        if following is not None:
          segmenter.look_ahead(following)
        result = resuming.result_of(segmenter, position, index, frame, given)
        is_given = position > 0 and index in given.frames
        begun = segmenter.remembered(result.mask) if is_given else None
        given.show(result, index)
        write(frame_name, frame, result, segmenter.previous_tensors, begun)
        left = None if bar.steps_left is None else bar.steps_left - 1
        if position and (line := estimate.frame_done(left)):
          names_lib.tell(line)
      bar.advance()
  return bar.count


def _with_following(
  video: Video, frames: 'Iterable[tuple[int, np.ndarray]]'
) -> 'Iterator[tuple[int, np.ndarray, np.ndarray | None]]':
  """(index, frame, the frame after it or None), read ahead where that makes no frame old."""
  if video.live:
    for index, frame in frames:
      yield index, frame, video.waiting()
    return
  for (index, frame), following in background.with_next(background.prefetch(frames)):
    yield index, frame, None if following is None else following[1]


def _add_pictures(
  job: result_folder.Job, name: str, given: given_masks.GivenMasks, video: Video, count: int
) -> None:
  """Makes the pictures of a job that was finished without."""
  job.check_free(picture_names(name))
  job.remove([_table_name(name)])  # Not finished while they end where an interruption came.
  _write_pictures(job, name, given, video, True, count)
  _write_table(video, job, name)
  job.finish()


def _write_pictures(
  job: result_folder.Job,
  name: str,
  given: given_masks.GivenMasks,
  video: Video,
  pictures: bool,
  count: int,
  known: Mapping[str, str] | None = None,
) -> int:
  """Reads the frames once more, in the order of time."""
  if not pictures and not known:
    return count
  with (
    Results(job, name, given, video, pictures) as results,
    progress.Progress(count, 'frames', f'{video.name}, pictures') as bar,
  ):
    for index, frame in enumerate(background.prefetch(video.frames())):
      if index == count:
        break
      frame_name = video.frame_names[index]
      if known and known.get(results.mask_name(frame_name)) not in (None, frame_digest(frame)):
        raise OtherFrames
      results.write(frame_name, frame, None)
      bar.advance()
  return count
