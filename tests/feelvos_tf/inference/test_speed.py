"""Presets of speed: what they choose, and that flags that are given count more."""

import ast

import programs
import pytest

from feelvos_tf.inference import speed
from feelvos_tf.inference.options import SegmenterOptions
from feelvos_tf.model.options import FeelvosOptions


def test_balanced_changes_nothing():
  assert speed.segmenter_options() == SegmenterOptions()
  assert speed.model_overrides() == {}


def test_fast_matches_with_fewer_pixels_of_smaller_frames():
  options = speed.segmenter_options('fast')
  assert (options.max_internal_size, options.flip, options.image_pyramid) == (496, False, (1.0,))
  model = FeelvosOptions(max_reference_imbalance=16)
  changed = FeelvosOptions.from_dict({**model.to_dict(), **speed.model_overrides('fast')})
  assert changed.max_reference_pixels_per_object == 512
  assert (changed.max_reference_imbalance, changed.reference_choice) == (None, 'border')


def test_best_merges_larger_and_mirrored_frames():
  options = speed.segmenter_options('best', max_internal_size=320)
  assert (options.image_pyramid, options.merge_method) == ((1.0, 1.25), 'avg')
  assert (options.flip, options.max_internal_size) == (True, 320)


def test_an_unknown_speed_is_refused():
  for function in (speed.segmenter_options, speed.model_overrides):
    with pytest.raises(ValueError, match="speed is 'slow'; expected one of fast, balanced, best"):
      function('slow')


def test_an_exported_model_takes_the_size_of_a_preset_as_its_own():
  assert speed.exported_options('balanced') == {}
  fast = speed.exported_options('fast')
  assert fast['largest_side'] == speed.segmenter_options('fast').max_internal_size
  assert fast['max_reference_pixels_per_object'] == 512
  with pytest.raises(ValueError, match="speed is 'best'.* Expected one of fast, balanced"):
    speed.exported_options('best')


@pytest.mark.parametrize(
  'given, expected',
  [
    ([], (None, (1.0,), False, {})),
    (['--speed=best', '--noflip'], (None, (1.0, 1.25), False, {})),
    (['--speed=best', '--image_pyramid=1'], (None, (1.0,), True, {})),
    (
      ['--speed=fast', '--max_internal_size=400', '--max_reference_pixels_per_object=0'],
      (
        400,
        (1.0,),
        False,
        {
          'max_reference_pixels_per_object': None,
          'max_reference_imbalance': None,
          'reference_choice': 'border',
        },
      ),
    ),
  ],
)
def test_flags_that_are_given_count_more_than_the_preset(given, expected):
  code = (
    'from absl import flags; from feelvos_tf.runtime import segmenter_flags as f; '
    f'f.define_flags(); flags.FLAGS(["x", *{given}]); o = f.from_flags(); '
    'print((o.max_internal_size, o.image_pyramid, o.flip, f.model_overrides()))'
  )
  process = programs.run_code(code)
  assert process.returncode == 0, process.stderr
  assert ast.literal_eval(process.stdout) == expected
