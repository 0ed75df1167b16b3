"""Exported models: equal to VideoSegmenter, complete, whole or absent, clear about wrong input."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
import weight_recipe

from feelvos_tf import export
from feelvos_tf.datasets import masks
from feelvos_tf.datasets.sources import folder
from feelvos_tf.deeplab import ModelOptions
from feelvos_tf.deeplab import tf1_checkpoint
from feelvos_tf.inference import contradiction
from feelvos_tf.inference import graph as graph_lib
from feelvos_tf.inference import speed
from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.model import precision as precision_lib
from feelvos_tf.model.default_model import DEFAULT_MODEL
from feelvos_tf.model.feelvos import Feelvos
from feelvos_tf.model.options import FeelvosOptions
from feelvos_tf.runtime import packaged_files
from feelvos_tf.saved_model import png_in_graph
from feelvos_tf.saved_model import version_folder

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
NUM_FRAMES = 8
SIZE = (90, 160)
IDS = np.array([0, 3, 200], np.uint8)  # The demo's ids 0, 1, 2 with gaps.
PALETTE = masks.DAVIS_PALETTE[::-1].copy()


def small_model(**overrides):
  """A small model with weights that keep embeddings and distances in sensible ranges."""
  values = dict(embedding_dimension=16, head_dimension=16, head_layers=2, window_radius=5)
  model = Feelvos(
    FeelvosOptions(
      ModelOptions('mobilenet_v2', depth_multiplier=0.35, num_classes=5), **{**values, **overrides}
    )
  )
  for part in (model.deeplab, model.embedding_layer, model.head):
    for name, variable in tf1_checkpoint.variables_by_name(part).items():
      variable.assign(weight_recipe.value(name, variable.shape))
  return model


def demo_video(count=NUM_FRAMES, size=SIZE):
  """(list of uint8 frames, uint8 mask) of the demo clip, scaled down."""
  height, width = size
  frames = [
    cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    for _, frame in zip(range(count), folder.open_video(packaged_files.DEMO_CLIP).frames())
  ]
  ids = masks.read_mask(packaged_files.DEMO_MASK, void=False).ids
  return frames, IDS[cv2.resize(ids, (width, height), interpolation=cv2.INTER_NEAREST)]


def png(frame):
  return cv2.imencode('.png', frame[..., ::-1])[1].tobytes()


def decode(data):
  return masks.decode_mask(data, 'exported', void=False)


def share_of_equal_pixels(first, second):
  return np.mean([np.mean(a == b) for a, b in zip(first, second, strict=True)])


def segment(model, frames, mask):
  segmenter = VideoSegmenter(model)
  return [segmenter.start(frames[0], mask).mask] + [segmenter.step(f).mask for f in frames[1:]]


def write(model, path, **kwargs):
  signatures, info = export.build(model, **kwargs)
  version_folder.write_version(path, signatures, info)
  return path


@pytest.fixture(scope='module')
def model():
  return small_model()


@pytest.fixture(scope='module')
def exported(model, tmp_path_factory):
  return write(model, tmp_path_factory.mktemp('models') / 'small' / '1')


@pytest.fixture(scope='module')
def signatures(exported):
  loaded = tf.saved_model.load(str(exported))
  return loaded.signatures


@pytest.fixture(scope='module')
def video():
  return demo_video()


@pytest.fixture(scope='module')
def graph(model):
  return graph_lib.InferenceGraph(model)


@pytest.fixture(scope='module')
def expected(graph, video):
  return segment(graph, *video)


@pytest.fixture(scope='module')
def encoded(video):
  """(string [T] frames, string scalar mask)."""
  frames, mask = video
  return (
    tf.constant([png(frame) for frame in frames]),
    tf.constant(masks.encode_mask(mask, PALETTE)),
  )


def test_track_equals_the_segmenter_and_keeps_ids_and_palette(signatures, encoded, expected):
  images, mask = encoded
  result = signatures['serving_default'](image_bytes=images, mask_bytes=mask)
  decoded = [decode(data) for data in result['masks_bytes'].numpy()]
  assert share_of_equal_pixels([m.ids for m in decoded], expected) >= 0.9999
  assert {id_ for m in decoded for id_ in np.unique(m.ids)} <= set(IDS.tolist())
  assert len(np.unique(expected[-1])) > 1  # Else equality would mean little.
  for m in decoded:
    np.testing.assert_array_equal(m.palette, PALETTE)
  np.testing.assert_array_equal(result['object_ids'], IDS)


def test_confidence_is_the_segmenters(signatures, encoded, graph, video):
  images, mask = encoded
  result = signatures['track'](image_bytes=images[:2], mask_bytes=mask)
  segmenter = VideoSegmenter(graph)
  segmenter.start(video[0][0], video[1])
  expected = segmenter.step(video[0][1]).confidence
  np.testing.assert_array_equal(result['confidence'][0], [1.0, 1.0, 1.0])
  np.testing.assert_allclose(result['confidence'][1], expected, atol=1e-4)
  assert 0 < min(expected) < 1


def test_a_video_of_one_frame_gives_its_mask_back(signatures, encoded, video):
  images, mask = encoded
  result = signatures['track'](image_bytes=images[:1], mask_bytes=mask)
  np.testing.assert_array_equal(decode(result['masks_bytes'].numpy()[0]).ids, video[1])
  assert result['confidence'].shape == (1, 3)


def resume_in_chunks(signatures, images, mask, chunks):
  found, packed, start = [], tf.constant(b''), 0
  for count in chunks:
    result = signatures['track_resume'](
      image_bytes=images[start : start + count],
      state_bytes=packed,
      mask_bytes=mask if start == 0 else tf.constant(b''),
    )
    found += list(result['masks_bytes'].numpy())
    packed, start = result['state_bytes'], start + count
    np.testing.assert_array_equal(result['object_ids'], IDS)
    assert result['confidence'].shape == (count, 3)
  return found, packed


def test_resuming_in_chunks_equals_one_go(signatures, encoded, expected):
  found, packed = resume_in_chunks(signatures, *encoded, [1, 3, 4])
  decoded = [decode(data) for data in found]
  # Embeddings are rounded to bfloat16 between chunks.
  assert share_of_equal_pixels([m.ids for m in decoded], expected) >= 0.99
  np.testing.assert_array_equal(decoded[-1].palette, PALETTE)
  positions = 23 * 40
  assert len(packed.numpy()) < positions * (2 * 2 * 16 + 2) + 1000


@pytest.mark.parametrize(
  'options, stride_4',
  [
    # Of 56x100, put on the grid.
    ({'frame_grid': 16, 'largest_side': 100, 'crossing_radius': 5}, (13, 25)),
    pytest.param({'largest_side': 80}, (12, 20), marks=pytest.mark.slow),  # Of 45x80.
  ],
)
def test_other_sizes_than_the_frames_are_the_segmenters(
  tmp_path, encoded, video, options, stride_4
):
  """Frames of another size than the network's: whole, in chunks, and with a state as tensors."""
  model = small_model(**options)
  signatures = tf.saved_model.load(str(write(model, tmp_path / '1'))).signatures
  images, mask = encoded[0][:4], encoded[1]
  graph = graph_lib.InferenceGraph(model)
  expected = segment(graph, video[0][:4], video[1])
  found = signatures['track'](image_bytes=images, mask_bytes=mask)['masks_bytes'].numpy()
  assert share_of_equal_pixels([decode(data).ids for data in found], expected) >= 0.9999
  found, _ = resume_in_chunks(signatures, images, mask, [2, 2])
  assert share_of_equal_pixels([decode(data).ids for data in found], expected) >= 0.99
  labels = tf.constant(np.searchsorted(IDS, video[1]).astype(np.int32))
  three = tf.constant(3)
  state = signatures['initialize'](image=tf.constant(video[0][0]), labels=labels, num_objects=three)
  assert state['previous_labels'].shape == stride_4
  result = signatures['step'](image=tf.constant(video[0][1]), num_objects=three, **state)
  assert np.mean(IDS[result['labels']] == expected[1]) >= 0.9999
  reference = {
    'reference_embeddings': state['previous_embedding'][tf.newaxis],
    'reference_labels': state['previous_labels'][tf.newaxis],
  }
  previous = {name: value for name, value in result.items() if name.startswith('previous_')}
  assert ('previous_hidden_labels' in previous) == ('crossing_radius' in options)
  packed = signatures['save_state'](
    size=tf.constant(SIZE),
    object_ids=tf.constant(IDS, tf.int32),
    palette_bytes=tf.constant(png_in_graph.DAVIS_PALETTE_CHUNK),
    **reference,
    **previous,
  )
  restored = signatures['restore_state'](**packed)
  for name, value in previous.items():
    np.testing.assert_allclose(restored[name], value, rtol=0.01, err_msg=name)
  signatures['correct'](
    image=tf.constant(video[0][1]), labels=labels, num_objects=three, **reference
  )
  with pytest.raises(tf.errors.InvalidArgumentError, match='another size'):
    signatures['step'](image=tf.zeros([60, 160, 3], tf.uint8), num_objects=three, **state)


