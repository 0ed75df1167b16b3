"""First requests of a version: TensorFlow optimizes a graph when it runs for the first time."""

import pathlib

import numpy as np
import tensorflow as tf

from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.saved_model import version_folder
from feelvos_tf.saved_model.exported_model import ExportedModel

_FRAME_SIZE = (65, 97)


def run(model: ExportedModel, folder: pathlib.Path) -> None:
  """Replays the warm-up requests of an export and runs a tiny session.

  Args:
    model: `ExportedModel`.
    folder: its version folder.
  """
  path = pathlib.Path(folder) / version_folder.WARMUP_PATH
  if path.is_file():
    prediction_log_pb2 = version_folder.serving_protos()[1]
    for record in tf.data.TFRecordDataset(str(path)):
      log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
      if not log.HasField('predict_log'):
        continue  # Of Classify, Regress or MultiInference, which are not here.
      request = log.predict_log.request
      name = request.model_spec.signature_name or tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
      model.signatures[name](
        **{key: tf.constant(tf.make_ndarray(value)) for key, value in request.inputs.items()}
      )
  if model.keeps_state:
    frame = np.zeros((*_FRAME_SIZE, 3), np.uint8)
    mask = np.zeros(_FRAME_SIZE, np.uint8)
    mask[20:40, 20:60] = 1
    segmenter = VideoSegmenter(model)
    segmenter.start(frame, mask)
    segmenter.step(frame)
