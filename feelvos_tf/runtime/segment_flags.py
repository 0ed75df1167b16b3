"""Flags of `feelvos segment`, and what is made of them without the model."""

from absl import flags

from feelvos_tf.datasets.mask_files import reading
from feelvos_tf.datasets.result_files import writing
from feelvos_tf.datasets.sources import live
from feelvos_tf.inference import given_masks
from feelvos_tf.runtime import command_line
from feelvos_tf.runtime import export_results
from feelvos_tf.runtime import model_flags
from feelvos_tf.runtime import segment_job
from feelvos_tf.runtime import segmenter_flags

flags.disclaim_key_flags()  # The flags are those of the main that calls `define_flags`.
FLAGS = flags.FLAGS
_DRAWINGS = {
  'box': 'a box around an object: [FRAME:]x,y,width,height[,id=N].',
  'points': 'points on an object, behind a - on the background: [FRAME:]x,y;x,y;-x,y[,id=N].',
  'polygon': 'the outline of an object, taken as it is: [FRAME:]x,y;x,y;x,y[,id=N].',
  'scribble': 'a line over an object, behind a - over the background: [FRAME:]x,y;x,y[,id=N].',
}


def define_flags() -> None:
  """Defines the flags of the command."""
  _define_input()
  _define_masks()
  _define_mask_reading()
  _define_span()
  _define_results()
  model_flags.define_flags()
  segmenter_flags.define_flags()
  flags.DEFINE_enum(
    'previous_prediction',
    None,
    ['labels', 'probabilities'],
    'What the head receives of the previous frame; default: the option of the model.',
  )


def mask_options(stored_size: tuple[int, int] | None = None) -> reading.MaskOptions:
  """How masks are read.

  Args:
    stored_size: (height, width) of the video's frames in the file, before they are turned upright.

  Raises:
    UsageError: a value that is refused.
  """
  try:
    return reading.MaskOptions(FLAGS.threshold, FLAGS.resize_mask, FLAGS.value_255, stored_size)
  except ValueError as error:
    raise command_line.UsageError(f'--{error}') from None


def forms() -> export_results.Forms:
  """In which forms results are written, besides PNGs.

  Raises:
    UsageError: an unknown form, or a --label that is not ID:NAME.
    ValueError: what a form needs is not installed.
  """
  try:
    writing.check_formats(FLAGS.format)
    found = export_results.Forms(tuple(FLAGS.format), writing.parse_labels(FLAGS.label))
  except ValueError as error:
    raise command_line.UsageError(f'--{error}') from None
  writing.check_installed(found.formats)
  return found


def drawings() -> list[tuple[str, str]]:
  """(kind, text) of what is drawn in flags instead of a mask."""
  return [(kind, text) for kind in _DRAWINGS for text in FLAGS[kind].value or ()]


def request(given: list[str]) -> segment_job.Request:
  """What is asked of one video, with masks as in --mask."""
  return segment_job.Request(
    given, FLAGS.remove, FLAGS.direction, FLAGS.start, FLAGS.end, drawings()
  )


def _define_input() -> None:
  flags.DEFINE_string(
    'input',
    None,
    'Video file, folder of frames, folder of clips, or DAVIS-style root with --sequence. Live: the '
    'number of a camera, the address of a stream (rtsp://, rtmp://, rtp://, srt://, udp://, tcp://), or - for a pipe.',
  )
  flags.DEFINE_multi_string('sequence', [], 'Sequence of a DAVIS-style root; may be repeated.')
  flags.DEFINE_string('resolution', '480p', 'Folder of the DAVIS-style root to take.')
  flags.DEFINE_integer(
    'clips_at_once', 2, 'Clips of a folder that are segmented at a time.', lower_bound=1
  )
  flags.DEFINE_enum(
    'take',
    'auto',
    live.TAKES,
    'Frames of a live source: the latest when the one before is done, or every one. auto: every one '
    'of a pipe, which waits, the latest of a camera or stream.',
  )


def _define_masks() -> None:
  flags.DEFINE_multi_string(
    'mask',
    [],
    'Masks of the objects on the first frame: a picture (palette or grey: values are object ids; '
    'or few exact colours on black), a COCO, labelme, CVAT or YOLO file, a folder, or, repeated, '
    'one picture an object. FRAME:FILE gives the mask of another frame, by its number from 0 or '
    'its name; it adds objects, or corrects all. A folder of masks named like frames gives them '
    'all, also as a tree with Annotations or sub-folders of sequences. DAVIS roots bring their own. '
    'For a folder of clips: a folder with CLIP.png or a folder CLIP for each; default: next to them.',
  )
  for kind, text in _DRAWINGS.items():
    flags.DEFINE_multi_string(kind, [], f'Instead of a mask: {text} May be repeated.')
  flags.DEFINE_string(
    'preview', None, 'Picture to write of the mask that is drawn, with the mask next to it; no run.'
  )


def _define_mask_reading() -> None:
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


def _define_span() -> None:
  flags.DEFINE_enum(
    'direction',
    'forward',
    given_masks.DIRECTIONS,
    'In which direction of time objects are followed; both: in both from every mask, merged '
    'between two masks.',
  )
  flags.DEFINE_multi_string(
    'remove', [], 'ID@FRAME: from this frame on no mask holds the object. May be repeated.'
  )
  flags.DEFINE_string('start', '', 'First frame to segment, by its number from 0 or its name.')
  flags.DEFINE_string('end', '', 'Last frame to segment, likewise.')


def _define_results() -> None:
  flags.DEFINE_string('output', None, 'Folder to write to.')
  flags.DEFINE_bool(
    'overwrite',
    False,
    'Write to a folder that is not empty: results of earlier runs are replaced, other files stay.',
  )
  flags.DEFINE_list(
    'format', [], f'Also write the masks as, separated by commas: {", ".join(writing.FORMATS)}.'
  )
  flags.DEFINE_multi_string(
    'label',
    [],
    'ID:NAME, the class of an object in --format. May be repeated; default: a class an object.',
  )
  flags.DEFINE_bool('pictures', True, 'Write the overlay video and the contact sheet.')