@pytest.mark.slow
def test_soft_feedback_survives_in_the_state(tmp_path, encoded, video):
  model = small_model(previous_prediction='probabilities')
  found, _ = resume_in_chunks(
    tf.saved_model.load(str(write(model, tmp_path / '1'))).signatures, *encoded, [2, 1, 2]
  )
  assert (
    share_of_equal_pixels([decode(data).ids for data in found], segment(model, *video)[:5]) >= 0.99
  )


def test_initialize_and_step_equal_the_inference_graph(signatures, graph, video):
  frames, mask = video
  labels = np.searchsorted(IDS, mask).astype(np.int32)
  state = graph.initialize(graph.extract(frames[0])[1], labels, 3)
  exported = signatures['initialize'](
    image=tf.constant(frames[0]), labels=tf.constant(labels), num_objects=tf.constant(3)
  )
  reference = {k: v for k, v in exported.items() if k.startswith('reference')}
  previous = {k: v for k, v in exported.items() if k.startswith('previous')}
  for frame in frames[1:4]:
    features, embedding = graph.extract(frame)
    expected, logits, maps, state, _ = graph.step(features, embedding, state, 3, SIZE)
    assert np.std(maps.global_distance) > 0.01  # Matching takes part.
    assert np.std(maps.local_distance) > 0.01
    result = signatures['step'](
      image=tf.constant(frame), num_objects=tf.constant(3), **reference, **previous
    )
    assert np.mean(result['labels'] == expected) >= 0.9999
    np.testing.assert_allclose(result['probabilities'], tf.nn.softmax(logits, axis=0), atol=1e-4)
    previous = {k: v for k, v in result.items() if k.startswith('previous')}
    np.testing.assert_allclose(previous['previous_embedding'], embedding, atol=1e-3)


