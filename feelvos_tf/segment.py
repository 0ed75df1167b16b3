r"""Segments a video: frames and the masks of the first frame in, masks of every frame out.

  python -m feelvos_tf.segment --input=clip.mp4 --mask=first.png --output=result

Writes result/masks/*.png (palette PNGs with the ids and the palette of the given mask),
result/overlay.mp4 and result/overview.png. With a DAVIS-style root:

  python -m feelvos_tf.segment --input=DAVIS --sequence=bear --sequence=camel --output=result

writes result/masks/bear/*.png, result/bear.overlay.mp4, result/bear.overview.png and so on, a
folder that `python -m feelvos_tf.evaluate --results_dir=result/masks` takes.
"""

import dataclasses
import os
import pathlib

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

from absl import flags

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import writers
from feelvos_tf.datasets.sources import folder
from feelvos_tf.model import default_model
from feelvos_tf.runtime import background
from feelvos_tf.runtime import command_line
from feelvos_tf.runtime import progress
from feelvos_tf.runtime import segmenter_flags

FLAGS = flags.FLAGS


def define_flags():
  """Defines the flags; only when run as a program, so that mains can be imported together."""
  flags.DEFINE_string(
    'input', None, 'Video file, folder of frames, or DAVIS-style root with --sequence.'
  )
  flags.DEFINE_string(
    'mask',
    None,
    'PNG with the masks of the objects on the first frame: palette '
    'or grey, pixel values are object ids. DAVIS roots bring their own.',
  )
  flags.DEFINE_multi_string('sequence', [], 'Sequence of a DAVIS-style root; may be repeated.')
  flags.DEFINE_string('resolution', '480p', 'Folder of the DAVIS-style root to take.')
  flags.DEFINE_string('output', None, 'Folder to write to.')
  flags.DEFINE_bool(
    'overwrite',
    False,
    'Write to a folder that is not empty; masks of an earlier run in it are removed.',
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
    'What the head is told of the previous frame; default: the option of the model.',
  )
  flags.DEFINE_bool('pictures', True, 'Write the overlay video and the contact sheet.')


def main():
  """Checks flags and files, then segments one video after another."""
  jobs = _jobs()
  segmenter_flags.from_flags()  # Before anything is written.
  output = pathlib.Path(FLAGS.output)
  _prepare_output(output)
  first_masks = [_first_mask(video, mask_path, bool(name)) for video, mask_path, name in jobs]
  segmenter = _segmenter()
  for (video, _, name), mask in zip(jobs, first_masks):
    count = segment(segmenter, video, mask, output, name, FLAGS.pictures)
    print(f'{video.name}: {count} masks in {output / "masks" / name}')


def segment(segmenter, video, first_mask, output, name='', pictures=True):
  """Segments one video and writes the results while frames come.

  Args:
    segmenter: `segmenter.VideoSegmenter`.
    video: `feelvos_tf.datasets.video.Video`.
    first_mask: `feelvos_tf.datasets.masks.Mask` of the first frame.
    output: folder to write to.
    name: '' for one video, else the sub-folder of `masks` and the stem of the pictures.
    pictures: bool, overlay video and contact sheet too.

  Returns:
    Number of masks written. If a frame cannot be read, the masks before it are there and its
    error is raised.
  """
  output = pathlib.Path(output)
  mask_folder = output / 'masks' / name
  mask_folder.mkdir(parents=True, exist_ok=True)
  for old in mask_folder.glob('*.png'):  # Of a longer video, they would pass for this one's.
    old.unlink()
  prefix = f'{name}.' if name else ''
  with (
    Results(
      mask_folder,
      output / f'{prefix}overlay.mp4',
      output / f'{prefix}overview.png',
      first_mask,
      video.fps,
      pictures,
    ) as results,
    background.BackgroundCalls(results.write) as write,
    progress.Progress(video.num_frames, 'frames', video.name) as bar,
  ):
    for index, frame in enumerate(background.prefetch(video.frames())):
      if index == 0:
        result = segmenter.start(frame, first_mask.ids)
      else:
        result = segmenter.step(frame)
      write(video.frame_names[index], frame, result.mask)
      bar.advance()
  return bar.count


