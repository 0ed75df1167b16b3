"""Tensors as JSON, the way TensorFlow Serving's REST API has them: rows and columns.

Row format: `instances` is a list with one element per row of the batch, an element is a value or
an object with all named inputs; the answer is `predictions`. Column format: `inputs` is the value
of the only input or an object of named inputs; the answer is `outputs`. Bytes are
`{"b64": "..."}`.

Source: https://www.tensorflow.org/tfx/serving/api_rest. The messages are TensorFlow Serving's.
"""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
import json
from typing import Any

import grpc
import numpy as np
import tensorflow as tf

from feelvos_tf.serving import errors

_BYTES_SUFFIX = '_bytes'
_MOST_DIMENSIONS = 16
_NUMBERS_AT_ONCE = 65536


def parse(body: bytes) -> dict[str, Any]:
  """The object of a request's body.

  Raises:
    RequestError: no JSON, or no object.
  """
  if not body:
    raise errors.invalid('JSON Parse error: The document is empty')
  try:
    document = json.loads(body)
  except json.JSONDecodeError as error:
    raise errors.invalid(f'JSON Parse error: {error}') from error
  except UnicodeDecodeError as error:
    raise errors.invalid('JSON Parse error: the text is not UTF-8') from error
  except RecursionError as error:
    raise errors.invalid('JSON Parse error: lists or objects nested too deeply') from error
  except ValueError as error:
    raise errors.invalid('JSON Parse error: a number of too many digits') from error
  if not isinstance(document, dict):
    raise errors.invalid('JSON Value: Is not object')
  name = document.get('signature_name', '')
  if not isinstance(name, str):
    raise errors.invalid("'signature_name' key must be a string value.")
  return document


def inputs_of(
  document: dict[str, Any],
  infos: Mapping[str, Any],
  check_size: Callable[[Sequence[int], int], None],
) -> tuple[dict[str, np.ndarray], bool]:
  """The input tensors of a request.

  Args:
    document: dict of `parse`.
    infos: dict of input name to `TensorInfo`.
    check_size: function of (shape, bytes per item) that refuses tensors that are too large.

  Returns:
    ({name: np array in the dtype of its `TensorInfo`; strings are bytes in arrays of objects},
    whether it is the row format, where the first dimension counts instances).

  Raises:
    RequestError: not formatted as the API says.
  """
  if 'instances' in document and 'inputs' in document:
    raise errors.invalid(
      "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
    )
  if 'instances' in document:
    return _of_rows(document['instances'], infos, check_size), True
  if 'inputs' in document:
    return _of_columns(document['inputs'], infos, check_size), False
  raise errors.invalid("Missing 'inputs' or 'instances' key")


def answer(outputs: Mapping[str, np.ndarray], rows: bool) -> str:
  """The JSON text of an answer.

  Args:
    outputs: {name: np array of any shape; strings are bytes in arrays of objects}.
    rows: bool, whether the request was in the row format.

  Raises:
    RequestError: row format, and the outputs have no common first dimension.
  """
  if not rows:
    columns = {name: _to_json(value, name) for name, value in outputs.items()}
    return json.dumps({'outputs': columns if len(columns) > 1 else next(iter(columns.values()))})
  _check_batch(outputs)
  columns = {name: _to_json(value, name) for name, value in outputs.items()}
  if len(columns) == 1:
    return json.dumps({'predictions': next(iter(columns.values()))})
  return json.dumps({'predictions': [dict(zip(columns, row)) for row in zip(*columns.values())]})


def single_requests(document: dict, infos: dict) -> list[dict] | None:
  """The instances of a request in the row format for a signature that has no batch dimension.

  Args:
    document: dict of `parse`.
    infos: dict of input name to `TensorInfo`.

  Returns:
    A document in the column format for every instance; None where the signature takes a batch, or
    the request is none of instances.
  """
  shapes = [info.tensor_shape for info in infos.values()]
  if all(shape.unknown_rank or shape.dim for shape in shapes):
    return None
  instances = document.get('instances')
  if 'inputs' in document or not isinstance(instances, list) or not instances:
    return None
  return [{'inputs': instance} for instance in instances]