def test_embed_and_segment_image_equal_the_model(signatures, model, video):
  frame = video[0][3]
  data = tf.constant(png(frame))
  np.testing.assert_allclose(
    signatures['embed'](image_bytes=data)['embedding'], model.extract(frame[None])[1][0], atol=1e-5
  )
  logits = model.deeplab(tf.cast(frame[None], tf.float32))['logits'][0]
  result = signatures['segment_image'](image_bytes=data)
  np.testing.assert_allclose(result['logits'], logits, atol=1e-5)
  assert result['labels'].shape == SIZE
  np.testing.assert_array_equal(result['labels'][::89, ::159], np.argmax(logits, -1)[::22, ::39])


def test_batch_norm_is_folded_and_nothing_is_left_variable(exported):
  saved = saved_model_pb2.SavedModel.FromString((exported / 'saved_model.pb').read_bytes())
  definition = saved.meta_graphs[0].graph_def
  nodes = list(definition.node)
  for function in definition.library.function:
    nodes += function.node_def
  kinds = {node.op for node in nodes}
  assert 'Conv2D' in kinds
  assert not {'Rsqrt', 'ReadVariableOp', 'FusedBatchNormV3'} & kinds


def test_numbers_of_objects_and_sizes_are_free(signatures, rng):
  for size, ids in (((33, 49), range(1, 9)), ((17, 20), [255])):
    frames = rng.integers(0, 256, (2, *size, 3), dtype=np.uint8)
    mask = np.zeros(size, np.uint8)
    for i, id_ in enumerate(ids):
      mask[2:9, 2 * i : 2 * i + 2] = id_
    result = signatures['track'](
      image_bytes=tf.constant([png(frame) for frame in frames]),
      mask_bytes=tf.constant(masks.encode_mask(mask)),
    )
    np.testing.assert_array_equal(result['object_ids'], [0, *ids])
    assert decode(result['masks_bytes'].numpy()[1]).ids.shape == size


