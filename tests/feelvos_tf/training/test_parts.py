"""What a training is put together from: data sets, validation, memory estimate, summaries."""

import dataclasses
import resource

import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.datasets.samples.options import TripletOptions
from feelvos_tf.datasets.sources.synthetic import synthetic_videos
from feelvos_tf.model import feelvos
from feelvos_tf.training import calibration
from feelvos_tf.training import data
from feelvos_tf.training import memory
from feelvos_tf.training import summaries as summaries_lib
from feelvos_tf.training import validation
from feelvos_tf.training.data import DataSet


def test_records_and_folders_give_the_same_clips(run_main, tmp_path):
  import cv2

  from feelvos_tf.datasets import masks

  for name, video in zip('ab', synthetic_videos(2, num_frames=3, frame_size=(40, 50))):
    for part in ('frames', 'masks'):
      (tmp_path / 'videos' / name / part).mkdir(parents=True)
    for index, frame in enumerate(video.frames()):
      cv2.imwrite(str(tmp_path / 'videos' / name / 'frames' / f'{index}.jpg'), frame)
      masks.write_mask(tmp_path / 'videos' / name / 'masks' / f'{index}.png', video.mask(index).ids)
  done = run_main(
    'tools.convert_to_tfrecord',
    '--dataset=folder',
    '--num_workers=1',
    f'--data_dir={tmp_path / "videos"}',
    f'--output_dir={tmp_path / "records"}',
  )
  assert done.returncode == 0, done.stderr
  direct = data.clips(DataSet('folder', folder=str(tmp_path / 'videos')))
  converted = data.clips(DataSet('anything', records=str(tmp_path / 'records')))
  assert [clip.name for clip in direct] == [clip.name for clip in converted] == ['a', 'b']
  for one, other in zip(direct, converted):
    for index in range(3):
      np.testing.assert_array_equal(one.image(index), other.image(index))
      np.testing.assert_array_equal(one.labels(index), other.labels(index))
  videos = data.videos(DataSet('x', records=str(tmp_path / 'records')), 1)
  assert [video.name for video in videos] == ['a']


@pytest.mark.parametrize(
  'kwargs, match',
  [
    ({'name': 'coco', 'folder': 'x'}, "data set 'coco' given; expected one of davis2016"),
    ({'name': 'folder'}, 'neither records nor a folder'),
    ({'name': 'folder', 'folder': 'x', 'records': 'y'}, 'choose one'),
  ],
)
def test_wrong_data_sets_are_refused(kwargs, match):
  with pytest.raises(ValueError, match=match):
    DataSet(**kwargs)


def test_data_that_are_not_there(tmp_path):
  with pytest.raises(FileNotFoundError, match='no such folder'):
    data.clips(DataSet('davis2017', folder=str(tmp_path / 'none')))
  with pytest.raises(FileNotFoundError, match='no such folder'):
    data.clips(DataSet('davis2017', records=str(tmp_path / 'none')))
  (tmp_path / 'train-00000-of-00001.tfrecord').write_bytes(b'no record at all, not one')
  with pytest.raises(ValueError, match='train-00000-of-00001.tfrecord'):
    data.clips(DataSet('davis2017', records=str(tmp_path)))


def test_original_names_of_data_sets():
  assert DataSet('davis_2017', records='x').name == 'davis2017'


def test_validation_scores_with_the_weights_of_the_moment(copying_model):
  from feelvos_tf.deeplab import tf1_checkpoint

  (video,) = synthetic_videos(1, num_frames=4, frame_size=(64, 96), num_objects=2)
  validate = validation.Validation([video], num_frames=3)
  score = validate(copying_model)
  # The model copies the first mask, so J is that of the first mask, to the precision of stride 4.
  truth = [video.mask(index).ids for index in range(3)]
  copied = np.mean(
    [
      np.sum((truth[0] == i) & (truth[t] == i)) / np.sum((truth[0] == i) | (truth[t] == i))
      for t in (1, 2)
      for i in video.mask(0).object_ids
    ]
  )
  assert abs(score - copied) < 0.15 and 0 < score < 1
  bias = tf1_checkpoint.variables_by_name(copying_model)['logits/semantic/weights']
  before = bias.numpy()
  try:
    bias.assign(tf.zeros_like(bias))  # All logits equal: background everywhere.
    assert validate(copying_model) < 0.05
  finally:
    bias.assign(before)