def answer_rows(results: list[dict]) -> str:
  """The JSON text of an answer in the row format: a dict of name to np array for every row."""
  rows = [{name: _to_json(value, name) for name, value in row.items()} for row in results]
  return json.dumps(
    {'predictions': [row if len(row) > 1 else next(iter(row.values())) for row in rows]}
  )


def _of_rows(
  instances: Any, infos: Mapping[str, Any], check_size: Callable[[Sequence[int], int], None]
) -> dict[str, np.ndarray]:
  if not isinstance(instances, list):
    raise errors.invalid("Excepting 'instances' to be an list/array")  # So in TensorFlow Serving.
  if not instances:
    raise errors.invalid("No values in 'instances' array")
  named = _is_named(instances[0])
  if not named:
    _check_takes_inputs(infos)
    if len(infos) > 1:
      raise errors.invalid(
        'instances is a plain list, but expecting list of objects as multiple '
        'input tensors required as per tensorinfo_map'
      )
    instances = [{next(iter(infos)): value} for value in instances]
  columns: dict[str, list[Any]] = {name: [] for name in infos}
  for index, row in enumerate(instances):
    if not _is_named(row):
      raise errors.invalid(f'Expecting object but got list at item {index} of input list')
    if set(row) != set(infos):
      raise errors.invalid(
        f"Failed to process element: {index} of 'instances' list. JSON object "
        f'keys must be equal to: {",".join(sorted(infos))}'
      )
    for name in infos:
      columns[name].append(row[name])
  return {name: _to_array(columns[name], name, info, check_size) for name, info in infos.items()}


def _of_columns(
  inputs: Any, infos: Mapping[str, Any], check_size: Callable[[Sequence[int], int], None]
) -> dict[str, np.ndarray]:
  if not _is_named(inputs):
    _check_takes_inputs(infos)
    if len(infos) > 1:
      raise errors.invalid(
        'inputs is a plain value/list, but expecting an object as multiple '
        'input tensors required as per tensorinfo_map'
      )
    inputs = {next(iter(infos)): inputs}
  for name in infos:
    if name not in inputs:
      raise errors.invalid(f"Missing named input: {name} in 'inputs' object.")
  return {name: _to_array(inputs[name], name, info, check_size) for name, info in infos.items()}


def _check_takes_inputs(infos: Mapping[str, Any]) -> None:
  if not infos:
    raise errors.invalid('a value given for a signature without inputs; send an empty object, {}.')


def _is_named(value: Any) -> bool:
  return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value: Any) -> bool:
  return len(value) == 1 and isinstance(value.get('b64'), str)


def _to_array(
  value: Any, name: str, info: Any, check_size: Callable[[Sequence[int], int], None]
) -> np.ndarray:
  """np array of nested lists of one shape."""
  dtype = tf.as_dtype(info.dtype)
  shape, first = [], value
  while isinstance(first, list):
    shape.append(len(first))
    if not first:
      break
    first = first[0]
  if len(shape) > _MOST_DIMENSIONS:
    raise errors.invalid(
      f'JSON Value of input {name}: lists nested deeper than {_MOST_DIMENSIONS} given.'
    )
  check_size(shape, dtype.size or 1)
  values: list[Any] = []
  _flatten(value, shape, 0, values, name)
  if dtype == tf.string:
    array = np.empty(len(values), np.object_)
    array[:] = [_to_bytes(item, name) for item in values]
    return array.reshape(shape)
  kinds: dict[type, str] = {bool: 'Bool'} if dtype != tf.bool else {int: 'Number', float: 'Number'}
  kinds.update({str: 'String', dict: 'Object', type(None): 'Null'})
  if dtype.is_integer:
    kinds[float] = 'Number'
  wrong = next((item for item in values if type(item) in kinds), None)
  if wrong is not None or any(item is None for item in values):
    raise errors.invalid(
      f'JSON Value: {json.dumps(wrong)[:80]} Type: {kinds[type(wrong)]} is not '
      f'of expected type: {dtype.name} (input {name})'
    )
  try:
    return array_of_numbers(values, dtype).reshape(shape)
  except (OverflowError, ValueError) as error:
    raise errors.invalid(
      f'JSON Value of input {name} is not of expected type: {dtype.name} (a number does not fit)'
    ) from error


