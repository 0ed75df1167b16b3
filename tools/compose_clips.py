"""Composes clips with several objects from sequences with one object, in DAVIS layout.

  python -m tools.compose_clips --davis_root=DAVIS --output_dir=composed --clips=8 --objects=2..4
  feelvos evaluate --model=default --davis_root=composed --year=2017 --output_dir=runs/composed

Objects of other sequences cross the host's object, in front of it and behind it, leave the picture
and come back; in half of the clips two objects look the same. The result depends on the data, the
flags and --seed only. composition.json says what every clip is made of.
"""

import json
import os
import re

from absl import flags
import cv2

from feelvos_tf.datasets import masks as masks_lib
from feelvos_tf.datasets.composition import ClipPlan
from feelvos_tf.datasets.composition import compose
from feelvos_tf.datasets.composition import Track
from feelvos_tf.datasets.composition_plan import CompositionOptions
from feelvos_tf.datasets.composition_plan import plan_clip
from feelvos_tf.datasets.sources.davis import davis_videos
from feelvos_tf.runtime import command_line
from feelvos_tf.runtime import result_folder
from feelvos_tf.runtime.progress import Progress

FLAGS = flags.FLAGS
_DEFAULTS = CompositionOptions()
RESOLUTION = '480p'  # Folder of the output; the size is the host's.
JPEG_QUALITY = 95


def define_flags() -> None:
  """Defines the flags; only when run as a program, so that mains can be imported together."""
  flags.DEFINE_string('davis_root', None, 'Folder in DAVIS layout to take sequences from.')
  flags.DEFINE_string('year', '2016', 'Year of the list of sequences.')
  flags.DEFINE_string('split', 'val', 'Name of the list of sequences.')
  flags.DEFINE_list('sequences', [], 'Only these sequences of the list, separated by commas.')
  flags.DEFINE_string('resolution', '480p', 'Folder below JPEGImages and Annotations.')
  flags.DEFINE_string('output_dir', None, 'Folder to write, in DAVIS layout.')
  flags.DEFINE_integer('clips', 8, 'Clips to compose.', lower_bound=1)
  flags.DEFINE_string(
    'objects', '2..4', 'Objects of a clip, the host included: a number, or fewest..most.'
  )
  flags.DEFINE_integer('frames', _DEFAULTS.frames, 'Frames of a clip, at most.', lower_bound=8)
  flags.DEFINE_float(
    'same_look',
    _DEFAULTS.same_look,
    'Share of the clips in which two objects look the same.',
    lower_bound=0,
    upper_bound=1,
  )
  flags.DEFINE_integer('seed', 0, 'Another seed makes other clips.', lower_bound=0)
  flags.DEFINE_bool('overwrite', False, 'Replace what an earlier run wrote.')


def main() -> None:
  """Plans all clips, then writes them."""
  for flag in ('davis_root', 'output_dir'):
    if not getattr(FLAGS, flag):
      raise command_line.UsageError(f'--{flag} is missing.')
  try:
    options = CompositionOptions(FLAGS.frames, parse_range(FLAGS.objects), FLAGS.same_look)
  except ValueError as error:
    raise command_line.UsageError(str(error)) from error
  result_folder.check_inputs(FLAGS.output_dir, [FLAGS.davis_root])
  videos = davis_videos(
    FLAGS.davis_root,
    FLAGS.year,
    FLAGS.split,
    FLAGS.resolution,
    single_object=True,
    sequences=FLAGS.sequences or None,
  )
  tracks = [Track(video) for video in videos]
  plans = [plan_clip(tracks, index, options, FLAGS.seed) for index in range(FLAGS.clips)]
  run = result_folder.digest(json.dumps([plan.describe() for plan in plans]).encode())
  with result_folder.ResultFolder(FLAGS.output_dir, run, FLAGS.overwrite) as output:
    write(plans, output)
    output.finish()
  print(f'{FLAGS.output_dir}: {len(plans)} clips, {sum(plan.num_frames for plan in plans)} frames.')


def parse_range(text: str) -> tuple[int, int]:
  """(fewest, most) of `3` or `2..4`.

  Raises:
    ValueError: something else.
  """
  match = re.fullmatch(r'(\d+)(?:\.\.(\d+))?', text)
  if not match:
    raise ValueError(f'--objects={text}; expected a number or a range like 2..4.')
  return int(match[1]), int(match[2] or match[1])


def write(plans: list[ClipPlan], output: result_folder.ResultFolder) -> None:
  """Writes clips in DAVIS layout, with ImageSets/2017/val.txt and composition.json.

  Args:
    plans: the clips.
    output: folder to write; files that an earlier run wrote there are removed first.

  Raises:
    ValueError: a file of another origin is in the way.
  """
  job = output.job('clips', '.')
  job.begin_again()
  with Progress(sum(plan.num_frames for plan in plans), 'frames') as progress:
    for plan in plans:
      images, masks = (f'{kind}/{RESOLUTION}/{plan.name}' for kind in ('JPEGImages', 'Annotations'))
      for folder in (images, masks):
        job.path(folder).mkdir(parents=True, exist_ok=True)
      for t, (image, ids) in enumerate(compose(plan)):
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        encoded = cv2.imencode('.jpg', image[..., ::-1], quality)[1]
        job.write(f'{images}/{t:05d}.jpg', encoded.tobytes())
        job.write(f'{masks}/{t:05d}.png', masks_lib.encode_mask(ids))
        progress.advance()
  sets = 'ImageSets/2017'
  job.path(sets).mkdir(parents=True, exist_ok=True)
  job.write(f'{sets}/val.txt', os.fsencode(''.join(f'{plan.name}\n' for plan in plans)))
  about = json.dumps([plan.describe() for plan in plans], indent=1)
  job.write('composition.json', f'{about}\n'.encode())
  job.finish()


if __name__ == '__main__':
  command_line.run(main, define_flags)