class Results:
  """Writes masks, overlay video and contact sheet, frame by frame; a context manager."""

  def __init__(self, mask_folder, overlay_path, overview_path, first_mask, fps, pictures=True):
    self._mask_folder = mask_folder
    self._palette = first_mask.palette
    self._overlay = writers.OverlayVideoWriter(overlay_path, fps) if pictures else None
    self._sheet = writers.ContactSheet(overview_path) if pictures else None

  def write(self, name, frame, ids):
    """Writes frame `name` (str): image uint8 [height, width, 3], ids uint8 [height, width]."""
    masks.write_mask(self._mask_folder / f'{name}.png', ids, self._palette)
    if self._overlay is not None:
      picture = masks.overlay(frame, ids, self._palette, void_id=None)
      self._overlay.write_picture(picture)
      self._sheet.add(picture, name)

  def __enter__(self):
    return self

  def __exit__(self, *error):
    if self._overlay is not None:
      self._overlay.close()
      self._sheet.write()


def _jobs():
  """List of (Video, path of the first mask, name of the output) the flags ask for."""
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
  if not root.exists():
    raise FileNotFoundError(f'{root}: no such file or folder; check --input.')
  return [(folder.open_video(root), pathlib.Path(FLAGS.mask), '')]


def _davis_job(root, images, sequence):
  if not (images / sequence).is_dir():
    raise FileNotFoundError(
      f'{images / sequence}: no such folder; expected frames of the sequence '
      f'{sequence} there. Check --input, --sequence and --resolution.'
    )
  video = folder.open_video(images / sequence)
  mask = root / 'Annotations' / FLAGS.resolution / sequence / f'{video.frame_names[0]}.png'
  return video, mask, sequence


def _first_mask(video, path, of_data_set):
  """Reads the mask of the first frame; every id but 0 is an object in a user's own mask.

  In a data set's mask 255 is void, and nobody's, unless it is the only value.
  """
  mask = masks.read_mask(path, require_object=True, void=False)
  video.check_mask_size(mask, str(path))
  if of_data_set and ((mask.ids != 0) & (mask.ids != masks.VOID_ID)).any():
    mask.ids[mask.ids == masks.VOID_ID] = 0
  return mask


def _prepare_output(output):
  if output.exists() and not output.is_dir():
    raise ValueError(f'{output} is a file; --output has to be a folder.')
  if output.is_dir() and any(output.iterdir()) and not FLAGS.overwrite:
    raise ValueError(f'{output} is not empty; choose another --output or add --overwrite.')
  try:
    output.mkdir(parents=True, exist_ok=True)
    probe = output / '.write-test.tmp'
    probe.touch()
    probe.unlink()
  except OSError as error:
    raise ValueError(
      f'{output}: cannot be written to ({error.strerror}); choose another --output.'
    ) from error


def _segmenter():
  # TensorFlow takes seconds to import; wrong flags and files are reported before.
  path = None if FLAGS.seeded_model else default_model.model_path(FLAGS.model)
  options = dataclasses.asdict(segmenter_flags.from_flags())
  with command_line.quiet_imports():
    import tensorflow as tf

    from feelvos_tf.inference.segmenter import VideoSegmenter
    from feelvos_tf.model import precision
    from feelvos_tf.model import weights

    tf.config.list_physical_devices()  # Has its say as well.

  overrides = segmenter_flags.model_overrides()
  if FLAGS.previous_prediction:
    overrides['previous_prediction'] = FLAGS.previous_prediction
  if FLAGS.seeded_model:
    make_model = lambda: weights.seeded_model(FLAGS.seeded_model, **overrides)
    print(f'Untrained: {FLAGS.seeded_model} with seeded weights. The masks mean nothing.')
  else:
    make_model = lambda: weights.load_model(path, **overrides)
  of_project = not (FLAGS.model or FLAGS.seeded_model)
  choice = precision.choose(precision.wanted(FLAGS.precision, of_project))
  if choice.line:
    print(choice.line)
  return VideoSegmenter(precision.with_precision(choice.name, make_model), **options)


if __name__ == '__main__':
  command_line.run(main, define_flags)