def wrong_inputs():
  frames = [np.full((*SIZE, 3), shade, np.uint8) for shade in (20, 60)]
  images = [png(frame) for frame in frames]
  ids = np.zeros(SIZE, np.uint8)
  ids[10:40, 30:60] = 1
  mask = masks.encode_mask(ids)
  yield 'size of the first', [images[0], png(np.zeros((20, 30, 3), np.uint8))], mask
  yield 'size of the first frame', images, masks.encode_mask(ids[:50])
  yield 'background \\(0\\) only', images, masks.encode_mask(np.zeros(SIZE, np.uint8))
  yield 'image_bytes is empty', [], mask
  yield 'not a JPEG or PNG', [images[0], b'hello'], mask
  yield 'not a PNG', images, b''
  yield 'a PNG of colours', images, images[0]


@pytest.mark.parametrize('message, images, mask', wrong_inputs())
def test_wrong_input_gives_a_clear_error(signatures, message, images, mask):
  with pytest.raises(tf.errors.InvalidArgumentError, match=message):
    signatures['track'](
      image_bytes=tf.constant(images, tf.string, [len(images)]), mask_bytes=tf.constant(mask)
    )


def test_wrong_states_give_a_clear_error(signatures, encoded):
  images, mask = encoded
  resume = signatures['track_resume']
  packed = resume(image_bytes=images[:1], mask_bytes=mask, state_bytes=tf.constant(b''))[
    'state_bytes'
  ].numpy()
  none = tf.constant(b'')
  for state, given, message in (
    (packed, mask, 'either mask_bytes'),
    (b'', none, 'either mask_bytes'),
    (packed[:-1] + bytes([packed[-1] ^ 1]), none, 'checksum differs'),
  ):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
      resume(image_bytes=images[1:2], mask_bytes=given, state_bytes=tf.constant(state))
  other = tf.constant([png(np.zeros((20, 30, 3), np.uint8))])
  with pytest.raises(tf.errors.InvalidArgumentError, match='size of the first'):
    resume(image_bytes=other, mask_bytes=none, state_bytes=tf.constant(packed))


def test_step_refuses_a_state_of_another_size(signatures):
  state = signatures['initialize'](
    image=tf.zeros([20, 30, 3], tf.uint8),
    labels=tf.zeros([20, 30], tf.int32),
    num_objects=tf.constant(1),
  )
  with pytest.raises(tf.errors.InvalidArgumentError, match='another size'):
    signatures['step'](image=tf.zeros([40, 30, 3], tf.uint8), num_objects=tf.constant(1), **state)
  with pytest.raises(tf.errors.InvalidArgumentError, match='0 to num_objects - 1'):
    signatures['initialize'](
      image=tf.zeros([9, 9, 3], tf.uint8), num_objects=tf.constant(2), labels=tf.fill([9, 9], 2)
    )


def test_corrections_equal_the_segmenter(signatures, graph, video):
  """Told by tensors: a second reference frame, and an object that is new in it."""
  frames, mask = video
  corrected = np.roll(mask, 5, axis=1)
  corrected[60:80, 5:30] = 100
  segmenter = VideoSegmenter(graph)
  segmenter.start(frames[0], mask)
  segmenter.correct(frames[2], corrected)
  kept = segmenter.snapshot().references.labels[:1]
  expected = segmenter.step(frames[3]).mask
  ids = np.array([0, 3, 100, 200], np.uint8)
  state = signatures['initialize'](
    image=tf.constant(frames[0]),
    num_objects=tf.constant(4),
    labels=tf.constant(np.searchsorted(ids, mask).astype(np.int32)),
  )
  # What the second mask contradicts is nobody's in the first reference.
  whole = state['previous_labels'].numpy()[np.newaxis]
  assert set(np.unique(kept[kept != whole])) == {contradiction.NO_LABEL}
  given = dict(
    image=tf.constant(frames[2]),
    num_objects=tf.constant(4),
    labels=tf.constant(np.searchsorted(ids, corrected).astype(np.int32)),
    reference_embeddings=state['previous_embedding'][tf.newaxis],
    reference_labels=tf.constant(kept),
  )
  state = signatures['correct'](**given)
  result = signatures['step'](image=tf.constant(frames[3]), num_objects=tf.constant(4), **state)
  assert np.mean(ids[result['labels']] == expected) >= 0.9999
  given['reference_labels'] = given['reference_labels'][:, 1:]
  with pytest.raises(tf.errors.InvalidArgumentError, match='reference_embeddings and reference_'):
    signatures['correct'](**given)


