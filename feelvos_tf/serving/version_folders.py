"""Models and versions in a folder. Knows no TensorFlow, so that a wrong folder is told at once."""

import pathlib


def find_versions(model_dir):
  """Versions below a folder.

  Args:
    model_dir: folder of <name>/<version>/saved_model.pb, or one <name> folder.

  Returns:
    dict of model name to dict of version number to path.

  Raises:
    ValueError: there is no such folder, or no version in it.
  """
  root = pathlib.Path(model_dir).resolve()
  if not root.is_dir():
    raise ValueError(f'{model_dir}: no such folder; write one with python -m feelvos_tf.export.')
  own = _versions_in(root)
  found = (
    {root.name: own}
    if own
    else {
      folder.name: versions
      for folder in sorted(root.iterdir())
      if folder.is_dir() and (versions := _versions_in(folder))
    }
  )
  if not found:
    raise ValueError(
      f'{model_dir}: no <name>/<version>/saved_model.pb in it; write one with '
      'python -m feelvos_tf.export --output_dir.'
    )
  return found


def _versions_in(folder):
  return {
    int(path.name): path
    for path in folder.iterdir()
    if path.name.isdecimal() and (path / 'saved_model.pb').is_file()
  }
