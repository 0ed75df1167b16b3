"""The files of an exported version: graph, warm-up requests, model.json, README; all or none.

TensorFlow Serving loads `<name>/<number>/` as soon as it appears. So everything is written to a
hidden folder next to it and renamed in one step.
"""

from collections.abc import Iterable, Iterator, Mapping
import contextlib
import json
import os
import pathlib
import platform
import types
from typing import Any

import cv2
import numpy as np
import tensorflow as tf

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import names
from feelvos_tf.datasets import object_ids
from feelvos_tf.files import folder_lock
from feelvos_tf.files import whole_file
from feelvos_tf.model import precision as precision_lib
from feelvos_tf.model.feelvos import Feelvos
from feelvos_tf.saved_model import png_in_graph
from feelvos_tf.saved_model import state_bytes

WARMUP_PATH = 'assets.extra/tf_serving_warmup_requests'


def write_version(
  folder: str | os.PathLike,
  signatures: Mapping[str, tf.types.experimental.ConcreteFunction],
  info: dict[str, Any],
  warmup_size: tuple[int, int] | None = None,
) -> None:
  """Writes a version folder.

  Args:
    folder: the folder to appear, `<output>/<name>/<version>`.
    signatures: dict of name to concrete function.
    info: JSON-ready dict of `describe`.
    warmup_size: (height, width) of the warm-up frames; None writes no requests.

  Raises:
    ValueError: the folder exists, cannot be written, or another run is writing a version of this
      model.
  """
  folder = pathlib.Path(folder)
  with _appears_at_once(folder) as temporary:
    tf.saved_model.save(tf.Module(), str(temporary), signatures)
    if warmup_size is not None:
      path = temporary / WARMUP_PATH
      path.parent.mkdir()
      write_warmup_requests(path, info['name'], signatures, warmup_size)
    (temporary / 'model.json').write_text(json.dumps(info, indent=2, sort_keys=True) + '\n')
    (temporary / 'README.md').write_text(readme(info))


def check_folder(folder: str | os.PathLike) -> None:
  """Refuses a version folder that exists; raises ValueError."""
  folder = pathlib.Path(folder)
  if folder.exists():
    raise ValueError(f'{folder} exists; servers may be using it. Give a higher --version.')
  for parent in folder.parents:
    if parent.exists():
      if not parent.is_dir():
        raise ValueError(f'{parent} is a file; --output_dir has to be a folder.')
      if not os.access(parent, os.W_OK):
        raise ValueError(f'{parent}: cannot be written to; choose another --output_dir.')
      return


