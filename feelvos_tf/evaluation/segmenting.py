"""Runs the model over the videos of a split, so that its masks can be scored like any others.

A state file of every finished video says which run wrote it, of which data; the same run again
leaves such a video as it is.
"""

from collections.abc import Callable, Iterator, Sequence
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
from typing import Any, TYPE_CHECKING

import numpy as np

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import video as video_lib
from feelvos_tf.datasets import worker_processes
from feelvos_tf.evaluation import kept_maps
from feelvos_tf.evaluation import late_objects as late_objects_lib
from feelvos_tf.evaluation import methods
from feelvos_tf.files import whole_file
from feelvos_tf.runtime import journal
from feelvos_tf.runtime import result_folder
from feelvos_tf.runtime import result_job
from feelvos_tf.runtime.tensorflow_start import start_tensorflow

if TYPE_CHECKING:
  from feelvos_tf.inference.segmenter import SegmentedFrame


@dataclasses.dataclass(frozen=True)
class SegmentedVideo:
  """What became of one video.

  Attributes:
    name: name of the video.
    seconds_per_frame: median time of a step, or None.
    error: why it was not segmented, or ''.
    resumed: an earlier run had done it.
    matmul_gflops: what the machine reached in float32 matrix products just before, or None.
  """

  name: str
  seconds_per_frame: float | None = None
  error: str = ''
  resumed: bool = False
  matmul_gflops: float | None = None


def segment_all(
  videos: Sequence,
  run: methods.ModelRun,
  results: result_folder.ResultFolder,
  on_error: str = 'fail',
  parallel_clips: int = 1,
  new_segmenter: Callable | None = None,
  on_frames: Callable[[int, str], None] | None = None,
) -> Iterator[SegmentedVideo]:
  """Segments videos; those that an earlier run of the same model finished are left as they are.

  Args:
    videos: `feelvos_tf.datasets.video.Video`s.
    run: the model.
    results: the output folder, which gets `masks/<video>/<frame>.png`, `segmented/<video>.json`
      and, with `run.keep_maps`, `maps/<video>/<frame>.png` (see `kept_maps`). Files of earlier
      runs are replaced, others never.
    on_error: 'fail' or 'skip'.
    parallel_clips: videos segmented at the same time, in processes that each load the model.
    new_segmenter: instead of loading the model; only without parallel clips.
    on_frames: receives progress: number of frames done since the last call, video.

  Yields:
    SegmentedVideo, in the order of completion.

  Raises:
    FileNotFoundError, ValueError: with on_error='fail', what was wrong.
    OSError: the disk is full or read-only, whatever `on_error` says.
  """
  output_dir, fingerprint = results.path, run.fingerprint()
  on_frames = on_frames or (lambda count, name: None)
  pending = []
  for video in videos:
    clip = _finished(video, output_dir, fingerprint, run.late_objects)
    if clip:
      on_frames(video.num_frames, video.name)
      yield clip
      continue
    try:
      results.prepare(video.name, _files(video, run))
    except ValueError as error:
      if on_error == 'fail':
        raise
      yield SegmentedVideo(video.name, error=str(error))
    else:
      pending.append(video)
  if parallel_clips <= 1 or len(pending) <= 1:
    outcomes = _run_here(pending, run, output_dir, new_segmenter, on_frames)
  else:
    outcomes = _run_in_processes(pending, run, output_dir, parallel_clips, on_frames)
  for name, (clip, refusal) in outcomes:
    if refusal is not None and (on_error == 'fail' or whole_file.is_no_room(refusal)):
      raise refusal
    yield SegmentedVideo(name, error=str(refusal)) if clip is None else clip


def data_of(video: video_lib.Video, late_objects: bool | None = None) -> str:
  """Hash of a video's frames and of masks of it.

  Args:
    video: `feelvos_tf.datasets.video.Video`.
    late_objects: the masks that `late_objects.segment_video` gives with this value; None: all.

  Raises:
    ValueError: no mask with an object, or an unreadable frame or mask.
  """
  digest = hashlib.sha256()
  if video.files:
    found = (journal.file_digest(path) for path in video.files)
  else:
    found = (journal.digest(frame.tobytes()) for frame in video.frames())
  for name, content in zip(video.frame_names, found):
    digest.update(f'{name} {content}\n'.encode(errors='surrogateescape'))
  if late_objects is None:
    given = {index: video.needed_mask(index).ids for index in video.masked_frames}
  else:
    given = late_objects_lib.beginnings(video, late_objects)
  for index, ids in given.items():
    digest.update(f'{index} {ids.shape} {journal.digest(ids.tobytes())}\n'.encode())
  return digest.hexdigest()


def read_state(output_dir: str | os.PathLike, name: str) -> dict:
  """What is known of a finished video; {} if nothing is.

  'seconds_per_frame', 'object_ids', and 'confidence': {frame: {object id as text: confidence}} of
  the frames that one segmenter segmented.
  """
  path = pathlib.Path(output_dir) / _state_name(name)
  try:
    return json.loads(path.read_text(encoding='utf-8'))
  except (OSError, ValueError):
    return {}


