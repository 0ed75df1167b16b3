r"""Scores masks, or a model, with the numbers of the DAVIS and YouTube-VOS benchmarks.

Masks of any method, as `<results_dir>/<sequence>/<frame>.png`:

  feelvos evaluate --results_dir=masks --davis_root=DAVIS --year=2017 --split=val

A model, which segments the split first:

  feelvos evaluate --model=feelvos_tf/pretrained/mobilenet_v2.h5 --davis_root=DAVIS \
      --year=2016 --split=val --output_dir=runs/mobilenet_v2

Several options side by side: `python -m tools.evaluate_options`.

Writes to --output_dir the two CSV files of the official tool, summary.json, report.html, and
what is needed to go on after an interruption. --submission_zip also packs the masks for the
benchmark's server. Exit code 0: done; 1: something is wrong with the data; 2: wrong usage.
"""

from absl import flags

from feelvos_tf.evaluation import methods
from feelvos_tf.evaluation import options as options_lib
from feelvos_tf.evaluation import run
from feelvos_tf.evaluation import sequence_scores
from feelvos_tf.evaluation.pictures import PictureOptions
from feelvos_tf.evaluation.scoring import EvaluationOptions
from feelvos_tf.evaluation.truth import TruthOptions
from feelvos_tf.runtime import command_line
from feelvos_tf.runtime import segmenter_flags
from feelvos_tf.runtime.option_flags import OptionFlags

FLAGS = flags.FLAGS

TRUTH = OptionFlags(
  TruthOptions, choices={'protocol': sequence_scores.PROTOCOLS}, lists=('sequences',)
)
SCORING = OptionFlags(EvaluationOptions, leave_out=('protocol',))
PICTURES = OptionFlags(
  PictureOptions, leave_out=('width', 'jpeg_quality'), names={'per_sequence': 'worst_frames'}
)
METHOD = OptionFlags(
  options_lib.MethodOptions,
  leave_out=('segmenter', 'preset', 'precision'),
  choices={'baseline': methods.BASELINES, 'ablation': methods.ABLATIONS},
)
RUN = OptionFlags(
  options_lib.RunOptions, leave_out=('truth', 'method', 'scoring', 'pictures', 'changed')
)
# Flags that say how a model is run, and those of them that a baseline knows.
_METHOD_FLAGS = (*segmenter_flags.FLAG_NAMES, 'model_option', 'ablation', 'baseline')
_BASELINE_FLAGS = {
  'copy_first_mask': ('baseline',),
  'global_matching': (
    'baseline',
    'max_internal_size',
    'precision',
    'model_option',
    'max_reference_pixels_per_object',
  ),
}


def define_flags() -> None:
  """Defines the flags; only when run as a program, so that mains can be imported together."""
  for options in (RUN, TRUTH, SCORING, METHOD, PICTURES):
    options.define()
  segmenter_flags.define_flags()


def main() -> None:
  """Checks flags, then segments and scores."""
  _check_usage()
  run.run(
    RUN.make(
      truth=TRUTH.make(),
      method=_method(),
      scoring=SCORING.make(),
      pictures=PICTURES.make(),
      changed={name: FLAGS[name].value for name in _changed_flags()},
    )
  )


def _method() -> options_lib.MethodOptions:
  return METHOD.make(
    segmenter=segmenter_flags.from_flags(),
    preset=segmenter_flags.model_overrides(),
    precision=FLAGS.precision,
  )


def _check_usage() -> None:
  runs = bool(FLAGS.model or FLAGS.baseline)
  if bool(FLAGS.results_dir) == runs:
    raise command_line.UsageError(
      'exactly one of --results_dir (masks to score) and --model (weights to run) or --baseline '
      'expected'
    )
  if runs and not FLAGS.output_dir:
    raise command_line.UsageError('--model and --baseline need --output_dir')
  changed = _changed_flags()
  if FLAGS.results_dir and changed:
    raise command_line.UsageError(f'--{changed[0]} needs --model')
  unfit = [name for name in changed if name not in _BASELINE_FLAGS.get(FLAGS.baseline, changed)]
  if unfit:
    raise command_line.UsageError(f'--baseline={FLAGS.baseline} has no use for --{unfit[0]}')
  if FLAGS.baseline == 'copy_first_mask' and FLAGS.model:
    raise command_line.UsageError('--baseline=copy_first_mask has no use for --model')


def _changed_flags() -> list[str]:
  """Names of _METHOD_FLAGS that are not at their defaults."""
  return [name for name in _METHOD_FLAGS if FLAGS[name].value != FLAGS[name].default]


if __name__ == '__main__':
  command_line.run(main, define_flags)
