r"""Segments a video: frames and the masks of the first frame in, masks of every frame out.

  feelvos segment --input=clip.mp4 --mask=first.png --output=result

Writes result/masks/*.png (palette PNGs with the ids and the palette of the given mask),
result/overlay.mp4 and result/overview.png. With a DAVIS-style root:

  feelvos segment --input=DAVIS --sequence=bear --sequence=camel --output=result

writes result/masks/bear/*.png, result/bear.overlay.mp4, result/bear.overview.png and so on, a
folder that `feelvos evaluate --results_dir=result/masks` takes.

The output folder knows which files runs wrote (`runtime/result_folder.py`): --overwrite replaces
those and no others, and after an interruption the same command goes on where it was.
"""

import dataclasses
import pathlib

from absl import flags

from feelvos_tf.datasets import data_warning
from feelvos_tf.datasets import masks
from feelvos_tf.datasets import names
from feelvos_tf.datasets.mask_files import reading
from feelvos_tf.datasets.sources import folder
from feelvos_tf.model import default_model
from feelvos_tf.runtime import command_line
from feelvos_tf.runtime import result_folder
from feelvos_tf.runtime import segment_run
from feelvos_tf.runtime import segmenter_flags
from feelvos_tf.runtime.tensorflow_start import start_tensorflow

FLAGS = flags.FLAGS


def define_flags():
  """Defines the flags; only when run as a program, so that mains can be imported together."""
  flags.DEFINE_string(
    'input', None, 'Video file, folder of frames, or DAVIS-style root with --sequence.'
  )
  flags.DEFINE_multi_string(
    'mask',
    [],
    'Masks of the objects on the first frame: a picture (palette or grey: values are object ids; '
    'or few exact colours on black), a COCO, labelme, CVAT or YOLO file, a folder, or, repeated, '
    'one picture an object. DAVIS roots bring their own.',
  )
  flags.DEFINE_float(
    'threshold',
    None,
    'The mask is soft grey of one object: grey from here on is the object; a share of white (0.5) '
    'or a level (128).',
  )
  flags.DEFINE_bool(
    'resize_mask', False, 'Resize a mask that differs from the frames in scale only.'
  )
  flags.DEFINE_enum(
    'value_255',
    'auto',
    ['auto', 'object', 'void'],
    'What 255 in the mask is next to other ids; auto: void (nobody) where it is a thin line along '
    'objects.',
  )
  flags.DEFINE_multi_string('sequence', [], 'Sequence of a DAVIS-style root; may be repeated.')
  flags.DEFINE_string('resolution', '480p', 'Folder of the DAVIS-style root to take.')
  flags.DEFINE_string('output', None, 'Folder to write to.')
  flags.DEFINE_bool(
    'overwrite',
    False,
    'Write to a folder that is not empty: results of earlier runs are replaced, other files stay.',
  )
  flags.DEFINE_string(
    'model',
    None,
    'Weights file of save_model; default: the pretrained model that comes with the project.',
  )
  flags.DEFINE_string(
    'seeded_model',
    None,
    'Instead of --model: this variant with seeded, '
    'untrained weights. For measuring time; the masks mean nothing.',
  )
  segmenter_flags.define_flags()
  flags.adopt_module_key_flags(segmenter_flags)  # So that --helpshort lists them.
  flags.DEFINE_enum(
    'previous_prediction',
    None,
    ['labels', 'probabilities'],
    'What the head receives of the previous frame; default: the option of the model.',
  )
  flags.DEFINE_bool('pictures', True, 'Write the overlay video and the contact sheet.')


def main():
  """Checks flags and files, then segments one video after another."""
  jobs = _jobs()
  segmenter_flags.from_flags()  # Before anything is written.
  _mask_options()
  path = pathlib.Path(FLAGS.output)
  result_folder.check_inputs(path, [p for video, given, _ in jobs for p in (*video.files, *given)])
  first_masks = [_first_mask(video, paths, bool(name)) for video, paths, name in jobs]
  with result_folder.ResultFolder(path, _run_id(jobs, first_masks), FLAGS.overwrite) as output:
    segmenter = _segmenter()
    for (video, _, name), mask in zip(jobs, first_masks):
      count = segment_run.segment(segmenter, video, mask, output, name, FLAGS.pictures)
      print(f'{video.name}: {count} masks in {path / "masks" / name}')
    output.finish()


def _run_id(jobs, first_masks):
  """Hash of what decides the masks, the frames left aside: they are compared one by one."""
  model = FLAGS.seeded_model or result_folder.file_digest(default_model.model_path(FLAGS.model))
  options = {n: FLAGS[n].value for n in (*segmenter_flags.FLAG_NAMES, 'previous_prediction')}
  names_and_masks = [(name, mask) for (_, _, name), mask in zip(jobs, first_masks)]
  return segment_run.run_id(model, options, names_and_masks)