def _write_video(
  video: video_lib.Video,
  new_segmenter: Callable,
  run: methods.ModelRun,
  output_dir: pathlib.Path,
  on_frames: Callable[[int, str], None],
) -> SegmentedVideo:
  """Segments a video to files; returns its SegmentedVideo."""
  for name in _files(video, run):
    (output_dir / name).parent.mkdir(parents=True, exist_ok=True)
  writer = result_job.Writer(output_dir, video.name)
  data = data_of(video, run.late_objects)
  times, confidences = [], {}
  object_ids: tuple[int, ...] = ()
  speed = getattr(new_segmenter, 'matmul_gflops', lambda: None)()
  for name, ids, result, seconds in late_objects_lib.segment_video(
    video, new_segmenter, run.late_objects
  ):
    writer.write(f'masks/{video.name}/{name}.png', masks.encode_mask(ids))
    on_frames(1, video.name)
    if result is not None:
      object_ids = tuple(int(i) for i in result.object_ids)
    if result is not None and result.stride4_logits is not None:
      times.append(seconds)
      confidences[name] = _confidence_of(result)
      if run.keep_maps:
        writer.write(f'maps/{video.name}/{name}.png', kept_maps.encode_maps(result))
  seconds_per_frame = float(np.median(times)) if times else None
  state = {
    'fingerprint': run.fingerprint(),
    'data': data,
    'object_ids': object_ids,
    'confidence': confidences,
    'seconds_per_frame': seconds_per_frame,
    'matmul_gflops': speed,
  }
  writer.write(_state_name(video.name), json.dumps(state).encode())
  return SegmentedVideo(video.name, seconds_per_frame, matmul_gflops=speed)


def _confidence_of(result: 'SegmentedFrame') -> dict[str, float]:
  """{object id as text: confidence} of a `SegmentedFrame`, as JSON has it."""
  pairs = zip(result.object_ids[1:], result.confidence[1:])
  return {str(object_id): round(float(value), 4) for object_id, value in pairs}


def _attempt(
  video: video_lib.Video,
  new_segmenter: Callable,
  run: methods.ModelRun,
  output_dir: pathlib.Path,
  on_frames: Callable[[int, str], None],
) -> tuple[SegmentedVideo | None, Exception | None]:
  """(SegmentedVideo, None) or (None, the error that the user can do something about)."""
  try:
    return _write_video(video, new_segmenter, run, output_dir, on_frames), None
  except (OSError, ValueError) as error:
    return None, error


def _run_here(
  pending: Sequence[video_lib.Video],
  run: methods.ModelRun,
  output_dir: pathlib.Path,
  new_segmenter: Callable | None,
  on_frames: Callable[[int, str], None],
) -> Iterator[tuple[str, tuple[SegmentedVideo | None, Exception | None]]]:
  """Yields (name, (SegmentedVideo, error)), one video after another."""
  make = new_segmenter
  for video in pending:
    make = make or methods.Segmenters(run)
    yield video.name, _attempt(video, make, run, output_dir, on_frames)


def _run_in_processes(
  pending: Sequence[video_lib.Video],
  run: methods.ModelRun,
  output_dir: pathlib.Path,
  parallel_clips: int,
  on_frames: Callable[[int, str], None],
) -> Iterator[tuple[str, tuple[SegmentedVideo | None, Exception | None]]]:
  """Yields (name, (SegmentedVideo, error)) as videos finish."""
  workers = min(parallel_clips, len(pending))
  work = functools.partial(_attempt_in_worker, run=run, output_dir=output_dir)
  for video, attempt in worker_processes.finished(
    work,
    pending,
    workers,
    'run again with fewer --parallel_clips: finished videos are kept',
    _start_worker,
    (run, workers),
  ):
    on_frames(video.num_frames, video.name)
    yield video.name, attempt


_WORKER: dict[str, Any] = {}  # of a worker process: its segmenters


def _start_worker(run: methods.ModelRun, workers: int) -> None:
  start_tensorflow()
  import tensorflow as tf

  threads = max(1, (os.cpu_count() or 1) // workers)
  tf.config.threading.set_intra_op_parallelism_threads(threads)
  tf.config.threading.set_inter_op_parallelism_threads(1)
  try:
    _WORKER['segmenters'] = methods.Segmenters(run)
  except (OSError, ValueError) as error:  # an exception here would only break the pool
    _WORKER['error'] = error


def _attempt_in_worker(
  video: video_lib.Video, run: methods.ModelRun, output_dir: pathlib.Path
) -> tuple[SegmentedVideo | None, Exception | None]:
  if 'error' in _WORKER:
    return None, _WORKER['error']
  return _attempt(video, _WORKER['segmenters'], run, output_dir, lambda count, name: None)


def _state_name(name: str) -> str:
  return f'segmented/{name}.json'


def _files(video: video_lib.Video, run: methods.ModelRun) -> list[str]:
  """Names, relative to the output folder, of everything that is written of a video."""
  folders = ['masks', 'maps'] if run.keep_maps else ['masks']
  pictures = [f'{f}/{video.name}/{frame}.png' for f in folders for frame in video.frame_names]
  return [*pictures, _state_name(video.name)]


def _finished(
  video: video_lib.Video, output_dir: pathlib.Path, fingerprint: str, late_objects: bool
) -> SegmentedVideo | None:
  """The SegmentedVideo of an earlier run, or None."""
  state = read_state(output_dir, video.name)
  if state.get('fingerprint') != fingerprint:
    return None
  folder = output_dir / 'masks' / video.name
  written = {p.stem for p in video_lib.list_images(folder)} if folder.is_dir() else set()
  if not set(video.frame_names) <= written:
    return None
  try:
    if state.get('data') != data_of(video, late_objects):
      return None
  except (OSError, ValueError):
    return None  # Segmenting it says what is wrong.
  return SegmentedVideo(
    video.name,
    state.get('seconds_per_frame'),
    resumed=True,
    matmul_gflops=state.get('matmul_gflops'),
  )
