"""What is to be segmented: the frames, the masks given on them and the direction, all checked."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import dataclasses
import pathlib
import re
from typing import cast

from feelvos_tf.datasets import data_warning
from feelvos_tf.datasets import masks
from feelvos_tf.datasets import object_ids
from feelvos_tf.datasets.mask_files import drawn
from feelvos_tf.datasets.mask_files import placed
from feelvos_tf.datasets.mask_files import reading
from feelvos_tf.datasets.sources.part import Part
from feelvos_tf.datasets.video import Video
from feelvos_tf.inference import given_masks


@dataclasses.dataclass(frozen=True)
class Request:
  """What a person asks for, as text.

  Attributes:
    masks: `PATH` or `FRAME:PATH` each; see `mask_files.placed`.
    remove: `ID@FRAME` each.
    direction: 'forward', 'backward' or 'both'.
    start: first frame, by name or number; '' for the first that gets a mask.
    end: last frame, likewise.
    drawings: (kind, text) each; see `mask_files.drawn`.
  """

  masks: Sequence[str] = ()
  remove: Sequence[str] = ()
  direction: str = 'forward'
  start: str = ''
  end: str = ''
  drawings: Sequence[tuple[str, str]] = ()


@dataclasses.dataclass(frozen=True)
class Job:
  """A video to segment.

  Attributes:
    video: `Video`, from the first to the last frame that gets a mask.
    given: `GivenMasks` with the indices of that video.
    lines: what to tell the person before the run.
    last: index of the last frame that gets a mask; None: the last one of the video.
  """

  video: Video
  given: given_masks.GivenMasks
  lines: tuple[str, ...] = ()
  last: int | None = None

  @property
  def num_frames(self) -> int | None:
    """How many frames get a mask; None: as many as come, whatever a container claims."""
    if self.video.seeks:
      return self.video.num_frames
    return None if self.last is None else self.last + 1


def prepare(
  video: Video,
  request: Request,
  options: reading.MaskOptions = reading.MaskOptions(),
  sequence_path: str = '',
  draw: Callable | None = None,
) -> Job:
  """Reads or draws the masks and cuts the video to the frames that get one.

  Args:
    video: the whole video.
    request: Request.
    options: how masks are read.
    sequence_path: folder below a data set's root where masks of this sequence lie.
    draw: function: (frame, list of `drawn.Hints`) -> ids, for the request's drawings.

  Raises:
    FileNotFoundError: there is no such mask.
    ValueError: a mask that cannot be read, frames that are not there, or masks that do not fit
      the direction.
  """
  start, end = (
    _frame(text, video, f'--{flag}')
    for flag, text in (('start', request.start), ('end', request.end))
  )
  Part(video, start or 0, end)  # Refuses frames in the wrong order.
  default = _default_frame(video, request, start, end)
  places = [placed.parse(value) for value in request.masks]
  files = placed.files_by_frame(places, video, default, sequence_path)
  drawings = _drawings_by_frame(request, video, default)
  if both := sorted(files.keys() & drawings.keys()):
    raise ValueError(
      f'a mask and a drawing for frame {both[0]} given, expected one of them; see --mask and --box'
    )
  given_at = {*files, *drawings}
  inside = {i for i in given_at if (start or 0) <= i and (end is None or i <= end)}
  if not inside:
    raise ValueError(
      f'masks of the frames {_listed(given_at)} given, expected one from frame {start or 0} to '
      f'{"the end" if end is None else end}; see --start and --end'
    )
  read = placed.read({i: p for i, p in files.items() if i in inside}, video, options)
  drawings = {i: shapes for i, shapes in drawings.items() if i in inside}
  of_masks = {i: given.mask.object_ids for i, given in read.items()}
  for index, shapes in drawn.with_ids(drawings, of_masks, request.direction == 'backward').items():
    read[index] = _drawn(video, index, shapes, cast(Callable, draw))
    if len(inside) > 1:  # Else the mask shows them in their order.
      read[index].names = {cast(int, shape.object_id): f'--{shape.kind}' for shape in shapes}
  removals = [_removal(text, video) for text in request.remove]
  by_frame = {i: g.mask for i, g in read.items()}
  given = given_masks.GivenMasks(by_frame, removals, request.direction)
  if end is not None and (late := [one for one in given.removals if one[1] > end]):
    _warn_of_removals_behind_end(video, late, end)
    in_time = set(given.removals) - set(late)
    given = given_masks.GivenMasks(by_frame, in_time, request.direction)
  first = given.frames[0] if request.direction == 'forward' else start or 0
  last = given.frames[-1] if request.direction == 'backward' else end
  lines = [*_names(read), *_ranges(video, given, start or 0, end)]
  if outside := given_at - inside:
    lines.append(
      f'{video.name}: masks of the frames {_listed(outside)} lie outside --start and --end and are '
      'left out'
    )
  for mask in read.values():
    for hint in mask.hints:
      data_warning.warn(hint)
  _warn_of_masks_that_bring_back(video, given, first)
  return Job(
    Part(video, first, last),
    given.starting_at(first),
    tuple(lines),
    None if last is None else last - first,
  )


def _drawings_by_frame(
  request: Request, video: Video, default: int
) -> dict[int, list[drawn.Drawing]]:
  """{index: list of `Drawing`}."""
  found: dict[int, list] = {}
  for kind, text in request.drawings:
    drawing = drawn.parse(kind, text)
    where = f'--{kind}={text}'
    index = default if drawing.frame is None else placed.frame_index(drawing.frame, video, where)
    found.setdefault(index, []).append(drawing)
  return found


def _drawn(
  video: Video, index: int, drawings: Sequence[drawn.Drawing], draw: Callable
) -> reading.GivenMask:
  hints = drawn.hints_of(drawings, video.frame_size)
  try:
    frame = video.frame(index)
  except IndexError as error:  # Of a source that only reads forward.
    kinds = ', '.join(sorted({f'--{one.kind}' for one in drawings}))
    raise ValueError(f'{error}; a drawing for frame {index} given, see {kinds}') from None
  given = reading.GivenMask(masks.Mask(draw(frame, hints)))
  for one in hints:
    if not (given.mask.ids == one.object_id).any():
      given.hints.append(
        f'frame {index}: nothing of object {one.object_id} is left, as objects of higher ids are drawn '
        'over it; end its text with a higher ,id=N to have it on top'
      )
  return given


def given_paths(request: Request) -> list[pathlib.Path]:
  """Files and folders of the masks.

  Raises:
    FileNotFoundError: there is no such file.
  """
  return [placed.parse(value).path for value in request.masks]


def _frame(text: str, video: Video, where: str) -> int | None:
  return placed.frame_index(text, video, where) if str(text) else None


def _default_frame(video: Video, request: Request, start: int | None, end: int | None) -> int:
  """Index of the frame of masks without one."""
  if request.direction != 'backward':
    return start or 0
  if end is not None:
    return end
  if video.seeks:
    return cast(int, video.num_frames) - 1  # Videos that seek know it.
  places = [placed.parse(value) for value in request.masks]
  drawings = [drawn.parse(kind, text) for kind, text in request.drawings]
  if any(p.frame is None and not p.path.is_dir() for p in places) or any(
    drawing.frame is None for drawing in drawings
  ):
    raise ValueError(
      f'{video.name}: backwards, which frame is the last has to be known; give the frame of the '
      'mask (--mask=120:last.png, --box=120:40,30,120,90) or --end=120'
    )
  return 0


def _removal(text: str, video: Video) -> tuple[int, int]:
  """(object id, index of the frame) of `ID@FRAME`."""
  match = re.fullmatch(r'(\d+)@(.+)', str(text))
  if not match or not object_ids.is_object_id(int(match[1])):
    raise ValueError(
      f'--remove={text} given, expected ID@FRAME ({object_ids.GIVEN_IDS}), for example 2@40'
    )
  return int(match[1]), placed.frame_index(match[2], video, f'--remove={text}')


def _names(read: Mapping[int, reading.GivenMask]) -> Iterator[str]:
  for index, given in sorted(read.items()):
    if given.names:
      listed = ', '.join(f'{i}: {given.names[i]}' for i in sorted(given.names))
      where = f' on frame {index}' if len(read) > 1 else ''
      yield f'objects of the mask{where}: {listed}'


def _ranges(
  video: Video, given: given_masks.GivenMasks, start: int, end: int | None
) -> Iterator[str]:
  """Which frames have masks, and which get none."""
  if len(given.frames) > 1:
    yield f'{video.name}: masks given on frames {_listed(given.frames)}'
  if given.direction == 'forward' and given.frames[0] > start:
    last = given.frames[0] - 1
    before = f'frame {start} lies' if start == last else f'frames {start} to {last} lie'
    gets = 'gets' if start == last else 'get'
    yield f'{video.name}: {before} before the first mask and {gets} none; --direction=both is for them'
  if end is None and video.seeks:
    end = cast(int, video.num_frames) - 1
  if given.direction == 'backward' and end != given.frames[-1]:
    yield (
      f'{video.name}: frames behind {given.frames[-1]}, the last mask, get none; --direction=both '
      'segments them'
    )


def _warn_of_masks_that_bring_back(video: Video, given: given_masks.GivenMasks, first: int) -> None:
  """Warns of objects that are removed on a frame whose mask holds them: the mask counts."""
  for object_id, index in given.removals:
    frame = max(index, first)
    if object_id in given.gone(frame) or frame not in given.frames:
      continue
    data_warning.warn(
      f'{video.name}: object {object_id} is to be removed at frame {index} and stays, as the mask of '
      f'frame {frame} holds it; give a later frame, or take it out of that mask'
    )


def _warn_of_removals_behind_end(
  video: Video, removals: Iterable[tuple[int, int]], end: int
) -> None:
  """Warns of objects that are removed behind --end, before the frames are segmented."""
  for object_id, index in removals:
    data_warning.warn(
      f'{video.name}: object {object_id} is to be removed at frame {index} and stays, as --end={end} is '
      'the last frame; check --remove and --end'
    )


def _listed(frames: Iterable[int], most: int = 8) -> str:
  frames = sorted(frames)
  text = ', '.join(map(str, frames[:most]))
  return text if len(frames) <= most else f'{text}, ... ({len(frames)} in all)'