def test_model_json_and_readme_describe_the_model(exported, model):
  info = json.loads((exported / 'model.json').read_text())
  assert FeelvosOptions.from_dict(info['options']) == model.options
  assert info['ids'] == {'background': 0, 'smallest': 1, 'largest': 255, 'most_objects': 255}
  assert info['signatures']['track']['inputs'] == {
    'image_bytes': {'dtype': 'string', 'shape': [None]},
    'mask_bytes': {'dtype': 'string', 'shape': []},
  }
  assert info['speed'] == 'balanced'
  text = (exported / 'README.md').read_text()
  assert 'Made for the speed balanced: frames are segmented as they are,' in text
  assert all(f'`{name}`' in text for name in info['signatures'])


def test_licence_and_scores_travel_from_the_weights_file(model):
  info = version_folder.describe(
    'x',
    1,
    'float32',
    False,
    model,
    {},
    {'licence': 'Apache-2.0', 'scores': {'J&F': 0.5}, 'data': 'made up'},
  )
  assert (info['licence'], info['scores'], info['notes']) == (
    'Apache-2.0',
    {'J&F': 0.5},
    {'data': 'made up'},
  )
  assert 'Apache-2.0' in version_folder.readme(info)


def test_a_chosen_precision_names_the_machine_that_it_was_chosen_for(model, monkeypatch):
  monkeypatch.setattr(precision_lib, 'cpu_info', lambda name: 'Xeon')
  reason = 'it is 1.7 times as fast as float32'
  info = version_folder.describe('x', 1, 'bfloat16', False, model, {}, None, reason)
  made_for = info['precision_chosen_for']
  assert (made_for['processor'], made_for['reason']) == ('Xeon', reason)
  assert f'computes in bfloat16, chosen for Xeon: {reason}.' in version_folder.readme(info)
  asked_for = version_folder.describe('x', 1, 'bfloat16', False, model, {}, None)
  assert asked_for['precision_chosen_for'] is None
  assert 'computes in bfloat16.' in version_folder.readme(asked_for)


def test_a_version_appears_whole_or_not_at_all(tmp_path, monkeypatch, model):
  def fail(*args):
    raise OSError('disk full')

  monkeypatch.setattr(tf.saved_model, 'save', fail)
  info = version_folder.describe('x', 1, 'float32', False, model, {}, None)
  with pytest.raises(OSError, match='disk full'):
    version_folder.write_version(tmp_path / 'x' / '1', {}, info)
  assert list((tmp_path / 'x').iterdir()) == []


def test_a_version_that_exists_is_not_touched(exported, model):
  info = version_folder.describe('x', 1, 'float32', False, model, {}, None)
  before = sorted(exported.rglob('*'))
  with pytest.raises(ValueError, match='Give a higher --version'):
    version_folder.write_version(exported, {}, info)
  assert sorted(exported.rglob('*')) == before
  assert [path.name for path in exported.parent.iterdir()] == ['1']


def test_warmup_requests_are_what_the_server_replays(tmp_path, signatures):
  prediction_log_pb2 = pytest.importorskip('tensorflow_serving.apis.prediction_log_pb2')
  path = tmp_path / 'requests'
  version_folder.write_warmup_requests(path, 'small', list(signatures), (33, 65))
  requests = [
    prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
    for record in tf.data.TFRecordDataset(str(path))
  ]
  assert [r.model_spec.signature_name for r in requests] == [
    'serving_default',
    'track_resume',
    'embed',
    'segment_image',
  ]
  for request in requests:
    assert request.model_spec.name == 'small'
    signatures[request.model_spec.signature_name](
      **{key: tf.constant(tf.make_ndarray(value)) for key, value in request.inputs.items()}
    )


def test_the_command_exports(run_main, copying_weights, tmp_path, video, encoded):
  done = run_main(
    'feelvos_tf.export',
    f'--model={copying_weights}',
    f'--output_dir={tmp_path}',
    '--name=copying',
    '--version=3',
    '--speed=fast',
    '--warmup_size=33x49',
  )
  assert done.returncode == 0, done.stderr
  path = tmp_path / 'copying' / '3'
  assert str(path) in done.stdout
  assert 'Made for the speed fast: frames longer than ' in done.stdout
  info = json.loads((path / 'model.json').read_text())
  assert {**info['options'], **speed.exported_options('fast')} == info['options']
  assert [p.name for p in path.parent.iterdir()] == ['3']
  track = tf.saved_model.load(str(path)).signatures['serving_default']
  result = track(image_bytes=encoded[0][:2], mask_bytes=encoded[1])
  copied = decode(result['masks_bytes'].numpy()[1]).ids
  assert np.mean(copied == video[1]) > 0.9  # This model repeats the first mask at stride 4.
  again = run_main(
    'feelvos_tf.export',
    f'--model={copying_weights}',
    f'--output_dir={tmp_path}',
    '--name=copying',
    '--version=3',
  )
  assert (again.returncode, again.stderr.count('\n')) == (1, 1)
  assert 'Give a higher --version' in again.stderr