def array_of_numbers(values: Sequence[Any], dtype: tf.DType) -> np.ndarray:
  """np array of a list of numbers; NumPy 1 cuts integers off that are too large for their type.

  Raises:
    OverflowError, TypeError, ValueError: the type does not hold one of them.
  """
  is_bounded = dtype.is_integer and len(values) > 0
  if is_bounded and not dtype.min <= min(values) <= max(values) <= dtype.max:
    raise OverflowError(f'{dtype.name} does not hold one of the numbers')
  return np.array(values, dtype.as_numpy_dtype)


def _flatten(value: Any, shape: Sequence[int], level: int, values: list, name: str) -> None:
  if not isinstance(value, list):
    if level != len(shape):
      raise errors.invalid(
        f'JSON Value of input {name} found at incorrect level: {level + 1} in '
        f'the JSON DOM. Expected at level: {len(shape)}'
      )
    values.append(value)
    return
  if level >= len(shape):
    raise errors.invalid(
      f'Encountered list at unexpected level: {level} expected < {len(shape)} (input {name})'
    )
  if len(value) != shape[level]:
    raise errors.invalid(
      f'Encountered list at unexpected size: {len(value)} at level: {level} '
      f'expected size: {shape[level]} (input {name})'
    )
  for item in value:
    _flatten(item, shape, level + 1, values, name)


def _to_bytes(value: Any, name: str) -> bytes:
  if isinstance(value, str):
    try:
      return value.encode()
    except UnicodeEncodeError as error:
      raise errors.invalid(f'input {name}: text with half a surrogate pair given') from error
  if not isinstance(value, dict) or not _is_base64(value):
    raise errors.invalid(f'JSON Value of input {name} not formatted correctly for base64 data')
  try:
    return base64.b64decode(value['b64'], validate=True)
  except (binascii.Error, ValueError) as error:
    raise errors.invalid(f'Unable to base64 decode (input {name}: {error})') from error


def _check_batch(outputs: Mapping[str, np.ndarray]) -> None:
  size = None
  for name, value in outputs.items():
    if not np.ndim(value):
      raise errors.invalid(f'Tensor name: {name} has no shape information')
    if size not in (None, len(value)):
      raise errors.invalid(
        f'Tensor name: {name} has inconsistent batch size: {len(value)} '
        f"expecting: {size} (ask with 'inputs' instead of 'instances')"
      )
    size = len(value)


def _to_json(value: Any, name: str) -> Any:
  """Nested lists of an array; bytes of tensors named so as `{"b64": ...}`, others as text."""
  value = np.asarray(value)
  if value.dtype != object:
    return numbers(value, name)
  if name.endswith(_BYTES_SUFFIX):
    encode = lambda item: {'b64': base64.b64encode(item).decode()}
  else:
    encode = lambda item: item.decode('utf-8', 'replace')
  flat = np.empty(value.size, object)
  flat[:] = [encode(item) for item in value.ravel()]
  return flat.reshape(value.shape).tolist() if value.ndim else flat[0]


def numbers(value: np.ndarray, name: str) -> list | float | int | bool:
  """Nested lists of numbers, with the fewest digits that give the same ones.

  Args:
    value: array of numbers or bools, any shape.
    name: of the output, for the message.

  Returns:
    Lists as deep as `value` has dimensions; a number for [].

  Raises:
    RequestError: UNIMPLEMENTED, complex numbers.
  """
  if value.dtype.kind == 'c':
    raise errors.RequestError(
      grpc.StatusCode.UNIMPLEMENTED, f'output {name}: JSON has no complex numbers; ask over gRPC.'
    )
  if value.dtype.kind == 'V':  # bfloat16.
    value = value.astype(np.float32)
  if value.dtype in (np.float32, np.float16):
    value = _with_fewest_digits(value)
  return value.tolist()


def _with_fewest_digits(value: np.ndarray) -> np.ndarray:
  """float64 array whose shortest text is that of the number, not that of the double next to it.

  Text takes 128 bytes a number, so there is never much of it.
  """
  found = np.empty(value.size)
  for start in range(0, value.size, _NUMBERS_AT_ONCE):
    part = value.ravel()[start : start + _NUMBERS_AT_ONCE]
    found[start : start + _NUMBERS_AT_ONCE] = part.astype(str).astype(np.float64)
  return found.reshape(value.shape)
