"""Options of `feelvos evaluate` as text."""

import pytest

from feelvos_tf.evaluation.options import MethodOptions


@pytest.mark.parametrize(
  'text, value',
  [
    ('frame_grid=null', None),
    ('frame_grid=None', None),
    ('object_gates=false', False),
    ('object_gates=False', False),
    ('object_gates=True', True),
    ('window_radius=3', 3),
    ('rule_distance_factor=.6', 0.6),
    ('rule_distance_factor=0.6', 0.6),
    ('internal_scale_limits=(1, 2)', (1, 2)),
    ('model=04', '04'),
    ('previous_prediction=none', 'none'),
  ],
)
def test_a_value_is_json_or_as_python_writes_it(text, value):
  """'False' as a text would count as true."""
  changes = MethodOptions(model='m.h5', model_option=(text,)).model_changes()
  assert changes == {text.partition('=')[0]: value}
  assert type(changes[text.partition('=')[0]]) is type(value)
