"""From files to files in one call: a video and masks of it in, masks and pictures out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import os
import pathlib
from typing import TYPE_CHECKING, TypeAlias
import uuid

if TYPE_CHECKING:
  from feelvos_tf.inference.options import SegmenterOptions
  from feelvos_tf.model.feelvos import Feelvos
  from feelvos_tf.runtime import segment_job


# What `segment_video` takes as masks.
Masks: TypeAlias = (
  str | os.PathLike | Sequence[str | os.PathLike] | Mapping[int | str, str | os.PathLike] | None
)


def segment_video(
  input: str | os.PathLike,
  mask: Masks,
  output: str | os.PathLike,
  model: 'Feelvos | str | os.PathLike | None' = None,
  *,
  overwrite: bool = False,
  pictures: bool = True,
  precision: str | None = None,
  speed: str = 'balanced',
  max_internal_size: int | None = None,
  image_pyramid: Sequence[float] = (1.0,),
  merge_method: str = 'max',
  flip: bool = False,
  direction: str = 'forward',
  remove: Sequence[tuple[int, int | str]] = (),
  start: int | str | None = None,
  end: int | str | None = None,
  drawings: Sequence[tuple[str, str]] = (),
  formats: Sequence[str] = (),
  labels: Mapping[int, str] | None = None,
) -> pathlib.Path:
  """Segments a video file or a folder of frames; what the command `feelvos segment` does.

  Args:
    input: video file or folder of frames.
    mask: the objects on the first frame: a picture (palette or grey: pixel values are object ids),
      an annotation file, or a list of pictures with one object each. Masks of several frames:
      {frame: such a mask}, or a folder of masks named like frames. Frames are numbers from 0 or
      names. A later mask of new objects only adds them; any other corrects the whole frame. None
      with `drawings`.
    output: folder to write to: masks/<frame>.png with the ids and the palette of `mask`,
      frames.csv (see `runtime.frame_table`), overlay.mp4 and overview.png.
    model: `Feelvos`, a weights file of `save_model`, or None: the model that comes with the
      project.
    overwrite: bool, write to a folder that is not empty: results of earlier runs are replaced,
      other files stay. After an interruption, the same call goes on where it was; with further
      masks or removals, only the frames that depend on them are segmented again.
    pictures: bool, write overlay.mp4 and overview.png.
    precision: 'float32', 'bfloat16' or 'auto', for a model that is read here. None: 'auto' for
      the model that comes with the project, 'float32' for a file.
    speed: 'fast', 'balanced' or 'best', see `feelvos_tf.inference.speed`; what it changes in the
      model counts for a model that is read here. The next four count more than `speed` where they
      differ from their defaults.
    max_internal_size: longer side in pixels at which frames are segmented; None: the model's option
      `largest_side`, 854 for the model that comes with the project.
    image_pyramid: scales at which every frame is segmented.
    merge_method: 'max' or 'avg', how the logits of the scales are merged.
    flip: bool, also segment every frame mirrored.
    direction: 'forward', 'backward' or 'both', in which objects are followed from the masks; both:
      merged between two masks.
    remove: (object id, frame) each: from that frame on no mask holds the object.
    start: first frame to segment; None: the first that gets a mask.
    end: last frame to segment.
    drawings: what is drawn instead of masks or on other frames: (kind, text) each, kind 'box',
      'points', 'scribble' or 'polygon', text as the flag of that name takes it:
      ('box', '30:120,80,200,150,id=2').
    formats: also write the masks in these forms, keys of
      `datasets.result_files.writing.FORMATS`: 'coco', 'cvat', 'cutouts', ...; see docs/results.md.
    labels: {object id: name of its class} for these.

  Returns:
    Path of the folder of masks.

  Raises:
    FileNotFoundError: there is no such video, mask or weights file.
    ValueError: a file cannot be read, mask and frames differ in size, the folder is not empty, or
      an option is refused.
  """
  from feelvos_tf.datasets import names as names_lib
  from feelvos_tf.datasets.result_files import writing
  from feelvos_tf.inference.options import SegmenterOptions
  from feelvos_tf.inference.segmenter import VideoSegmenter
  from feelvos_tf.runtime import export_results
  from feelvos_tf.runtime import result_folder
  from feelvos_tf.runtime import segment_job
  from feelvos_tf.runtime import segment_run

  for name, place in (('input', input), ('output', output)):
    if not os.fspath(place):  # pathlib takes it for the current folder.
      raise ValueError(f'{name}: an empty name given, expected a file or folder.')
  input, output = pathlib.Path(input), pathlib.Path(output)
  if isinstance(formats, str):
    raise ValueError(f'formats: {formats!r} given, expected a list of forms such as ["coco"].')
  drawings = _pairs(drawings, 'drawings', '[("box", "9,9,40,30")]')
  request = segment_job.Request(
    _as_text(mask),
    [f'{object_id}@{frame}' for object_id, frame in _pairs(remove, 'remove', '[(2, 40)]')],
    direction,
    start='' if start is None else str(start),
    end='' if end is None else str(end),
    drawings=drawings,
  )
  options = _with_preset(
    speed, SegmenterOptions(max_internal_size, tuple(image_pyramid), merge_method, flip)
  )
  named = writing.parse_labels([f'{i}:{name}' for i, name in (labels or {}).items()])
  forms = export_results.Forms(tuple(formats), named)
  writing.check_formats(formats)
  writing.check_installed(formats)
  segmenter = None
  make = lambda: VideoSegmenter(_load(model, precision, speed), **dataclasses.asdict(options))
  if drawings:
    from feelvos_tf.inference import first_mask

    segmenter = make()
    job = _job(input, output, request, first_mask.drawer(segmenter))
  else:
    job = _job(input, output, request)
  for line in job.lines:
    names_lib.tell(line)
  settings = {'precision': precision, 'speed': speed, 'forms': forms, **dataclasses.asdict(options)}
  deciding = _model_id(model), settings, [('', job.given, job.num_frames)]
  run, plans = segment_run.run_id(*deciding), segment_run.plans(*deciding)
  wanted = segment_run.all_pictures(plans, pictures)
  with result_folder.ResultFolder(output, run, overwrite, plans, wanted) as results:
    segmenter = segmenter or make()
    segment_run.segment(segmenter, job.video, job.given, results, pictures=pictures, forms=forms)
    results.finish()
  return output / 'masks'


def _with_preset(speed: str, given: 'SegmenterOptions') -> 'SegmenterOptions':
  """Options of a preset, with those of `given` that are not the defaults."""
  from feelvos_tf.inference import speed as speed_lib

  changes = {
    field.name: getattr(given, field.name)
    for field in dataclasses.fields(given)
    if getattr(given, field.name) != field.default
  }
  return speed_lib.segmenter_options(speed, **changes)


def _as_text(mask: Masks) -> list[str]:
  """Masks as `segment_job.Request` takes them."""
  if mask is None:
    return []
  if isinstance(mask, Mapping):
    return [f'{frame}:{path}' for frame, given in mask.items() for path in _paths(given)]
  return _paths(mask)


def _paths(given: str | os.PathLike | Sequence[str | os.PathLike]) -> list[str]:
  """One path or several as text; refuses all else, an array above all."""
  paths = [given] if isinstance(given, (str, os.PathLike)) else given
  if isinstance(paths, Iterable):
    paths = list(paths)
    if all(isinstance(path, (str, os.PathLike)) for path in paths):
      return [os.fspath(path) for path in paths]
  raise ValueError(
    f'mask: {type(given).__name__} given, expected the path of a file or folder, a list of paths or '
    '{frame: path}; VideoSegmenter takes arrays.'
  )


def _pairs(given: Iterable[Iterable], name: str, example: str) -> list[tuple]:
  """A list of pairs, or an array of them; refuses all else, a single pair above all."""
  pairs = list(given) if isinstance(given, Iterable) else [given]
  if all(isinstance(pair, Iterable) and not isinstance(pair, str) for pair in pairs):
    found = [tuple(pair) for pair in pairs]
    if all(len(pair) == 2 for pair in found):
      return found
  raise ValueError(f'{name}: {given!r} given, expected a list of pairs such as {example}.')


def _job(
  input: pathlib.Path,
  output: pathlib.Path,
  request: 'segment_job.Request',
  draw: Callable | None = None,
) -> 'segment_job.Job':
  """`segment_job.Job`; refuses an output that holds an input."""
  from feelvos_tf.datasets import names
  from feelvos_tf.datasets.mask_files.given import MaskOptions
  from feelvos_tf.datasets.sources import clip_folder
  from feelvos_tf.datasets.sources import folder
  from feelvos_tf.runtime import result_folder
  from feelvos_tf.runtime import segment_job

  for path, name in ((input, 'input'), (output, 'output')):
    names.check_local(path, name)
  if not input.exists():
    raise FileNotFoundError(
      f'{input}: no such file or folder; expected a video file or a folder of frames.'
    )
  paths = segment_job.given_paths(request)
  video = folder.open_video(clip_folder.frames_of_clip(input), leave_out=paths)
  result_folder.check_inputs(output, [*video.files, *paths])
  if not request.masks and not request.drawings:
    raise ValueError('no mask given; expected a mask, or drawings such as [("box", "9,9,40,30")].')
  options = MaskOptions(stored_size=video.stored_size)
  return segment_job.prepare(video, request, options, draw=draw)


def _model_id(model: 'str | os.PathLike | Feelvos | None') -> str:
  """Name that tells weights apart; a model in memory gets a new one, so its run is not resumed."""
  from feelvos_tf.model import default_model
  from feelvos_tf.runtime import result_folder

  if model is None or isinstance(model, (str, os.PathLike)):
    return result_folder.file_digest(default_model.model_path(model))
  return uuid.uuid4().hex


def _load(
  model: 'str | os.PathLike | Feelvos | None', precision: str | None, speed: str
) -> 'Feelvos':
  from feelvos_tf.inference import speed as speed_lib
  from feelvos_tf.model import default_model
  from feelvos_tf.model import precision as precision_lib
  from feelvos_tf.model import weights

  if not (model is None or isinstance(model, (str, os.PathLike))):
    return model
  of_project = default_model.is_default(model)
  return weights.load_model(
    model, precision_lib.wanted(precision, of_project), **speed_lib.model_overrides(speed)
  )
