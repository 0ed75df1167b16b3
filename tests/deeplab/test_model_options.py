"""Options: defaults by output stride, JSON round trip, and what is refused."""

import dataclasses
import json

import pytest

from feelvos_tf.deeplab import ModelOptions


def test_atrous_rates_follow_the_output_stride():
  assert ModelOptions(output_stride=8).atrous_rates == (12, 24, 36)
  assert ModelOptions(output_stride=16).atrous_rates == (6, 12, 18)
  assert ModelOptions(output_stride=16, atrous_rates=()).atrous_rates == ()
  assert ModelOptions(atrous_rates=[2, 4.0]).atrous_rates == (2, 4)


@pytest.mark.parametrize(
  'options',
  [
    ModelOptions(),
    ModelOptions('mobilenet_v2', depth_multiplier=0.5, num_classes=21),
    ModelOptions('resnet_v1_50_beta', output_stride=8, multi_grid=(1, 2, 4), atrous_rates=()),
  ],
)
def test_json_round_trip(options):
  assert ModelOptions.from_dict(json.loads(json.dumps(options.to_dict()))) == options


def test_options_are_frozen():
  with pytest.raises(dataclasses.FrozenInstanceError):
    ModelOptions().output_stride = 8


@pytest.mark.parametrize(
  'wrong, message',
  [
    ({'model_variant': 'vgg'}, "model_variant is 'vgg'; expected one of xception_41"),
    ({'output_stride': 4}, 'output_stride is 4; expected 8, 16 or 32'),
    ({'atrous_rates': (6, 0)}, 'every rate has to be at least 1'),
    ({'multi_grid': (1, 2)}, 'expected three rates'),
    ({'model_variant': 'mobilenet_v2', 'multi_grid': (1, 2, 4)}, 'not defined for mobilenet_v2'),
    ({'depth_multiplier': 0.5}, 'only mobilenet_v2'),
    ({'model_variant': 'mobilenet_v2', 'depth_multiplier': 0.0}, 'depth_multiplier is 0.0'),
    ({'decoder_output_stride': 8}, 'decoder_output_stride is 8; expected 4 or None'),
    ({'num_classes': -1}, 'num_classes is -1'),
    ({'atrous_rates': 6}, 'atrous_rates is 6; expected a tuple of whole numbers or None'),
    ({'depth_multiplier': '1'}, "depth_multiplier is '1'; expected a number"),
  ],
)
def test_impossible_options_are_refused(wrong, message):
  with pytest.raises(ValueError, match=message):
    ModelOptions(**wrong)


def test_unknown_keys_are_named():
  with pytest.raises(ValueError, match=r'unknown option\(s\) colour; .*newer version'):
    ModelOptions.from_dict({**ModelOptions().to_dict(), 'colour': 1})