@contextlib.contextmanager
def _appears_at_once(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  check_folder(folder)
  with folder_lock.locked(folder.parent), whole_file.appearing_folder(folder) as temporary:
    yield temporary
    check_folder(folder)  # The rename would replace an empty folder without a word.


def describe(
  name: str,
  version: int,
  precision: str,
  jit_compile: bool,
  model: Feelvos,
  signatures: Mapping[str, tf.types.experimental.ConcreteFunction],
  notes: dict[str, Any] | None,
  precision_reason: str = '',
  speed: str | None = None,
) -> dict[str, Any]:
  """The content of `model.json`: options, signatures, limits, licence and scores of a model.

  Args:
    name: of the model.
    version: its number.
    precision: 'float32', 'bfloat16' or 'float16', which it computes in.
    jit_compile: whether features and embedding are compiled with XLA.
    model: `Feelvos`.
    signatures: {name of a signature: its function}.
    notes: what the weights file says of itself; `licence` and `scores` become entries of their own.
    precision_reason: why that precision, as `precision.Choice` says it; '' where it was asked for.
    speed: preset that it was exported for; None for none.

  Returns:
    JSON-ready dict.
  """
  notes = dict(notes or {})
  return {
    'name': name,
    'version': version,
    'precision': precision,
    'precision_chosen_for': _chosen_for(precision_reason),
    'speed': speed,
    'jit_compile': jit_compile,
    'options': model.options.to_dict(),
    'ids': {
      'background': 0,
      'smallest': 1,
      'largest': object_ids.LAST_ID,
      'most_objects': object_ids.LAST_ID,
    },
    'max_pixels': png_in_graph.MAX_PIXELS,
    'stride': 4,
    'state_version': state_bytes.VERSION,
    'model_key': state_bytes.model_key(model).hex(),
    'tensorflow': tf.__version__,
    'licence': notes.pop('licence', None),
    'scores': notes.pop('scores', None),
    'notes': notes,
    'signatures': {
      key: {'inputs': _specs(_inputs(function)), 'outputs': _specs(function.structured_outputs)}
      for key, function in signatures.items()
    },
  }


def _chosen_for(reason: str) -> dict[str, Any] | None:
  """The machine that a precision was chosen for and why; None if it was asked for."""
  if not reason:
    return None
  processor = precision_lib.cpu_info('model name') or platform.processor() or platform.machine()
  return {'processor': processor, 'cores': os.cpu_count(), 'reason': reason}


def made_for(info: dict[str, Any]) -> str:
  """A sentence on the size of frames and the pixels to match with that a model is made for."""
  options = info['options']
  side, limit = options['largest_side'], options['max_reference_pixels_per_object']
  size = (
    f'longer than {side} pixels are segmented at {side}' if side else 'are segmented as they are'
  )
  pixels = f'at most {limit:,} pixels' if limit else 'all pixels'
  return (
    f'Made for the speed {info["speed"]}: frames {size}, masks have the size of the frames; matches '
    f'with {pixels} of each object of the first frame.'
  )


def read_description(folder: str | os.PathLike) -> dict[str, Any]:
  """The dict of a version folder's model.json; an empty one if there is none."""
  try:
    info = names.parse_json((pathlib.Path(folder) / 'model.json').read_text(encoding='utf-8'))
  except (OSError, ValueError):
    return {}
  return info if isinstance(info, dict) else {}


def _inputs(function: tf.types.experimental.ConcreteFunction) -> dict[str, tf.TensorSpec]:
  positional, keyword = function.structured_input_signature
  return {**{spec.name: spec for spec in positional}, **keyword}


def _specs(tensors: Mapping[str, tf.Tensor | tf.TensorSpec]) -> dict[str, dict[str, Any]]:
  return {
    key: {'dtype': tensor.dtype.name, 'shape': tensor.shape.as_list()}
    for key, tensor in tensors.items()
  }


def readme(info: dict[str, Any]) -> str:
  """Text of the README next to the graph."""
  scores, chosen_for = info['scores'], info['precision_chosen_for']
  lines = [
    f'# {info["name"]}, version {info["version"]}',
    '',
    'FEELVOS video object segmentation as a TensorFlow SavedModel. Frames and the masks of the '
    'first frame go in, the masks of every frame come out.',
    '',
    f'- Backbone: {info["options"]["model"]["model_variant"]}, output stride '
    f'{info["options"]["model"]["output_stride"]}; computes in {info["precision"]}'
    + (', features compiled with XLA' if info['jit_compile'] else '')
    + (f', chosen for {chosen_for["processor"]}: {chosen_for["reason"]}.' if chosen_for else '.'),
    f'- {made_for(info)}',
    f'- Licence of the weights: {info["licence"] or "not stated by the weights file"}.',
    f'- Scores: {json.dumps(scores) if scores else "none stated by the weights file"}.',
    f'- {object_ids.GIVEN_IDS.capitalize()}, gaps allowed; 0 is background. Frames of up to '
    f'{info["max_pixels"]} pixels, JPEG or PNG, all of one size. Masks: palette or grey PNG of '
    'up to 8 bits.',
    '',
    '| signature | inputs | outputs |',
    '|---|---|---|',
  ]
  for key, value in info['signatures'].items():
    cells = [
      ', '.join(f'`{name}` {spec["dtype"]} {spec["shape"]}' for name, spec in part.items())
      for part in (value['inputs'], value['outputs'])
    ]
    lines.append(f'| `{key}` | {cells[0]} | {cells[1]} |')
  lines += [
    '',
    'Over REST every input that ends in `_bytes` is `{"b64": "..."}`:',
    '',
    '    {"signature_name": "track", "inputs": {"image_bytes": [{"b64": "..."}, ...], '
    '"mask_bytes": {"b64": "..."}}}',
    '',
    'TensorFlow Serving takes `instances` for signatures with a batch dimension, here `track_batch`.',
    '',
    'gRPC clients have to raise the limit of 4 MB on messages: '
    '`grpc.max_send_message_length` and `grpc.max_receive_message_length`.',
    '',
  ]
  return '\n'.join(lines)


def warmup_examples(size: tuple[int, int]) -> dict[str, dict[str, np.ndarray]]:
  """Inputs that exercise the signatures that take bytes.

  Args:
    size: (height, width) of the frames in pixels.

  Returns:
    {signature: {input: array of bytes, dtype object}}; `image_bytes` is [2] for whole videos and []
    for single frames, `mask_bytes` and `state_bytes` are [].
  """
  height, width = size
  ids = np.zeros(size, np.uint8)
  ids[height // 4 : height // 2 + 1, width // 4 : width // 2 + 1] = 1
  shade = np.linspace(0, 255, width, dtype=np.uint8)
  frame = np.repeat(np.tile(shade, (height, 1))[..., np.newaxis], 3, axis=2)
  image = cv2.imencode('.jpg', frame)[1].tobytes()
  images, mask = np.array([image, image], object), np.array(masks.encode_mask(ids), object)
  return {
    'serving_default': {'image_bytes': images, 'mask_bytes': mask},
    'track_resume': {
      'image_bytes': images,
      'mask_bytes': mask,
      'state_bytes': np.array(b'', object),
    },
    'embed': {'image_bytes': np.array(image, object)},
    'segment_image': {'image_bytes': np.array(image, object)},
  }


def serving_protos() -> tuple[types.ModuleType, types.ModuleType]:
  """The modules (predict_pb2, prediction_log_pb2) of tensorflow-serving-api.

  Raises:
    ImportError: the package is not installed.
  """
  from tensorflow_serving.apis import predict_pb2
  from tensorflow_serving.apis import prediction_log_pb2

  return predict_pb2, prediction_log_pb2


def write_warmup_requests(
  path: str | os.PathLike, name: str, signatures: Iterable[str], size: tuple[int, int]
) -> None:
  """Writes the requests that TensorFlow Serving replays before it says that a model is ready.

  Args:
    path: file to write, TFRecord of `PredictionLog`.
    name: name of the model.
    signatures: names of the signatures there are; those without an example are left out.
    size: (height, width) of the frames.

  Raises:
    ImportError: tensorflow-serving-api is not installed.
  """
  predict_pb2, prediction_log_pb2 = serving_protos()
  with tf.io.TFRecordWriter(str(path)) as writer:
    for signature, inputs in warmup_examples(size).items():
      if signature not in signatures:
        continue
      request = predict_pb2.PredictRequest()
      request.model_spec.name = name
      request.model_spec.signature_name = signature
      for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value, tf.string, value.shape))
      log = prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
      )
      writer.write(log.SerializeToString())
