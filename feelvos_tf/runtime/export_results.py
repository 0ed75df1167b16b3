"""Masks of a finished video in further forms, as files of its job in the output folder."""

from collections.abc import Callable, Iterable, Iterator, Sequence
import dataclasses
import itertools
import pathlib
from typing import TYPE_CHECKING

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.result_files import writing
from feelvos_tf.datasets.result_files.target import Files
from feelvos_tf.datasets.result_files.target import ResultFrame
from feelvos_tf.datasets.result_files.target import Target
from feelvos_tf.datasets.video import Video
from feelvos_tf.files import whole_file

if TYPE_CHECKING:
  import numpy as np

  from feelvos_tf.runtime.result_folder import Job


@dataclasses.dataclass(frozen=True)
class Forms:
  """What is written in addition to the masks.

  Attributes:
    formats: keys of `result_files.writing.FORMATS`.
    labels: {object id: name of its class}.
  """

  formats: tuple[str, ...] = ()
  labels: dict[int, str] = dataclasses.field(default_factory=dict)


def names(
  name: str, video: Video, frame_names: Sequence[str], object_ids: Iterable[int], forms: Forms
) -> list[str]:
  """Files that `export` writes, relative to the output folder.

  Args:
    name: see `export`.
    video: see `export`.
    frame_names: of the frames that get masks.
    object_ids: of all objects.
    forms: see `export`.
  """
  files = Files(name or video.name, frame_names, sorted(object_ids))
  found = writing.file_names(forms.formats, files)
  return [_place(form, name, file) for form, below in found.items() for file in below]


def _place(form: str, name: str, file: str) -> str:
  return str(pathlib.PurePosixPath(form, name, file))


def export(
  job: 'Job', name: str, video: Video, forms: Forms, mask_name: Callable[[str], str]
) -> None:
  """Writes `<form>/...`, of several videos `<form>/<name>/...`.

  Args:
    job: `result_folder.Job`.
    name: '' or the name of the video.
    video: `Video` whose frames all have masks.
    forms: Forms.
    mask_name: function: name of a frame -> name of its mask, relative to the output folder.

  Raises:
    ValueError: a form cannot be written, or other files are where its files go.
  """
  if not forms.formats:
    return
  with whole_file.temporary_folder(job.folder) as folder:
    target = Target(
      folder,
      name or video.name,
      video.frame_size,
      video.fps,
      forms.labels,
      suffixes=video.frame_suffixes,
      goes_on='cvat' in forms.formats and video.goes_on(),
    )
    writing.write(_frames(job, video, forms, mask_name), forms.formats, target)
    for form in forms.formats:
      for path in sorted(p for p in (folder / form).rglob('*') if p.is_file()):
        final = _place(form, name, path.relative_to(folder / form).as_posix())
        job.path(final).parent.mkdir(parents=True, exist_ok=True)
        job.adopt(final, path)


def _frames(
  job: 'Job', video: Video, forms: Forms, mask_name: Callable[[str], str]
) -> Iterator[ResultFrame]:
  frames: Iterable[np.ndarray | None] = itertools.repeat(None, len(job.frames()))
  if writing.needs_frames(forms.formats):
    frames = video.frames()
  for index, frame in enumerate(frames):
    frame_name = video.frame_names[index]
    path = job.path(mask_name(frame_name))
    if not path.is_file():  # Backward, frames behind the last mask have none.
      return
    ids = masks.read_mask(path, void=False, own=True).ids
    yield ResultFrame(frame_name, video.first_index + index, ids, frame, video.frame_time(index))