@pytest.mark.parametrize(
  'code, message, flags',
  [
    (2, '--output_dir is missing', []),
    (2, "--name is '../x'", ['--output_dir=x', '--name=../x']),
    (2, "--speed is 'best', which shows every frame", ['--output_dir=x', '--speed=best']),
    (2, "--warmup_size is '9'", ['--output_dir=x', '--warmup_size=9']),
    (2, 'exclude each other', ['--output_dir=x', '--model=a', '--seeded_model=b']),
    (2, 'precision', ['--output_dir=x', '--precision=int8']),
  ],
)
def test_wrong_flags_are_one_line(run_main, code, message, flags):
  done = run_main('feelvos_tf.export', *flags)
  assert (done.returncode, done.stderr.count('\n')) == (code, 1)
  assert message in done.stderr


@pytest.mark.slow
def test_a_missing_model_file_is_one_line(run_main, tmp_path):
  done = run_main('feelvos_tf.export', '--model=nowhere.h5', f'--output_dir={tmp_path}')
  assert (done.returncode, done.stderr.count('\n')) == (1, 1)
  assert 'nowhere.h5' in done.stderr
  assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize('precision', ['bfloat16', 'float16'])
def test_half_precisions_stay_near_float32(tmp_path, model, video, encoded, precision):
  half = export.with_precision(precision, lambda: Feelvos(model.options))
  half.set_weights(model.get_weights())
  half_signatures = tf.saved_model.load(str(write(half, tmp_path / '1'))).signatures
  found = half_signatures['embed'](image_bytes=encoded[0][2])['embedding'].numpy()
  expected = model.extract(video[0][2][None])[1][0].numpy()
  assert found.dtype == np.float32
  assert np.linalg.norm(found - expected) < 0.05 * np.linalg.norm(expected)
  assert not np.array_equal(found, expected)  # It did compute in another type.
  result = half_signatures['track'](image_bytes=encoded[0], mask_bytes=encoded[1])
  assert np.all(np.isfinite(result['confidence']))
  frames, mask = video
  ids = result['object_ids'].numpy()
  state = half_signatures['initialize'](
    image=frames[0], labels=np.searchsorted(ids, mask).astype(np.int32), num_objects=len(ids)
  )
  # No client has to know bfloat16.
  assert {tensor.dtype for tensor in state.values()} == {tf.float32, tf.int32}
  step = half_signatures['step'](image=frames[1], num_objects=len(ids), **state)
  np.testing.assert_array_equal(ids[step['labels']], decode(result['masks_bytes'][1].numpy()).ids)


def pretrained(precision='float32'):
  from feelvos_tf.model.weights import load_model

  if not DEFAULT_MODEL.exists():
    pytest.skip('needs feelvos_tf/pretrained/mobilenet_v2.h5: masks of untrained weights are noise')
  return export.with_precision(precision, lambda: load_model(DEFAULT_MODEL))


def track(path, frames, mask):
  """Masks of an exported model."""
  result = tf.saved_model.load(str(path)).signatures['track'](
    image_bytes=tf.constant([png(frame) for frame in frames]),
    mask_bytes=tf.constant(masks.encode_mask(mask)),
  )
  return [decode(data).ids for data in result['masks_bytes'].numpy()]


@pytest.mark.slow
@pytest.mark.parametrize(
  'precision, least', [('float32', 0.9999), ('bfloat16', 0.99), ('float16', 0.99)]
)
def test_the_default_model_in_every_precision(tmp_path, precision, least):
  """Against the float32 segmenter, on the demo clip."""
  frames, mask = demo_video(NUM_FRAMES, (180, 320))
  expected = segment(pretrained(), frames, mask)
  found = track(write(pretrained(precision), tmp_path / '1'), frames, mask)
  assert share_of_equal_pixels(found, expected) >= least