def test_validation_needs_videos_that_can_be_scored():
  (short,) = synthetic_videos(1, num_frames=1)
  with pytest.raises(ValueError, match='at least two frames with masks'):
    validation.Validation([short])
  with pytest.raises(ValueError, match='no video'):
    validation.Validation([])
  (sparse,) = synthetic_videos(1, num_frames=9)
  sparse.masked_frames = (1, 6)
  validation.Validation([sparse], num_frames=6)
  with pytest.raises(ValueError, match='second mask comes 5 frames behind .*--validation_frames=6'):
    validation.Validation([sparse], num_frames=5)


def test_validation_begins_where_the_first_object_appears(copying_model):
  (late,) = synthetic_videos(1, num_frames=5, frame_size=(64, 96))
  plain = validation.Validation([late], num_frames=2)
  drawn = late.mask

  def mask(index):
    found = drawn(index)
    return found if index >= 2 else dataclasses.replace(found, ids=np.zeros_like(found.ids))

  late.mask = mask
  validate = validation.Validation([late], num_frames=2)
  truth = [mask(index).ids for index in (2, 3)]
  both = [
    np.sum((truth[0] == i) & (truth[1] == i)) / np.sum((truth[0] == i) | (truth[1] == i))
    for i in (1, 4)
  ]
  assert abs(validate(copying_model) - np.mean(both)) < 0.15
  assert validate.identity != plain.identity
  late.masked_frames = (0, 1, 4)  # The object is on the last one only.
  with pytest.raises(
    ValueError, match='synthetic_00000: no mask before the last one has an object'
  ):
    validation.Validation([late])


def test_memory_is_read_from_the_system(tmp_path):
  (tmp_path / 'meminfo').write_text('MemTotal: 9 kB\nMemAvailable:    2048 kB\n')
  assert memory.available_bytes(tmp_path / 'meminfo', tmp_path) == 2048 * 1024
  (tmp_path / 'memory.max').write_text('1000000\n')
  (tmp_path / 'memory.current').write_text('400000\n')
  assert memory.available_bytes(tmp_path / 'meminfo', tmp_path) == 600000
  # Of a container that has just read its data, which fill the cache.
  (tmp_path / 'memory.stat').write_text('anon 50000\nactive_file 100000\ninactive_file 250000\n')
  assert memory.available_bytes(tmp_path / 'meminfo', tmp_path) == 950000
  (tmp_path / 'memory.max').write_text('max\n')
  assert memory.available_bytes(tmp_path / 'meminfo', tmp_path) == 2048 * 1024
  assert memory.available_bytes(tmp_path / 'none', tmp_path / 'none') is None


def test_step_that_does_not_fit_is_refused(monkeypatch):
  monkeypatch.setattr(memory, 'available_bytes', lambda: 3e9)
  memory.check('mobilenet_v2', TripletOptions(crop_size=(65, 65)), 2)
  memory.check('mobilenet_v2', TripletOptions(crop_size=None), 1)
  with pytest.raises(
    ValueError,
    match=r'6 videos with 3 crops of 801x801 needs about .* GB and '
    r'3.0 GB are free; lower --train_crop_size',
  ):
    memory.check('mobilenet_v2', TripletOptions(crop_size=(801, 801)), 6)


def sample_and_maps(rng):
  labels = np.zeros((3, 33, 33), np.int32)
  labels[:, 5:20, 5:20], labels[:, 25:] = 1, 255
  sample = {'images': rng.integers(0, 256, (3, 33, 33, 3)).astype(np.float32), 'labels': labels}
  maps = {
    name: rng.uniform(size=(2, 9, 9)).astype(np.float32)
    for name in ('logits', 'global_distance', 'local_distance')
  }
  return sample, maps


def test_pictures(rng):
  sample, maps = sample_and_maps(rng)
  found = summaries_lib.pictures(sample, maps)
  assert found['triplet'].shape == (33, 99, 3) and found['prediction'].shape == (33, 33, 3)
  assert found['global_distance'].shape == (9, 18, 3)
  np.testing.assert_array_equal(
    found['local_distance'][:, 9:, 0], np.rint(maps['local_distance'][1] * 255)
  )
  # Ignored pixels are not drawn over, objects are.
  np.testing.assert_array_equal(found['triplet'][26:, :33], sample['images'][0, 26:])
  assert np.any(found['triplet'][8:18, 8:18] != sample['images'][0, 8:18, 8:18])


