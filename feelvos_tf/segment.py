r"""Segments a video: frames and the masks of some in, masks of every frame out.

  feelvos segment --input=clip.mp4 --mask=first.png --output=result
  feelvos segment --input=clip.mp4 --mask=first.png --mask=30:late.png --output=result

Writes result/masks/*.png (palette PNGs with the ids and the palette of the given mask),
result/frames.csv (area, box and confidence of every object on every frame), result/overlay.mp4 and
result/overview.png, and prints which frames to look at first. With a DAVIS-style root:

  feelvos segment --input=DAVIS --sequence=bear --sequence=camel --output=result

writes result/masks/bear/*.png, result/bear.frames.csv, result/bear.overlay.mp4 and so on, a
folder that `feelvos evaluate --results_dir=result/masks` takes. A folder of clips:

  feelvos segment --input=clips --mask=masks --output=results

segments clips/cow.mp4 with masks/cow.png into results/cow, clips/dog/*.jpg with masks/dog.png or
masks/dog/*.png into results/dog, and so on.

The output folder knows which files runs wrote (`runtime/result_folder.py`): --overwrite replaces
those and no others, and after an interruption the same command goes on where it was.
"""

import dataclasses
import pathlib
import sys
import threading
from typing import Any, cast, NamedTuple, TYPE_CHECKING
import uuid

from absl import flags

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import names
from feelvos_tf.datasets.result_files import writing
from feelvos_tf.datasets.sources import clip_folder
from feelvos_tf.datasets.sources import folder
from feelvos_tf.datasets.sources import live
from feelvos_tf.inference import given_masks
from feelvos_tf.model import default_model
from feelvos_tf.runtime import command_line
from feelvos_tf.runtime import export_results
from feelvos_tf.runtime import many_clips
from feelvos_tf.runtime import model_flags
from feelvos_tf.runtime import preview
from feelvos_tf.runtime import progress
from feelvos_tf.runtime import result_folder
from feelvos_tf.runtime import segment_flags
from feelvos_tf.runtime import segment_job
from feelvos_tf.runtime import segment_run
from feelvos_tf.runtime import segmenter_flags
from feelvos_tf.runtime.tensorflow_start import start_tensorflow

if TYPE_CHECKING:
  from feelvos_tf.inference.segmenter import VideoSegmenter


FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the flags; only when run as a program, so that mains can be imported together."""
  segment_flags.define_flags()


def main() -> int:
  """Checks flags and files, then segments one video after another, or a folder of clips."""
  if _is_clip_folder():
    return _segment_clips()
  inputs = _inputs()
  segmenter_flags.from_flags()  # Before anything is written.
  segment_flags.mask_options()
  path = pathlib.Path(FLAGS.output)
  result_folder.check_inputs(path, [p for i in inputs for p in (*i.video.files, *i.mask_paths)])
  forms = segment_flags.forms()
  segmenter = _segmenter() if segment_flags.drawings() else None
  jobs = [(i.name, _job(i, segmenter)) for i in inputs]
  if FLAGS.preview:
    print(preview.write(FLAGS.preview, jobs[0][1]))
    return 0
  deciding = _deciding(jobs)
  run, plans = segment_run.run_id(*deciding), segment_run.plans(*deciding)
  wanted = segment_run.all_pictures(plans, FLAGS.pictures)
  with result_folder.ResultFolder(path, run, FLAGS.overwrite, plans, wanted) as output:
    segmenter = segmenter or _segmenter()
    for name, job in jobs:
      count = segment_run.segment(
        segmenter, job.video, job.given, output, name, FLAGS.pictures, forms
      )
      print(f'{job.video.name}: {count} masks in {path / "masks" / name}')
      if left_out := getattr(inputs[0].video, 'left_out_frames', 0):
        print(f'{left_out} frames came while others were segmented, and were left out')
    output.finish()
  return 0


def _is_clip_folder() -> bool:
  is_plain = bool(FLAGS.input) and not FLAGS.sequence and not live.is_live(FLAGS.input)
  return is_plain and clip_folder.is_clip_folder(FLAGS.input)


def _segment_clips() -> int:
  """Segments a folder of clips; returns the exit code, 1 if one of them went wrong."""
  if not FLAGS.output:
    raise command_line.UsageError('--output is missing.')
  if segment_flags.drawings() or FLAGS.preview or FLAGS.remove or FLAGS.start or FLAGS.end:
    raise command_line.UsageError(
      f'{FLAGS.input} holds clips, and --box, --remove, --start and the like are about one video; '
      'give one clip.'
    )
  if len(FLAGS.mask) > 1 or not all(pathlib.Path(mask).is_dir() for mask in FLAGS.mask):
    raise command_line.UsageError(
      f'{FLAGS.input} holds clips; expected one --mask, the folder of their masks.'
    )
  segmenter_flags.from_flags()
  segment_flags.mask_options()
  output, forms = pathlib.Path(FLAGS.output), segment_flags.forms()
  result_folder.check_inputs(output, [FLAGS.input, *FLAGS.mask])
  clips = clip_folder.find(FLAGS.input, *FLAGS.mask)
  if missing := [clip.name for clip in clips if clip.masks is None]:
    where = FLAGS.mask[0] if FLAGS.mask else FLAGS.input
    raise FileNotFoundError(
      f'{where}: no mask of {missing[0]} ({len(missing)} of {len(clips)} clips have none); expected '
      f'{missing[0]}.png or a folder of masks.'
    )
  first = _segmenter()
  failed = many_clips.run_all(
    clips,
    lambda clip, segmenter, stop: _segment_clip(clip, segmenter, stop, output / clip.name, forms),
    lambda: type(first)(first.graph, **dataclasses.asdict(first.options)),
    min(FLAGS.clips_at_once, len(clips)),
  )
  print(f'{len(clips) - len(failed)} of {len(clips)} clips in {output}')
  if failed:
    print(f'went wrong, see above: {", ".join(failed)}', file=sys.stderr)
  return 1 if failed else 0


def _segment_clip(
  clip: clip_folder.Clip,
  segmenter: 'VideoSegmenter',
  stop: threading.Event,
  path: pathlib.Path,
  forms: export_results.Forms,
) -> None:
  masks_path = cast(pathlib.Path, clip.masks)  # Clips without one were refused.
  video = folder.open_video(clip.path, leave_out=[masks_path])
  job = _job(_Input(video, [str(masks_path)], [masks_path], ''))
  deciding = _deciding([('', job)])
  run, plans = segment_run.run_id(*deciding), segment_run.plans(*deciding)
  stoppable = many_clips.StoppableVideo(job.video, stop)
  if not FLAGS.overwrite and _has_all(path, run, plans):
    if not segment_run.is_of(stoppable, result_folder.frames_of(path), '', job.given):
      raise ValueError(
        f'{path}: results of other frames than those of {clip.path} are there; choose another output '
        'folder or add --overwrite'
      )
    print(f'{clip.name}: is done, in {path / "masks"}')
    return
  wanted = segment_run.all_pictures(plans, FLAGS.pictures)
  with result_folder.ResultFolder(path, run, FLAGS.overwrite, plans, wanted) as output:
    count = segment_run.segment(
      segmenter, stoppable, job.given, output, pictures=FLAGS.pictures, forms=forms
    )
    output.finish()
  print(f'{clip.name}: {count} masks in {path / "masks"}')


def _has_all(path: pathlib.Path, run: str, plans: dict[str, dict]) -> bool:
  """Whether a folder has all results of a run, and the pictures that this one asks for."""
  pictures = segment_run.all_pictures(plans, FLAGS.pictures)
  there = all((path / name).is_file() for name in pictures)
  return there and result_folder.holds_results(path, run, plans)


class _Input(NamedTuple):
  """A video that the flags ask for: `Video`, masks as text, their paths, name of the output."""

  video: Any
  masks: list
  mask_paths: list
  name: str


def _deciding(jobs: list[tuple[str, segment_job.Job]]) -> tuple:
  """Model, options and given masks: arguments of `segment_run.run_id`."""
  model = FLAGS.seeded_model or result_folder.file_digest(default_model.model_path(FLAGS.model))
  if any(job.video.live for _, job in jobs):
    model = f'{model} {uuid.uuid4()}'  # Its frames do not come again.
  options = {
    n: FLAGS[n].value
    for n in (*segmenter_flags.FLAG_NAMES, 'previous_prediction', 'format', 'label')
  }
  return model, options, [(name, job.given, job.num_frames) for name, job in jobs]


def _inputs() -> list[_Input]:
  """List of `_Input` the flags ask for."""
  for flag in ('input', 'output'):
    if not getattr(FLAGS, flag):
      raise command_line.UsageError(f'--{flag} is missing.')
  root = pathlib.Path(FLAGS.input)
  images = root / 'JPEGImages' / FLAGS.resolution
  if FLAGS.preview and not segment_flags.drawings():
    raise command_line.UsageError('--preview shows what --box and the like give; add one.')
  if FLAGS.sequence:
    if segment_flags.drawings():
      raise command_line.UsageError('--sequence brings its masks; leave out --box and the like.')
    if any(not pathlib.Path(mask).is_dir() for mask in FLAGS.mask):
      raise command_line.UsageError(
        '--mask and --sequence exclude each other, unless the masks are a tree of them: a '
        'DAVIS-style root brings its masks.'
      )
    return [_davis_input(root, images, sequence) for sequence in FLAGS.sequence]
  if images.is_dir():
    raise command_line.UsageError(
      f'{root} is a DAVIS-style root; say which sequence: --sequence=NAME.'
    )
  if not FLAGS.mask and not segment_flags.drawings():
    raise command_line.UsageError(
      '--mask is missing: a PNG with the objects on the first frame, or --box=x,y,width,height.'
    )
  if live.is_live(FLAGS.input):
    return [_live_input()]
  names.check_local(FLAGS.input, '--input')
  if not root.exists():
    raise FileNotFoundError(f'{root}: no such file or folder; check --input.')
  paths = segment_job.given_paths(segment_flags.request(FLAGS.mask))
  video = folder.open_video(clip_folder.frames_of_clip(root), leave_out=paths)
  for name in getattr(video, 'left_out', ()):
    print(f'{root}: {name} is the mask, not a frame')
  return [_Input(video, FLAGS.mask, paths, '')]


def _live_input() -> _Input:
  if FLAGS.direction != 'forward':
    raise command_line.UsageError('a live source goes forward; leave out --direction.')
  if writing.needs_frames(FLAGS.format):
    raise command_line.UsageError(
      f'--format={",".join(FLAGS.format)} shows frames, and those of a live source are gone; '
      'record it, or leave the form out.'
    )
  paths = segment_job.given_paths(segment_flags.request(FLAGS.mask))
  return _Input(live.LiveVideo(FLAGS.input, FLAGS.take), FLAGS.mask, paths, '')


def _davis_input(root: pathlib.Path, images: pathlib.Path, sequence: str) -> _Input:
  names.check_name(sequence, '--sequence')
  if not names.place_of(images, sequence).is_dir():
    raise FileNotFoundError(
      f'{images / sequence}: no such folder; expected frames of the sequence '
      f'{sequence} there. Check --input, --sequence and --resolution.'
    )
  sequence = names.place_of(images, sequence).name
  video = folder.open_video(images / sequence)
  if FLAGS.mask:
    return _Input(video, FLAGS.mask, [pathlib.Path(mask) for mask in FLAGS.mask], sequence)
  name = video.frame_names[0]
  annotations = names.place_of(root / 'Annotations' / FLAGS.resolution, sequence)
  of_first = names.paired([name], masks.list_masks(annotations))
  mask = of_first.get(name, annotations / f'{name}.png')
  return _Input(video, [], [mask], sequence)


def _job(given: _Input, segmenter: 'VideoSegmenter | None' = None) -> segment_job.Job:
  """`segment_job.Job` of an `_Input`; says what became of the masks."""
  if given.name and not given.masks:
    return _davis_job(given)
  options = segment_flags.mask_options(given.video.stored_size)
  path = f'Annotations/{FLAGS.resolution}/{given.name}' if given.name else ''
  draw = None
  if segmenter is not None:
    from feelvos_tf.inference import first_mask

    draw = first_mask.drawer(segmenter)
  job = segment_job.prepare(given.video, segment_flags.request(given.masks), options, path, draw)
  for line in job.lines:
    print(line)
  return job


def _davis_job(given: _Input) -> segment_job.Job:
  """Masks of a data set's first frame: 255 is void, and nobody's, unless it is the only value."""
  if FLAGS.direction != 'forward' or FLAGS.start or FLAGS.end or FLAGS.remove:
    raise command_line.UsageError(
      '--direction, --start, --end and --remove with --sequence need masks: add '
      f'--mask={FLAGS.input}, for all masks of the sequence, or --mask=TREE with some of them.'
    )
  mask = masks.read_mask(given.mask_paths[0], require_object=True, void=False)
  given.video.check_mask_size(mask, str(given.mask_paths[0]))
  if ((mask.ids != 0) & (mask.ids != masks.VOID_ID)).any():
    mask.ids[mask.ids == masks.VOID_ID] = 0
  return segment_job.Job(given.video, given_masks.of(mask))


def _segmenter() -> 'VideoSegmenter':
  # TensorFlow takes seconds to import; wrong flags and files are reported before.
  model_flags.check()
  options = dataclasses.asdict(segmenter_flags.from_flags())
  overrides = segmenter_flags.model_overrides()
  if FLAGS.previous_prediction:
    overrides['previous_prediction'] = FLAGS.previous_prediction
  with progress.Waiting('loading the model'):
    start_tensorflow()
    from feelvos_tf.inference.segmenter import VideoSegmenter

    return VideoSegmenter(model_flags.load(**overrides).model, **options)


if __name__ == '__main__':
  command_line.run(main, define_flags, takes_addresses=('input',))
