"""Writes files_of_0_1.zip with the code of version 0.1. Not a test.

  git worktree add --detach ../version_0_1 14eaa83
  cd ../version_0_1
  PYTHONPATH=. python OUR_CHECKOUT/tests/compat/make_files.py OUR_CHECKOUT/tests/compat

It needs TensorFlow 2.20 or 2.21. Weights keep two bits of their mantissas, so that the archive is
small; what is stored of a training is its second checkpoint.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')

from absl import flags
import cv2
from datasets import masks
from datasets.synthetic import SyntheticVideo
from deeplab import ModelOptions
from feelvos_tf import export
from feelvos_tf import export_files
from feelvos_tf import train
from feelvos_tf import trainer
from feelvos_tf.serving.exported_model import ExportedModel
from feelvos_tf.model import Feelvos
from feelvos_tf.model import load_model
from feelvos_tf.model import save_model
from feelvos_tf.options import FeelvosOptions
from feelvos_tf.segmenter import VideoSegmenter
import keras
import numpy as np
import tensorflow as tf

NUM_FRAMES = 5
KEPT_BITS = -(1 << 21)  # Of a float32: sign, exponent, two bits of the mantissa.
OPTIONS = FeelvosOptions(
  ModelOptions('mobilenet_v2', depth_multiplier=0.1, output_stride=16),
  embedding_dimension=6,
  head_dimension=4,
  head_layers=1,
  head_kernel_size=3,
  window_radius=3,
  frame_grid=16,
)
# The folder `run` was made with them; `--training_number_of_steps` may grow.
RUN = [
  '--dataset=synthetic',
  '--depth_multiplier=0.1',
  '--output_stride=16',
  '--embedding_dimension=6',
  '--embedding_seg_feature_dimension=4',
  '--embedding_seg_n_layers=1',
  '--embedding_seg_kernel_size=3',
  '--previous_frame_attention_window_size=3',
  '--train_crop_size=65',
  '--train_batch_size=1',
  '--log_steps=1',
  '--save_interval_steps=1',
  '--max_to_keep=1',
]


def rounded(array):
  """float32 values that compress."""
  return (np.asarray(array, np.float32).view(np.int32) & KEPT_BITS).view(np.float32)


def round_variables(variables):
  for variable in variables:
    if variable.dtype == tf.float32 or variable.dtype == 'float32':
      variable.assign(rounded(variable.numpy()))


def make_model():
  keras.utils.set_random_seed(3)
  model = Feelvos(OPTIONS)
  round_variables(model.weights)
  return model


def png(frame):
  return cv2.imencode('.png', frame[..., ::-1])[1].tobytes()


def make_run(folder):
  """A training of two steps, its checkpoint rounded before it is written."""
  save = trainer.Trainer.save

  def save_rounded(self):
    round_variables(tf.nest.flatten(self.model.weights) + [*self._take_step.optimizer.variables])
    save(self)

  trainer.Trainer.save = save_rounded
  train.define_flags()
  flags.FLAGS(['train', f'--train_logdir={folder}', *RUN, '--training_number_of_steps=2'])
  train.main()
  for path in folder.iterdir():
    if path.name not in ('run.json', 'checkpoints'):
      shutil.rmtree(path) if path.is_dir() else path.unlink()


def sums_of_checkpoint(folder):
  reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(folder / 'checkpoints')))
  return {
    name: float(np.sum(np.abs(reader.get_tensor(name), dtype=np.float64)))
    for name, dtype in reader.get_variable_to_dtype_map().items()
    if dtype.is_floating or dtype.is_integer
  }


def main(output):
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    save_model(folder / 'weights.h5', make_model(), {'data': 'none'})
    model = load_model(str(folder / 'weights.h5'))

    video = SyntheticVideo(5, num_frames=NUM_FRAMES, frame_size=(57, 81), num_objects=2)
    frames, mask = list(video.frames()), video.mask(0)
    segmenter = VideoSegmenter(model)
    segmented = [segmenter.start(frames[0], mask.ids)] + [segmenter.step(f) for f in frames[1:]]

    signatures, info = export.build(model, 'small', 1)
    export_files.write_version(folder / 'models' / 'small' / '1', signatures, info)
    exported = ExportedModel(folder / 'models' / 'small' / '1')
    first = exported.signatures['track_resume'](
      image_bytes=tf.constant([png(frame) for frame in frames[:2]]),
      mask_bytes=tf.constant(masks.encode_mask(mask.ids, mask.palette)),
      state_bytes=tf.constant(b''),
    )
    (folder / 'state').write_bytes(first['state_bytes'].numpy())

    make_run(folder / 'run')
    (folder / 'run.txt').write_text('\n'.join(RUN))
    (folder / 'checkpoint.json').write_text(
      json.dumps(sums_of_checkpoint(folder / 'run'), indent=0)
    )

    records = f'--output_dir={folder / "records"} --num_videos=1 --num_frames=2 --num_workers=1'
    command = f'-m tools.convert_to_tfrecord --dataset=synthetic --frame_size=40,52 {records}'
    subprocess.run([sys.executable, *command.split()], check=True)

    np.savez(
      folder / 'expected.npz',
      frames=np.stack(frames),
      masks=np.stack([result.mask for result in segmented]),
      probabilities=segmented[-1].probabilities,
      sums=[np.abs(weight.numpy(), dtype=np.float64).sum() for weight in model.weights],
    )
    path = pathlib.Path(output) / 'files_of_0_1.zip'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
      for file in sorted(folder.rglob('*')):
        if file.is_file():
          archive.write(file, file.relative_to(folder).as_posix())
    print(path, path.stat().st_size)


if __name__ == '__main__':
  main(sys.argv[1])
