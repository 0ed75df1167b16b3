"""The model that comes with the project."""

from feelvos_tf.deeplab import hdf5_file
from feelvos_tf.deeplab import weights_file
from feelvos_tf.model import default_model


def test_its_checksum_is_known_so_that_it_is_read_without_a_process(monkeypatch):
  """After a change of the file: `sha256sum` of it goes into `default_model.CHECKSUM`."""
  monkeypatch.setattr(hdf5_file, '_start', None)
  metadata, arrays = weights_file.read(default_model.DEFAULT_MODEL, [default_model.CHECKSUM])
  assert metadata['options']['model'] and arrays
