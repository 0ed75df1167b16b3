"""What is loaded of an exported folder."""

import pytest
import tensorflow as tf

from feelvos_tf.saved_model.exported_model import ExportedModel


class Doubled(tf.Module):
  """Twice its input, by a variable: those are read like checkpoints."""

  def __init__(self):
    super().__init__()
    self.factor = tf.Variable(2.0)

  @tf.function(input_signature=[tf.TensorSpec([], name='x')])
  def __call__(self, x):
    return {'y': self.factor * x}


def test_a_folder_whose_name_looks_like_a_pattern(tmp_path):
  folder = tmp_path / 'mine [2]' / '1'
  model = Doubled()
  tf.saved_model.save(model, str(folder), {'serving_default': model.__call__})
  loaded = ExportedModel(folder).signatures['serving_default']
  assert float(loaded(x=tf.constant(3.0))['y']) == 6.0
  (folder / 'variables' / 'variables.index').unlink()
  with pytest.raises(ValueError, match='cannot be loaded') as error:
    ExportedModel(folder)
  assert 'feelvos_links' not in str(error.value)