@pytest.mark.slow
@pytest.mark.parametrize('precision', ['bfloat16', 'float16'])
def test_half_precisions_keep_region_similarity(tmp_path, davis_root, precision):
  """J against the annotations of a DAVIS sequence changes by at most 0.005."""

  def read(kind, name):
    return sorted((davis_root / kind / '480p' / name).iterdir())[:20]

  size = (427, 240)
  frames = [
    cv2.resize(cv2.imread(str(path))[..., ::-1], size, interpolation=cv2.INTER_AREA)
    for path in read('JPEGImages', 'blackswan')
  ]
  truth = [
    cv2.resize(masks.read_mask(path).ids, size, interpolation=cv2.INTER_NEAREST)
    for path in read('Annotations', 'blackswan')
  ]

  def mean_j(found):
    return np.mean(
      [
        np.sum((a > 0) & (b > 0)) / np.sum((a > 0) | (b > 0))
        for a, b in zip(found[1:], truth[1:], strict=True)
      ]
    )

  exact = mean_j(segment(pretrained(), frames, truth[0]))
  half = mean_j(track(write(pretrained(precision), tmp_path / '1'), frames, truth[0]))
  assert abs(half - exact) <= 0.005


@pytest.mark.slow
def test_saved_model_cli_shows_and_runs(exported, tmp_path, video):
  tool = [sys.executable, '-m', 'tensorflow.python.tools.saved_model_cli']
  shown = subprocess.run(
    [*tool, 'show', '--dir', str(exported), '--all'], text=True, capture_output=True, check=True
  ).stdout
  for name in ('serving_default', 'track_resume', 'initialize', 'step', 'embed', 'segment_image'):
    assert f"signature_def['{name}']" in shown
  arrays = {
    'image': video[0][0],
    'labels': np.searchsorted(IDS, video[1]).astype(np.int32),
    'num_objects': np.array(3, np.int32),
  }
  for name, value in arrays.items():
    np.save(tmp_path / f'{name}.npy', value)
  inputs = ';'.join(f'{name}={tmp_path / name}.npy' for name in arrays)
  subprocess.run(
    [
      *tool,
      'run',
      '--dir',
      str(exported),
      '--tag_set',
      'serve',
      '--signature_def',
      'initialize',
      '--inputs',
      inputs,
      '--outdir',
      str(tmp_path),
    ],
    capture_output=True,
    check=True,
  )
  assert np.load(tmp_path / 'previous_labels.npy').shape == (23, 40)


def build_runner(path):
  """Compiles tests/cpp/run_track.cc against the TensorFlow that is installed."""
  home = pathlib.Path(tf.sysconfig.get_lib())
  libraries = [str(home / f'libtensorflow_{part}.so.2') for part in ('cc', 'framework')]
  # Kernels and sessions register themselves when libtensorflow_cc is loaded; no symbol asks for it.
  subprocess.run(
    [
      'g++',
      *tf.sysconfig.get_compile_flags(),
      '-O0',
      '-w',
      str(ROOT / 'tests' / 'cpp' / 'run_track.cc'),
      '-o',
      str(path),
      '-Wl,--no-as-needed',
      *libraries,
      f'-Wl,-rpath,{home}',
    ],
    check=True,
  )


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which('g++'), reason='needs g++')
def test_a_cpp_program_gets_the_same_masks(exported, video, expected, tmp_path):
  build_runner(tmp_path / 'run_track')
  frames, mask = video
  paths = []
  for i, frame in enumerate(frames):
    paths.append(tmp_path / f'frame{i}.png')
    paths[-1].write_bytes(png(frame))
  masks.write_mask(tmp_path / 'mask.png', mask)
  (tmp_path / 'out').mkdir()
  command = [tmp_path / 'run_track', exported, tmp_path / 'out', tmp_path / 'mask.png', *paths]
  # With and without oneDNN: kernels that ignore dilations must not change the masks.
  for onednn in ('1', '0'):
    done = subprocess.run(
      list(map(str, command)),
      text=True,
      capture_output=True,
      check=True,
      env={**os.environ, 'TF_ENABLE_ONEDNN_OPTS': onednn},
    )
    assert done.stdout == '0 3 200\n'
    found = [
      masks.read_mask(tmp_path / 'out' / f'{i}.png', void=False).ids for i in range(NUM_FRAMES)
    ]
    assert share_of_equal_pixels(found, expected) >= 0.9999
  command[3] = paths[0]
  done = subprocess.run(list(map(str, command)), text=True, capture_output=True, check=False)
  assert done.returncode == 1
  assert 'a PNG of colours' in done.stderr