def _jobs():
  """List of (Video, paths of the first mask, name of the output) the flags ask for."""
  for flag in ('input', 'output'):
    if not getattr(FLAGS, flag):
      raise command_line.UsageError(f'--{flag} is missing.')
  root = pathlib.Path(FLAGS.input)
  images = root / 'JPEGImages' / FLAGS.resolution
  if FLAGS.sequence:
    if FLAGS.mask:
      raise command_line.UsageError(
        '--mask and --sequence exclude each other: a DAVIS-style root brings its masks.'
      )
    return [_davis_job(root, images, sequence) for sequence in FLAGS.sequence]
  if images.is_dir():
    raise command_line.UsageError(
      f'{root} is a DAVIS-style root; say which sequence: --sequence=NAME.'
    )
  if not FLAGS.mask:
    raise command_line.UsageError('--mask is missing: a PNG with the objects on the first frame.')
  for flag, values in (('input', [FLAGS.input]), ('mask', FLAGS.mask)):
    for value in values:
      names.check_local(value, f'--{flag}')
  if not root.exists():
    raise FileNotFoundError(f'{root}: no such file or folder; check --input.')
  paths = [pathlib.Path(path) for path in FLAGS.mask]
  missing = [path for path in paths if not path.exists()]
  if missing:
    raise FileNotFoundError(f'{missing[0]}: no such mask file; check --mask.')
  video = folder.open_video(root, leave_out=paths)
  for name in getattr(video, 'left_out', ()):
    print(f'{root}: {name} is the mask, not a frame')
  return [(video, paths, '')]


def _davis_job(root, images, sequence):
  names.check_name(sequence, '--sequence')
  if not (images / sequence).is_dir():
    raise FileNotFoundError(
      f'{images / sequence}: no such folder; expected frames of the sequence '
      f'{sequence} there. Check --input, --sequence and --resolution.'
    )
  video = folder.open_video(images / sequence)
  name = video.frame_names[0]
  annotations = root / 'Annotations' / FLAGS.resolution / sequence
  mask = masks.list_masks(annotations).get(name, annotations / f'{name}.png')
  return video, [mask], sequence


def _first_mask(video, paths, of_data_set):
  """The mask of the first frame; every id but 0 is an object.

  In a data set's mask 255 is void, and nobody's, unless it is the only value.
  """
  if of_data_set:
    mask = masks.read_mask(paths[0], require_object=True, void=False)
    video.check_mask_size(mask, str(paths[0]))
    if ((mask.ids != 0) & (mask.ids != masks.VOID_ID)).any():
      mask.ids[mask.ids == masks.VOID_ID] = 0
    return mask
  given = reading.read_given_mask(
    paths, video.frame_size, video.frame_names[0], _mask_options(video.stored_size), video.name
  )
  if given.names:
    listed = ', '.join(f'{i}: {given.names[i]}' for i in sorted(given.names))
    print(f'objects of the mask: {listed}')
  for hint in given.hints:
    data_warning.warn(hint)
  return given.mask


def _mask_options(stored_size=None):
  try:
    return reading.MaskOptions(FLAGS.threshold, FLAGS.resize_mask, FLAGS.value_255, stored_size)
  except ValueError as error:
    raise command_line.UsageError(f'--{error}') from None


def _segmenter():
  # TensorFlow takes seconds to import; wrong flags and files are reported before.
  path = None if FLAGS.seeded_model else default_model.model_path(FLAGS.model)
  options = dataclasses.asdict(segmenter_flags.from_flags())
  start_tensorflow()
  from feelvos_tf.inference.segmenter import VideoSegmenter
  from feelvos_tf.model import precision
  from feelvos_tf.model import weights

  overrides = segmenter_flags.model_overrides()
  if FLAGS.previous_prediction:
    overrides['previous_prediction'] = FLAGS.previous_prediction
  if FLAGS.seeded_model:
    make_model = lambda: weights.seeded_model(FLAGS.seeded_model, **overrides)
    print(f'Untrained: {FLAGS.seeded_model} with seeded weights. The masks mean nothing.')
  else:
    make_model = lambda: weights.load_model(path, **overrides)
  of_project = default_model.is_default(FLAGS.model) and not FLAGS.seeded_model
  choice = precision.choose(precision.wanted(FLAGS.precision, of_project))
  print(choice.line)
  return VideoSegmenter(precision.with_precision(choice.name, make_model), **options)


if __name__ == '__main__':
  command_line.run(main, define_flags)
