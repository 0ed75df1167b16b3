"""Writes the results of one video: masks, overlay video and contact sheet, frame by frame."""

from collections.abc import Sequence
import contextlib
import time
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import writers
from feelvos_tf.datasets.video import Video
from feelvos_tf.files import whole_file
from feelvos_tf.runtime import frame_table
from feelvos_tf.runtime import progress
from feelvos_tf.runtime import result_folder

if TYPE_CHECKING:
  from feelvos_tf.inference.given_masks import GivenMasks
  from feelvos_tf.inference.segmenter import SegmentedFrame


_SECONDS_BETWEEN_STATES = (
  15.0  # A state of a 1080p video is 60 MB; this costs under 1 % of the time.
)


class OtherFrames(Exception):
  """The frames are not those of the interrupted run."""


class Results:
  """Writes masks, overlay video and contact sheet, frame by frame; a context manager."""

  def __init__(
    self,
    job: result_folder.Job,
    name: str,
    given: 'GivenMasks',
    video: Video,
    pictures: bool = True,
  ) -> None:
    """Opens nothing yet.

    Args:
      job: `result_folder.Job`.
      name: '' or the name of the video, which sorts its files.
      given: `GivenMasks` with the palette to write.
      video: `video.Video`, whose times and sound the overlay gets.
      pictures: bool, whether to write the overlay and the contact sheet.
    """
    self._job, self._name = job, name
    self._palette, self._video = given.palette, video
    self._count = self._pictures = 0
    self._state: tuple[int, Sequence[np.ndarray]] | None = None
    self._time = time.monotonic()
    self._overlay_name, self._sheet_name = picture_names(name)
    self._writers: tuple[writers.OverlayVideoWriter, writers.ContactSheet] | None = None
    if pictures:
      overlay = writers.OverlayVideoWriter(
        job.temporary(self._overlay_name), video.fps, sound=video.sound()
      )
      self._writers = overlay, writers.ContactSheet(job.temporary(self._sheet_name))

  def mask_name(self, frame_name: str) -> str:
    """Name of a frame's mask, relative to the output folder."""
    return mask_name(self._name, frame_name)

  def write(
    self,
    frame_name: str,
    frame: np.ndarray,
    result: 'SegmentedFrame | None',
    state: Sequence[np.ndarray] | None = None,
    begun: Sequence[np.ndarray] | None = None,
  ) -> None:
    """Writes one frame's results, in the order of time.

    Args:
      frame_name: str.
      frame: uint8 [height, width, 3], RGB.
      result: `SegmentedFrame`; None if its mask is there already.
      state: `VideoSegmenter.previous_tensors` after this frame, which has their shapes; None saves
        nothing.
      begun: `VideoSegmenter.remembered` if the mask of this frame was given, else None.

    Raises:
      OSError: a file cannot be written.
    """
    self.write_mask(frame_name, frame, result, state, begun)
    if self._writers is not None:
      overlay, sheet = self._writers
      ids = self.read_mask(frame_name) if result is None else result.mask
      picture = masks.overlay(frame, ids, self._palette, void_id=None)
      with whole_file.named_errors(self._job.path(self._overlay_name)):
        overlay.write_picture(picture, self._video.frame_time(self._pictures))
      sheet.add(picture, frame_name)
    self._pictures += 1

  def write_mask(
    self,
    frame_name: str,
    frame: np.ndarray,
    result: 'SegmentedFrame | None',
    state: Sequence[np.ndarray] | None = None,
    begun: Sequence[np.ndarray] | None = None,
  ) -> None:
    """Writes one frame's mask, in the order in which frames are segmented.

    Args:
      frame_name: str.
      frame: uint8 [height, width, 3], RGB; its hash is noted.
      result: see `write`.
      state: see `write`.
      begun: see `write`.

    Raises:
      OSError: the mask cannot be written.
    """
    if result is not None:
      data = masks.encode_mask(result.mask, self._palette)
      self._job.write(
        self.mask_name(frame_name),
        data,
        frame=frame_digest(frame),
        objects=frame_table.rows_of(result),
      )
    self._count += 1
    if begun is not None:
      self._try_to_save(self._count, begun, result_folder.BEGIN)
      self._time = -np.inf  # What was remembered of the frame before is of no use now.
    if state is not None:
      self._state = self._count, state
      if time.monotonic() - self._time > _SECONDS_BETWEEN_STATES:
        self._save_state()

  def __enter__(self) -> 'Results':
    return self

  def __exit__(self, kind: type[BaseException] | None, *unused: object) -> None:
    if kind is None:
      with progress.Waiting(f'{self._video.name}: finishing the pictures', at_once=False):
        self._finish_pictures()
      return
    try:
      self._save_state()
      self._finish_pictures()
    except (OSError, ValueError):
      pass  # The first error is the one to report.

  def _save_state(self) -> None:
    if self._state is not None:
      (count, tensors), self._state, self._time = self._state, None, time.monotonic()
      self._try_to_save(count, tensors, result_folder.STATE)

  def _try_to_save(self, count: int, tensors: Sequence[np.ndarray], file: str) -> None:
    with contextlib.suppress(OSError):  # A disk without room for it may have some for masks.
      self._job.save_state(count, [np.asarray(tensor) for tensor in tensors], file)

  def read_mask(self, frame_name: str) -> NDArray[np.uint8]:
    """uint8 [height, width] of a mask that is there."""
    path = self._job.path(self.mask_name(frame_name))
    return masks.read_mask(path, void=False, own=True).ids

  def _finish_pictures(self) -> None:
    if self._writers is None:
      return
    overlay, sheet = self._writers
    with whole_file.named_errors(self._job.path(self._overlay_name)):
      overlay.close()
      if not self._count:
        return
      self._job.adopt(self._overlay_name, overlay.path)
    with whole_file.named_errors(self._job.path(self._sheet_name)):
      sheet.write()
      self._job.adopt(self._sheet_name, sheet.path)


def picture_names(name: str) -> tuple[str, str]:
  """Names of the overlay video and the contact sheet of the video `name`."""
  prefix = f'{name}.' if name else ''
  return f'{prefix}overlay.mp4', f'{prefix}overview.png'


def mask_name(name: str, frame_name: str) -> str:
  """Name of a frame's mask of the video `name`, relative to the output folder."""
  return f'{f"masks/{name}".rstrip("/")}/{frame_name}.png'


def frame_digest(frame: np.ndarray) -> str:
  """Hash of a frame's pixels, uint8 [height, width, 3]."""
  return result_folder.digest(np.ascontiguousarray(frame).data)
