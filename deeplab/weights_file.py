"""Our weights files: HDF5 with one dataset per variable under the original's name.

The names are those of tf1_checkpoint.py, so a file says what it holds, survives refactoring
and can be read with any HDF5 tool. Options and notes travel in the attribute `metadata` (JSON).
"""

from collections.abc import Iterator, Mapping
import io
import json
import os
from typing import Any, TYPE_CHECKING

import h5py
import numpy as np

from feelvos_tf.deeplab import tf1_checkpoint
from feelvos_tf.files import whole_file

if TYPE_CHECKING:
  import keras


FORMAT = 'feelvos-tf weights 1'
# All values of a file as float32: ten times those of the largest network. A file of a few bytes may
# claim any number of zeros.
_MOST_BYTES = 2 << 30
# The largest network has 2,000 arrays, in groups of up to 10 levels.
_MOST_LEVELS, _MOST_ITEMS = 50, 20_000


def save(
  path: str | os.PathLike, model: 'keras.Model', metadata: dict[str, Any], dtype: str = 'float32'
) -> None:
  """Writes all variables of a model; whole or not at all.

  Args:
    path: file to write, by custom ending in `.h5`.
    model: keras.Model built of `feelvos_tf.deeplab.layers`.
    metadata: JSON-ready dict, for example {'options': options.to_dict()}.
    dtype: 'float32' or 'float16' (half the size, values rounded).

  Raises:
    ValueError: see `save_arrays`.
    OSError: the file cannot be written.
  """
  save_arrays(
    path,
    {name: variable.numpy() for name, variable in tf1_checkpoint.variables_by_name(model).items()},
    metadata,
    dtype,
  )


def save_arrays(
  path: str | os.PathLike,
  arrays: Mapping[str, np.ndarray],
  metadata: dict[str, Any],
  dtype: str = 'float32',
) -> None:
  """Writes named arrays as `save` does.

  Args:
    path: see `save`.
    arrays: {original name of a variable: float array in the variable's shape}.
    metadata: see `save`.
    dtype: see `save`.

  Raises:
    ValueError: `dtype` is neither float32 nor float16, or a value is not finite in it.
    OSError: the file cannot be written.
  """
  if dtype not in ('float32', 'float16'):
    raise ValueError(f"dtype is {dtype!r}; expected 'float32' or 'float16'.")
  path = os.fspath(path)
  os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
  # In memory: HDF5 tells of a full disk in a destructor, where nobody can handle it.
  stream = io.BytesIO()
  with h5py.File(stream, 'w') as file:
    file.attrs['format'] = FORMAT
    file.attrs['metadata'] = json.dumps(metadata, sort_keys=True)
    for name, value in arrays.items():
      with np.errstate(over='ignore'):  # Checked next.
        stored = np.asarray(value, dtype)
      if not np.all(np.isfinite(stored)):
        raise ValueError(f'{path}: {name} has values that are not finite in {dtype}.')
      file.create_dataset(name, data=stored, compression='gzip', shuffle=True)
  whole_file.write_bytes(path, stream.getvalue())


def read_metadata(path: str | os.PathLike) -> dict[str, Any]:
  """Returns the metadata of a weights file.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is not one of ours, or is truncated or damaged.
  """
  with _open(path) as file:
    try:
      metadata = json.loads(file.attrs['metadata'])
    except (KeyError, ValueError, TypeError, OSError, RuntimeError) as error:
      raise ValueError(f'{path}: its options are damaged; copy it again.') from error
  if not isinstance(metadata, dict):
    raise ValueError(f'{path}: its options are damaged; copy it again.')
  return metadata


