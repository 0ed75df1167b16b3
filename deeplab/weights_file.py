"""Our weights files: HDF5 with one dataset per variable under the original's name.

The names are those of tf1_checkpoint.py, so a file says what it holds, survives refactoring
and can be read with any HDF5 tool. Options and notes travel in the attribute `metadata` (JSON).
"""

from collections.abc import Collection, Mapping
import contextlib
import io
import json
import os
from typing import Any, TYPE_CHECKING

import h5py
import numpy as np

from feelvos_tf.deeplab import hdf5_file
from feelvos_tf.deeplab import tf1_checkpoint
from feelvos_tf.files import whole_file

if TYPE_CHECKING:
  import keras


FORMAT = 'feelvos-tf weights 1'


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
    ValueError: `dtype` is neither float32 nor float16, a value is not finite in it, or `metadata`
      is not ready for JSON.
    OSError: the file cannot be written.
  """
  if dtype not in ('float32', 'float16'):
    raise ValueError(f"dtype is {dtype!r}; expected 'float32' or 'float16'.")
  path = os.fspath(path)
  try:
    text = json.dumps(metadata, sort_keys=True)
  except (TypeError, ValueError, RecursionError) as error:
    raise ValueError(
      f'{path}: options and notes that JSON does not take ({error}); expected dicts with texts as '
      'keys, lists, texts, numbers of Python, bools or None; float(x) makes one of a NumPy number.'
    ) from error
  os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
  # In memory: HDF5 tells of a full disk in a destructor, where nobody can handle it.
  stream = io.BytesIO()
  with h5py.File(stream, 'w') as file:
    file.attrs['format'] = FORMAT
    file.attrs['metadata'] = text
    for name, value in arrays.items():
      with np.errstate(over='ignore'):  # Checked next.
        stored = np.asarray(value, dtype)
      if not np.all(np.isfinite(stored)):
        raise ValueError(f'{path}: {name} has values that are not finite in {dtype}.')
      file.create_dataset(name, data=stored, compression='gzip', shuffle=True)
  hdf5_file.know(stream.getvalue())
  whole_file.write_bytes(path, stream.getvalue())


def read(
  path: str | os.PathLike, known: Collection[str] = ()
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  """Reads a weights file, in a process of its own with limits, see `hdf5_file`.

  Links are not followed: what is read lies in the file.

  Args:
    path: file written by `save`.
    known: SHA-256 checksums (hexadecimal) of files whose bytes are trusted; they start no process.

  Returns:
    (metadata, {name: float32 array in the variable's shape}).

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is not one of ours, is truncated, takes longer than the limit to read, or
      holds something else than a model's numbers.
  """
  with contextlib.closing(_checked_parts(path, known)) as parts:
    metadata = _metadata(path, next(parts)[1])
    arrays = {name: value for name, value in parts if isinstance(value, np.ndarray)}
  return metadata, arrays


def read_metadata(path: str | os.PathLike, known: Collection[str] = ()) -> dict[str, Any]:
  """Returns the metadata of a weights file, without reading its arrays; see `read`."""
  with contextlib.closing(_checked_parts(path, known)) as parts:
    return _metadata(path, next(parts)[1])


def is_ours(path: str | os.PathLike) -> bool:
  """Whether an HDF5 file is a weights file of this project, and not one of Keras or others.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is no HDF5 file, or damaged; see `read`.
  """
  with contextlib.closing(_existing_parts(path, ())) as parts:
    return _says_ours(next(parts)[1])


def read_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Returns all variables of a file, {name: float32 array}, whatever its metadata; see `read`."""
  with contextlib.closing(_checked_parts(path, ())) as parts:
    return {name: value for name, value in parts if isinstance(value, np.ndarray)}


def _existing_parts(path: str | os.PathLike, known: Collection[str]) -> hdf5_file.Parts:
  if not os.path.isfile(path):
    raise FileNotFoundError(f'{os.fspath(path)}: no such weights file; check the path.')
  return hdf5_file.parts(path, known)


def _checked_parts(path: str | os.PathLike, known: Collection[str]) -> hdf5_file.Parts:
  """`hdf5_file.parts` of a file that says it is one of ours."""
  with contextlib.closing(_existing_parts(path, known)) as parts:
    for name, value in parts:
      if not name and not _says_ours(value):
        raise ValueError(
          f'{os.fspath(path)}: not a weights file of this project; expected the attribute '
          f'format = {FORMAT!r}. Keras files are converted by tools.convert_checkpoint.'
        )
      yield name, value


def _says_ours(attributes: Any) -> bool:
  return attributes.get('format') == FORMAT


def _metadata(path: str | os.PathLike, attributes: Any) -> dict[str, Any]:
  try:
    metadata = json.loads(attributes['metadata'])
  except (KeyError, ValueError, TypeError, RecursionError) as error:
    raise ValueError(f'{path}: its options are damaged; copy it again.') from error
  if not isinstance(metadata, dict):
    raise ValueError(f'{path}: its options are damaged; copy it again.')
  return metadata


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
