"""Segments videos into a result folder: masks, overlay video and contact sheet, frame by frame.

An interrupted run goes on where it was: the frames before are read again for the pictures and
compared with those that the run saw, but not segmented.
"""

import contextlib
import json
import time

import numpy as np

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import writers
from feelvos_tf.runtime import background
from feelvos_tf.runtime import progress
from feelvos_tf.runtime import result_folder
from feelvos_tf.runtime.estimate import Estimate

_SECONDS_BETWEEN_STATES = (
  15.0  # A state of a 1080p video is 60 MB; this costs under 1 % of the time.
)


def run_id(model: str, options: dict, first_masks) -> str:
  """Hash of what decides the masks, the frames left aside: they are compared one by one.

  Args:
    model: digest or name of the weights.
    options: what the run was asked for; values that str() tells apart.
    first_masks: list of (name of the output, `feelvos_tf.datasets.masks.Mask`).
  """
  given = [
    [name, mask.ids.shape, result_folder.digest(mask.ids.tobytes())]
    + [None if mask.palette is None else mask.palette.tolist()]
    for name, mask in first_masks
  ]
  return result_folder.digest(json.dumps([model, options, given], default=str).encode())


def segment(segmenter, video, first_mask, output, name='', pictures=True) -> int:
  """Segments one video and writes the results while frames come.

  Args:
    segmenter: `VideoSegmenter`.
    video: `feelvos_tf.datasets.video.Video`.
    first_mask: `feelvos_tf.datasets.masks.Mask` of the first frame.
    output: `ResultFolder` to write to.
    name: '' for one video, else the sub-folder of `masks` and the stem of the pictures.
    pictures: bool, overlay video and contact sheet too.

  Returns:
    Number of masks. If a frame cannot be read, the masks before it are there and its error is
    raised.

  Raises:
    ValueError: a frame cannot be read, or a file that no run wrote is where a result has to go.
    OSError: a result cannot be written.
  """
  job = output.job(name, f'masks/{name}'.rstrip('/'))
  known = job.frames()
  if job.is_done:
    return len(known)
  try:
    return _run(segmenter, video, first_mask, job, name, pictures, known)
  except _OtherFrames:
    job.begin_again()
    return _run(segmenter, video, first_mask, job, name, pictures, [])


class _OtherFrames(Exception):
  """The frames are not those of the interrupted run."""


def _run(segmenter, video, first_mask, job, name, pictures, known):
  count, state = job.load_state() or (0, None)
  if not 0 < count <= len(known):
    count = 0
  if count:
    print(f'{video.name}: goes on after the {count} masks of the interrupted run')
  with (
    Results(job, name, first_mask, video, pictures) as results,
    background.BackgroundCalls(results.write) as write,
    progress.Progress(video.num_frames, 'frames', video.name) as bar,
  ):
    estimate = Estimate(video, segmenter.options)
    for index, frame in enumerate(background.prefetch(video.frames())):
      frame_name = video.frame_names[index]
      if index < count:
        if known[index] != (results.mask_name(frame_name), frame_digest(frame)):
          raise _OtherFrames
        if index == 0:
          segmenter.start(frame, first_mask.ids)
        if index == count - 1:
          segmenter.restore_previous(state)
        write(frame_name, frame, None, None)
      else:
        result = segmenter.start(frame, first_mask.ids) if index == 0 else segmenter.step(frame)
        write(frame_name, frame, result.mask, segmenter.previous_tensors)
        if index and (line := estimate.frame_done(index)):
          print(line, flush=True)
      bar.advance()
  job.finish()
  return bar.count


class Results:
  """Writes masks, overlay video and contact sheet, frame by frame; a context manager."""

  def __init__(self, job: result_folder.Job, name: str, first_mask, video, pictures: bool = True):
    """Opens nothing yet.

    Args:
      job: `result_folder.Job`.
      name: '' or the name of the video, which sorts its files.
      first_mask: `masks.Mask` with the palette to write.
      video: `video.Video`, whose times and sound the overlay gets.
      pictures: bool, overlay and contact sheet too.
    """
    self._job, self._folder = job, f'masks/{name}'.rstrip('/')
    self._palette, self._video = first_mask.palette, video
    self._count = 0
    self._state, self._time = None, time.monotonic()
    prefix = f'{name}.' if name else ''
    self._overlay_name, self._sheet_name = f'{prefix}overlay.mp4', f'{prefix}overview.png'
    self._overlay = self._sheet = None
    if pictures:
      self._overlay = writers.OverlayVideoWriter(
        job.temporary(self._overlay_name), video.fps, sound=video.sound()
      )
      self._sheet = writers.ContactSheet(job.temporary(self._sheet_name))

  def mask_name(self, frame_name: str) -> str:
    """Name of a frame's mask, relative to the output folder."""
    return f'{self._folder}/{frame_name}.png'

  def write(self, frame_name, frame, ids, state=None):
    """Writes one frame's results.

    Args:
      frame_name: str.
      frame: uint8 [height, width, 3], RGB.
      ids: uint8 [height, width]; None if an earlier run wrote the mask.
      state: `previous_tensors` of the segmenter after this frame.
    """
    name = self.mask_name(frame_name)
    if ids is not None:
      data = masks.encode_mask(ids, self._palette)
      self._job.write(name, data, frame=frame_digest(frame))
    if self._overlay is not None:
      ids = masks.read_mask(self._job.path(name), void=False).ids if ids is None else ids
      picture = masks.overlay(frame, ids, self._palette, void_id=None)
      self._overlay.write_picture(picture, self._video.frame_time(self._count))
      self._sheet.add(picture, frame_name)
    self._count += 1
    if state is not None:
      self._state = self._count, state
      if time.monotonic() - self._time > _SECONDS_BETWEEN_STATES:
        with contextlib.suppress(OSError):  # A disk without room for it may have some for masks.
          self._save_state()

  def __enter__(self):
    return self

  def __exit__(self, kind, *unused):
    if kind is None:
      self._finish_pictures()
      return
    try:
      self._save_state()
      self._finish_pictures()
    except (OSError, ValueError):
      pass  # The first error is the one to report.

  def _save_state(self):
    if self._state is not None:
      count, tensors = self._state
      self._state, self._time = None, time.monotonic()
      self._job.save_state(count, [np.asarray(tensor) for tensor in tensors])

  def _finish_pictures(self):
    if self._overlay is None:
      return
    if not self._count:
      self._overlay.close()
      return
    for writer, finish, name in (
      (self._overlay, self._overlay.close, self._overlay_name),
      (self._sheet, self._sheet.write, self._sheet_name),
    ):
      finish()
      self._job.adopt(name, writer.path)


def frame_digest(frame: np.ndarray) -> str:
  """Hash of a frame's pixels, uint8 [height, width, 3]."""
  return result_folder.digest(np.ascontiguousarray(frame).data)