def read_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Returns all variables of a weights file: {name: float32 array in the variable's shape}.

  Links are not followed: what is read lies in the file.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is not one of ours, is truncated, or holds something else than a model's
      numbers.
  """
  with _open(path) as file:
    try:
      found = dict(_datasets(path, file))
      _check_contents(path, found)
      return {name: _finite(path, name, item[()]) for name, item in found.items()}
    except (OSError, RuntimeError, KeyError, TypeError, UnicodeDecodeError) as error:
      reason = ' '.join(str(error).split())
      raise ValueError(f'{path}: truncated weights file ({reason}); copy it again.') from error


def _datasets(path: str | os.PathLike, file: h5py.File) -> Iterator[tuple[str, h5py.Dataset]]:
  """(name, dataset) of all that lie in a file, each once.

  Not `visititems`: on groups in groups in groups, its time grows with more than the square.
  """
  seen, todo = {h5py.h5o.get_info(file.id).addr}, [('', file, 0)]
  while todo:
    prefix, item, level = todo.pop()
    if isinstance(item, h5py.Dataset):
      yield prefix, item
      continue
    if level > _MOST_LEVELS or len(seen) > _MOST_ITEMS:
      raise ValueError(
        f'{path}: more than {_MOST_LEVELS} levels of groups or {_MOST_ITEMS} arrays given; expected '
        'the weights of a model.'
      )
    inner = []
    for name in item:
      if isinstance(item.get(name, getlink=True), h5py.HardLink):
        found = item[name]
        address = h5py.h5o.get_info(found.id).addr
        if address not in seen and isinstance(found, (h5py.Group, h5py.Dataset)):
          seen.add(address)
          inner.append((f'{prefix}/{name}'.lstrip('/'), found, level + 1))
    todo.extend(reversed(inner))


def _check_contents(path: str | os.PathLike, datasets: Mapping[str, h5py.Dataset]) -> None:
  total = 0
  for name, item in datasets.items():
    if item.dtype.kind not in 'fiu':
      raise ValueError(f'{path}: {name} has values of the type {item.dtype}; expected numbers.')
    if item.external or item.is_virtual:
      raise ValueError(f'{path}: {name} lies in another file; expected numbers in this one.')
    if item.size is None:
      raise ValueError(f'{path}: {name} has no values; expected numbers.')
    total += 4 * item.size
    if total > _MOST_BYTES:
      raise ValueError(
        f'{path}: {name} has {item.size} values; expected at most {_MOST_BYTES >> 30} GiB of '
        'float32 in a file.'
      )


def _finite(path: str | os.PathLike, name: str, values: np.ndarray) -> np.ndarray:
  """Values as float32, which have to be finite: others would make masks of nothing."""
  with np.errstate(over='ignore'):
    values = values.astype(np.float32)
  if not np.isfinite(values).all():
    raise ValueError(f'{path}: {name} has values that are not finite in float32.')
  return values


def restore(
  path: str | os.PathLike, model: 'keras.Model', allow_incomplete: bool = False
) -> tf1_checkpoint.Report:
  """Loads a weights file into a model.

  Args:
    path: file written by `save`.
    model: keras.Model whose variables exist.
    allow_incomplete: load what fits although something does not.

  Returns:
    `tf1_checkpoint.Report`.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is broken or does not fit the model; the model is not touched then.
  """
  return tf1_checkpoint.restore_from_reader(
    Arrays(read_arrays(path)), path, model, allow_incomplete
  )


class Arrays:
  """A dict of arrays with the two methods of a checkpoint reader that loading needs."""

  def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
    """Args: {name: float32 array in the variable's shape}, see `read_arrays`."""
    self._arrays = arrays

  def get_variable_to_shape_map(self) -> dict[str, list[int]]:
    """Returns a dict of name to shape."""
    return {name: list(value.shape) for name, value in self._arrays.items()}

  def get_tensor(self, name: str) -> np.ndarray:
    """The array of that name, float32 [...], in the shape of its variable."""
    return self._arrays[name]


def _open(path: str | os.PathLike) -> h5py.File:
  path = os.fspath(path)
  if not os.path.isfile(path):
    raise FileNotFoundError(f'{path}: no such weights file; check the path.')
  try:
    file = h5py.File(path, 'r')
  except (OSError, RuntimeError) as error:
    reason = ' '.join(str(error).split())
    raise ValueError(f'{path}: not a weights file or truncated ({reason}).') from error
  try:
    its_format = file.attrs.get('format')
  except (OSError, RuntimeError, ValueError, TypeError, KeyError):
    its_format = None  # Damaged.
  if not isinstance(its_format, str) or its_format != FORMAT:
    file.close()
    raise ValueError(
      f'{path}: not a weights file of this project; expected the attribute '
      f'format = {FORMAT!r}. Keras files are converted by '
      'tools.convert_checkpoint.'
    )
  return file
