"""The first import of TensorFlow: seconds, and without its lines on standard error."""

from collections.abc import Iterator
import contextlib
import os
import sys
import tempfile


def start_tensorflow() -> None:
  """Imports TensorFlow and Keras and looks for devices; later calls cost nothing.

  Native libraries report oneDNN, missing GPUs and more on standard error meanwhile. These lines
  are held back unless something fails or TF_CPP_MIN_LOG_LEVEL is 0 or 1.
  """
  if 'tensorflow' in sys.modules and 'keras' in sys.modules:
    return
  with quiet_imports():
    import keras  # noqa: F401
    import tensorflow as tf

    tf.config.list_physical_devices()  # cuInit reports a missing GPU here.


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
  """Holds back what native libraries print to standard error while they are imported.

  TensorFlow prints six lines that no option of its own turns off; an error line would drown in
  them. They are printed if the block fails, or at once if TF_CPP_MIN_LOG_LEVEL is 0 or 1.
  """
  if os.environ.get('TF_CPP_MIN_LOG_LEVEL', '2') in ('0', '1'):
    yield
    return
  sys.stderr.flush()
  visible = os.dup(2)
  with tempfile.TemporaryFile() as held:
    os.dup2(held.fileno(), 2)
    try:
      yield
    except BaseException:
      held.seek(0)
      os.write(visible, held.read())
      raise
    finally:
      os.dup2(visible, 2)
      os.close(visible)
