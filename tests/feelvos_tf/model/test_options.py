"""Options of three kinds in one flat record: which is which, and how files name them."""

import dataclasses
import itertools
import json

import numpy as np
import pytest

from feelvos_tf.deeplab import ModelOptions
from feelvos_tf.model import geometry
from feelvos_tf.model.feelvos import Feelvos
from feelvos_tf.model.options import Ablation
from feelvos_tf.model.options import FeelvosOptions
from feelvos_tf.model.options import InferenceOptions
from feelvos_tf.model.options import NetworkOptions

KINDS = (NetworkOptions, InferenceOptions, Ablation)
# One value for every option of inference and ablation that is not its default.
OTHERS = {
  'max_reference_pixels_per_object': 64,
  'max_reference_imbalance': 2.0,
  'reference_choice': 'border',
  'largest_side': 640,
  'frame_grid': 16,
  'internal_size': 360,
  'internal_scale_limits': (0.5, 2.0),
  'far_parts_radius': 8,
  'unlike_parts_margin': 0.2,
  'parted_factor': 1.4,
  'rule_distance_factor': 0.7,
  'crossing_radius': 15,
  'least_positions': 10,
  'guided_filter_epsilon': 0.001,
  'head_area_radius': 8,
  'neutral_inputs': ('global_distance',),
}


def names(kind):
  return [field.name for field in dataclasses.fields(kind)]


def test_every_option_is_of_one_kind():
  for one, other in itertools.combinations(KINDS, 2):
    assert not set(names(one)) & set(names(other))
  assert names(FeelvosOptions) == [name for kind in KINDS for name in names(kind)]


def test_weights_depend_on_the_network_alone():
  """Of a model with all other options changed they fit, variable by variable."""
  assert set(OTHERS) == {*names(InferenceOptions), *names(Ablation)}
  network = {'model': ModelOptions('mobilenet_v2', depth_multiplier=0.1), 'head_layers': 1}
  plain, other = Feelvos(FeelvosOptions(**network)), Feelvos(FeelvosOptions(**network, **OTHERS))
  assert [v.shape for v in plain.weights] == [v.shape for v in other.weights]


@pytest.mark.parametrize('name', OTHERS)
def test_an_option_is_named_in_one_way(name):
  """By a keyword, a replacement, a dict of a file; and read in one."""
  options = FeelvosOptions(**{name: OTHERS[name]})
  assert getattr(options, name) == OTHERS[name]
  assert dataclasses.replace(FeelvosOptions(), **{name: OTHERS[name]}) == options
  assert FeelvosOptions.from_dict({**FeelvosOptions().to_dict(), name: OTHERS[name]}) == options


def test_what_needs_one_kind_takes_it_alone():
  alone = InferenceOptions(frame_grid=16, largest_side=320)
  whole = FeelvosOptions(frame_grid=16, largest_side=320, window_radius=3)
  sizes = geometry.FrameGeometry.of((480, 854), alone)
  assert sizes == geometry.FrameGeometry.of((480, 854), whole) and sizes.network == (177, 321)


@pytest.mark.parametrize(
  'kind, given, message',
  [
    (InferenceOptions, {'frame_grid': 0}, 'frame_grid is 0; expected a number of pixels of at'),
    (
      InferenceOptions,
      {'largest_side': True},
      'largest_side is True; expected a whole number or None',
    ),
    (InferenceOptions, {'reference_choice': 'x'}, "reference_choice is 'x'; expected one of even"),
    (
      InferenceOptions,
      {'max_reference_pixels_per_object': 0},
      'is 0; expected a number of at least 1, or None for all pixels',
    ),
    (NetworkOptions, {'window_radius': 0}, 'window_radius is 0; expected at least 1'),
    (NetworkOptions, {'previous_prediction': 'x'}, "previous_prediction is 'x'; expected one of"),
    (NetworkOptions, {'window_radius': '15'}, "window_radius is '15'; expected a whole number"),
    (NetworkOptions, {'head_layers': 2.5}, 'head_layers is 2.5; expected a whole number'),
    (NetworkOptions, {'object_gates': 'False'}, "object_gates is 'False'; expected True or False"),
    (NetworkOptions, {'model': 'xception_65'}, "model is 'xception_65'; expected ModelOptions"),
    (
      NetworkOptions,
      {'local_window_radii': 4},
      'local_window_radii is 4; expected a tuple of whole numbers',
    ),
    (
      InferenceOptions,
      {'unlike_parts_margin': 'None'},
      "unlike_parts_margin is 'None'; expected a number or None",
    ),
    (InferenceOptions, {'rule_distance_factor': 0.0}, 'factor is 0.0; expected a factor above 0'),
    (InferenceOptions, {'rule_distance_factor': float('nan')}, 'factor is nan; expected a factor'),
    (
      InferenceOptions,
      {'internal_scale_limits': 2.0},
      'internal_scale_limits is 2.0; expected a tuple of numbers',
    ),
  ],
)
def test_what_is_refused_is_refused_alone_and_together(kind, given, message):
  for options in (kind, FeelvosOptions):
    with pytest.raises(ValueError, match=message):
      options(**given)


@pytest.mark.parametrize(
  'name, given, expected',
  [
    ('window_radius', np.int64(3), 3),
    ('window_radius', 3.0, 3),
    ('largest_side', np.int64(480), 480),
    ('largest_side', 480.0, 480),
    ('use_first_frame_matching', 0, False),
    ('object_gates', np.True_, True),
    ('parted_factor', 2, 2),
    ('parted_factor', np.float32(1.5), 1.5),
    ('internal_scale_limits', [1, 2], (1, 2)),
    ('head_atrous_rates', np.array([1, 2, 4, 8]), (1, 2, 4, 8)),
    ('head_atrous_rates', [1.0, 2.0, 4.0, 8.0], (1, 2, 4, 8)),
    ('local_window_radii', range(2, 6, 2), (2, 4)),
    ('neutral_inputs', ['global_distance'], ('global_distance',)),
  ],
)
def test_values_as_json_and_numpy_have_them(name, given, expected):
  """A weights file takes them: JSON has no numbers of NumPy."""
  options = FeelvosOptions(**{name: given})
  value = getattr(options, name)
  assert value == expected and type(value) is type(expected)
  assert FeelvosOptions.from_dict(json.loads(json.dumps(options.to_dict()))) == options
