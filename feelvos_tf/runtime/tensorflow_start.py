"""The first import of TensorFlow: seconds, and without its lines on standard error."""

from collections.abc import Iterator, Sequence
import contextlib
import importlib.machinery
import importlib.util
import os
import sys
import types
from typing import Any

# Lines of native loggers (TensorFlow, XLA, CUDA), before and after they are set up.
_NATIVE = (
  rb'[IWE]\d{4} \d\d:\d\d:\d+\.\d+ +\d+ \S+:\d+\]'
  rb'|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWE] '
  rb'|WARNING: All log messages before absl::InitializeLog'
  rb'|To enable the following instructions:'
)


class QuietTensorFlow:
  """Finder that makes the first import of TensorFlow quiet; see `quiet_imports`.

  It lets devices be looked for at once: a missing GPU is reported then.
  """

  def find_spec(
    self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
  ) -> importlib.machinery.ModuleSpec | None:
    """The spec of TensorFlow the first time; None for every other name."""
    if fullname != 'tensorflow':
      return None
    sys.meta_path.remove(self)
    spec = importlib.util.find_spec(fullname)
    if spec is not None and spec.loader is not None:
      loader: Any = spec.loader
      execute = loader.exec_module

      def execute_quietly(module: types.ModuleType) -> None:
        with quiet_imports():
          execute(module)
          module.config.list_physical_devices()

      loader.exec_module = execute_quietly
    return spec


def start_tensorflow() -> None:
  """Imports TensorFlow and Keras; later calls cost nothing. `QuietTensorFlow` keeps it quiet."""
  import keras  # noqa: F401
  import tensorflow  # noqa: F401


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
  """Holds back what native libraries log to standard error while they are imported.

  TensorFlow logs lines that no option of its own turns off; an error line would drown in them.
  They are printed if the block fails, or at once if TF_CPP_MIN_LOG_LEVEL is 0 or 1. Lines that are
  no native log lines are printed after the block.
  """
  if os.environ.get('TF_CPP_MIN_LOG_LEVEL', '2') in ('0', '1'):
    yield
    return
  import re  # Not above: `import feelvos_tf` takes milliseconds.
  import tempfile

  if sys.stderr is not None:
    sys.stderr.flush()
  try:
    visible = os.dup(2)
  except OSError:  # A program without standard error.
    yield
    return
  with tempfile.TemporaryFile() as held:
    os.dup2(held.fileno(), 2)
    failed = True
    try:
      yield
      failed = False
    finally:
      if sys.stderr is not None:
        sys.stderr.flush()
      os.dup2(visible, 2)
      os.close(visible)
      held.seek(0)
      for line in held:
        if failed or not re.match(_NATIVE, line):
          os.write(2, line)