def test_summaries_are_event_files_with_scalars_and_pictures(rng, tmp_path):
  pytest.importorskip('tensorboard')
  summaries = summaries_lib.Summaries(tmp_path, picture_secs=1000)
  sample, maps = sample_and_maps(rng)
  for step in (1, 2):
    summaries.write(step, {'learning_rate': 0.5}, sample, maps)
  found = []
  for path in tmp_path.iterdir():
    for event in tf.compat.v1.train.summary_iterator(str(path)):
      found += [(event.step, value.tag) for value in event.summary.value]
  assert [step for step, tag in found if tag == 'learning_rate'] == [1, 2]
  # Pictures are not due again at step 2.
  assert [tag for step, tag in found if step == 1 and tag != 'learning_rate'] == [
    'triplet',
    'prediction',
    'global_distance',
    'local_distance',
  ]
  assert [tag for step, tag in found if step == 2] == ['learning_rate']


def _small_model():
  from feelvos_tf.deeplab import ModelOptions
  from feelvos_tf.model.feelvos import Feelvos
  from feelvos_tf.model.options import FeelvosOptions

  return Feelvos(
    FeelvosOptions(
      ModelOptions('mobilenet_v2', depth_multiplier=0.35),
      embedding_dimension=24,
      head_dimension=8,
      head_layers=1,
    )
  )


def test_calibration_sets_statistics_of_the_data(rng):
  from feelvos_tf.deeplab import tf1_checkpoint

  model = _small_model()
  named = tf1_checkpoint.variables_by_name(model)
  before = {name: variable.numpy() for name, variable in named.items()}
  images = rng.integers(0, 256, (2, 65, 65, 3)).astype(np.float32)
  count = calibration.calibrate(model, [images] * 40)
  layers = calibration.layers_with_statistics(model, ('aspp', 'decoder'))
  assert 0 < len(layers) < count
  changed = {
    name for name, variable in named.items() if not np.array_equal(variable.numpy(), before[name])
  }
  assert changed == {
    f'{scope}/BatchNorm/{leaf}'
    for scope in {name.rsplit('/BatchNorm/', 1)[0] for name in changed}
    for leaf in ('moving_mean', 'moving_variance')
  }
  assert len(changed) == 2 * count
  assert not any(name.startswith(('MobilenetV2', 'embedding')) for name in changed)
  # Frozen again: what comes out now has mean 0 and variance 1 before gamma, beta and ReLU.
  assert all(not layer.fine_tune_batch_norm for layer in layers)
  projected = model.deeplab(images)['features']
  assert np.isfinite(projected).all()


def test_spread_matching_leaves_no_dead_channel(rng):
  model = _small_model()
  images = rng.integers(0, 256, (3, 65, 65, 3)).astype(np.float32)
  head = model.head.depthwise[0]
  # The unlucky draw: the kernel of the distances sums up to less than 0.
  head.kernel.assign(-np.abs(head.kernel))
  of_features = np.array(head.kernel)[:, :, :256]
  # Whole frames differ in size.
  calibration.spread_matching(model, [images[:2], images[2:], images[:1, :49]])
  features, embedding = model.extract(images)
  embedding = np.asarray(embedding).reshape(3, -1, 24)
  assert (embedding.std(axis=1) > 0).all()
  pairs = embedding[:, rng.permutation(embedding.shape[1])] - embedding
  assert 3.0 < (pairs**2).sum(axis=-1).mean() < 5.0
  np.testing.assert_array_equal(np.array(head.kernel)[:, :, :256], of_features)
  maps = rng.uniform(0, 1, (3, 2, 17, 17)).astype(np.float32)
  before = model.segment(features[0], feelvos.Maps(*maps))
  for name in model.options.object_inputs:
    changed = feelvos.Maps(*maps)._replace(**{name: np.zeros([2, 17, 17], np.float32)})
    assert np.abs(model.segment(features[0], changed) - before).max() > 0, name


def test_a_disk_that_gets_full_under_summaries(tmp_path):
  """TensorFlow raises OutOfRangeError, which elsewhere is the end of the data."""
  pytest.importorskip('tensorboard')
  summaries = summaries_lib.Summaries(tmp_path)
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
  try:
    with pytest.raises(OSError, match='File too large') as error:
      for step in range(200):
        summaries.write(step, {'loss': 0.5})
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert error.value.filename == str(tmp_path)
