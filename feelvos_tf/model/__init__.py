"""The network: its options, its parts, its weights files and the sizes it works at."""

import importlib
from typing import Any

# Names that stood here when this was a module.
_MOVED = {
  'Feelvos': 'feelvos_tf.model.feelvos',
  'load_model': 'feelvos_tf.model.weights',
  'save_model': 'feelvos_tf.model.weights',
}


def __getattr__(name: str) -> Any:
  if name not in _MOVED:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  return getattr(importlib.import_module(_MOVED[name]), name)
