"""Sessions over HTTP: the masks of VideoSegmenter, and never those of another session."""

import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf import matching
from feelvos_tf.datasets import masks
from feelvos_tf.inference import contradiction
from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.model import geometry

from .conftest import ids_of
from .conftest import png
from .conftest import SessionClient


def close_enough(found, expected):
  return np.mean(found == expected) >= 0.9999


@pytest.fixture
def segmenter(small_graph, video):
  """VideoSegmenter that has been given the first frame of `video`."""
  segmenter = VideoSegmenter(small_graph)
  segmenter.start(video[0][0], video[1])
  return segmenter


def test_masks_are_those_of_the_segmenter(open_session, segmenter, video):
  session = open_session()
  assert session.info == {
    'session_id': session.info['session_id'],
    'model': 'small',
    'version': 1,
    'object_ids': [0, 3, 200],
    'height': 33,
    'width': 49,
    'frame_index': 0,
    'remembers_masks': True,
  }
  for index, frame in enumerate(video[0][1:], 1):
    reply = session.send(frame)
    expected = segmenter.step(frame)
    assert reply.headers['content-type'] == 'image/png'
    assert reply.headers['x-frame-index'] == str(index)
    assert reply.headers['x-object-ids'] == '0,3,200'
    confidence = [float(value) for value in reply.headers['x-confidence'].split(',')]
    np.testing.assert_allclose(confidence, expected.confidence, atol=2e-3)
    assert close_enough(ids_of(reply.content), expected.mask)
  assert len(np.unique(expected.mask)) > 1  # Else equality would mean little.


def test_a_correction_with_a_new_object(open_session, segmenter, video):
  frames, mask = video
  session = open_session()
  assert close_enough(session.mask_of(frames[1]), segmenter.step(frames[1]).mask)
  corrected = np.roll(mask, 3, axis=1)
  corrected[22:32, 2:14] = 50  # Between 3 and 200: their channels move.
  reply = session.correct(frames[1], corrected, frame_index=7)
  assert reply.status_code == 200
  assert reply.json() == {**session.info, 'object_ids': [0, 3, 50, 200], 'frame_index': 7}
  segmenter.correct(frames[1], corrected)
  for frame in frames[2:]:
    reply = session.send(frame)
    assert close_enough(ids_of(reply.content), segmenter.step(frame).mask)
    assert reply.headers['x-object-ids'] == '0,3,50,200'
  assert reply.headers['x-frame-index'] == '11'


def test_it_goes_on_after_a_mask_that_it_predicted(open_session, video):
  """Frame 3 is corrected after the session was at frame 5: all masks are those of one run."""
  frames, mask = video
  corrected = np.roll(mask, 5, axis=1)
  straight, again = open_session(), open_session()
  found = [straight.mask_of(frame) for frame in frames[1:3]]
  straight.correct(frames[3], corrected)
  expected = [straight.mask_of(frame) for frame in frames[4:]]
  for frame in frames[1:]:
    again.mask_of(frame)
  reply = again.client.post(
    f'{again.url}/remember',
    files={'frame': png(frames[2]), 'mask': masks.encode_mask(found[-1])},
    data={'frame_index': 2},
  )
  assert reply.status_code == 200 and reply.json() == {**again.info, 'frame_index': 2}
  again.correct(frames[3], corrected)
  np.testing.assert_array_equal([again.mask_of(frame) for frame in frames[4:]], expected)
  unknown = {'frame': png(frames[2]), 'mask': masks.encode_mask(np.full_like(mask, 9))}
  reply = again.client.post(f'{again.url}/remember', files=unknown)
  assert reply.status_code == 400 and 'the mask holds object 9' in reply.json()['error']


def test_distance_is_the_smallest_to_any_reference(small_graph, video):
  frames, mask = video
  given = [mask, np.roll(mask, 9, axis=1)]
  segmenter = VideoSegmenter(small_graph)
  segmenter.start(frames[0], given[0])
  segmenter.step(frames[1])
  segmenter.correct(frames[1], given[1])
  found = segmenter.step(frames[2]).global_distance
  query = small_graph.extract(frames[2])[1]
  distances = []
  # The second mask contradicts the first: those pixels are nobody's in the first reference.
  kept = segmenter.snapshot().references.labels
  for image, one, labels in zip(frames, given, kept):
    whole = geometry.shrink_object_labels(np.searchsorted((0, 3, 200), one).astype(np.int32), 3)
    assert set(np.unique(labels[labels != np.asarray(whole)])) <= {contradiction.NO_LABEL}
    bank = matching.prepare_reference(small_graph.extract(image)[1], labels, 3)
    distances.append(np.asarray(matching.global_matching(query, bank, 3)))
  assert np.abs(distances[0] - distances[1]).max() > 0.01  # Both references take part.
  np.testing.assert_allclose(found, np.minimum(*distances), atol=1e-4)


def test_a_mask_that_only_adds_objects(open_session, video, monkeypatch):
  """What others cover of each other is remembered if the request says so."""
  taken, correct = [], VideoSegmenter.correct
  monkeypatch.setattr(
    VideoSegmenter, 'correct', lambda self, *given: taken.append(given[3]) or correct(self, *given)
  )
  frames, mask = video
  session = open_session()
  for fields in ({'only_adds': 1}, {'only_adds': 0}, {}):
    assert session.correct(frames[1], mask, **fields).status_code == 200
  assert taken == [True, False, False]


def test_objects_can_be_removed(client, open_session, video):
  frames, mask = video
  session = open_session()
  session.mask_of(frames[1])
  without = np.where(mask == 200, 0, mask).astype(np.uint8)
  url = f'{session.url}/mask'

  def post(remove, given=without):
    files = {'frame': png(frames[1]), 'mask': png(given)}
    return client.post(url, files=files, data={'remove': remove})

  for remove, message in (
    ('3;200', 'remove: expected object ids separated by commas'),
    ('7', 'object 7 is to be removed; expected one of 3, 200'),
    ('3', 'the mask holds an object that is to be removed'),
  ):
    reply = post(remove)
    assert reply.status_code == 400 and message in reply.text
  reply = post('200')
  assert reply.status_code == 200 and reply.json()['object_ids'] == [0, 3]
  assert set(np.unique(session.mask_of(frames[2]))) <= {0, 3}


def test_a_correction_may_show_that_nothing_is_visible(open_session, video):
  session = open_session()
  reply = session.correct(video[0][1], np.zeros_like(video[1]))
  assert reply.status_code == 200 and reply.json()['object_ids'] == [0, 3, 200]


def test_state_goes_to_another_session(client, open_session, video):
  frames, mask = video
  session = open_session()
  session.mask_of(frames[1])
  session.correct(frames[1], np.roll(mask, 2, axis=0))
  state = client.get(f'{session.url}/state')
  assert state.headers['content-type'] == 'application/octet-stream'
  reply = client.post(
    '/v1/sessions', data={'model': 'small', 'frame_index': 1}, files={'state': state.content}
  )
  assert reply.status_code == 201
  assert reply.json()['object_ids'] == [0, 3, 200] and reply.json()['frame_index'] == 1
  other = f'/v1/sessions/{reply.json()["session_id"]}'
  for frame in frames[2:]:
    resumed = client.post(f'{other}/frames', content=png(frame))
    # Embeddings are rounded to bfloat16 in a state.
    assert np.mean(ids_of(resumed.content) == session.mask_of(frame)) >= 0.99
  assert reply.json()['session_id'] != session.info['session_id']


def test_state_goes_to_track_resume_and_back(client, server, open_session, video):
  session = open_session()
  state = client.get(f'{session.url}/state').content
  with server.services.models.leased('small') as version:
    result = version.model.signatures['track_resume'](
      image_bytes=tf.constant([png(video[0][1])]),
      mask_bytes=tf.constant(b''),
      state_bytes=tf.constant(state),
    )
  assert np.mean(ids_of(result['masks_bytes'].numpy()[0]) == session.mask_of(video[0][1])) >= 0.99
  reply = client.post(
    '/v1/sessions', data={'model': 'small'}, files={'state': result['state_bytes'].numpy()}
  )
  resumed = client.post(
    f'/v1/sessions/{reply.json()["session_id"]}/frames', content=png(video[0][2])
  )
  assert np.mean(ids_of(resumed.content) == session.mask_of(video[0][2])) >= 0.99


def test_the_palette_of_the_mask_comes_back(client, video):
  palette = masks.DAVIS_PALETTE[::-1].copy()
  reply = client.post(
    '/v1/sessions',
    data={'model': 'small'},
    files={'frame': png(video[0][0]), 'mask': masks.encode_mask(video[1], palette)},
  )
  url = f'/v1/sessions/{reply.json()["session_id"]}'
  answer = client.post(f'{url}/frames', content=png(video[0][1])).content
  np.testing.assert_array_equal(masks.decode_mask(answer, 'answer').palette, palette)
  state = client.get(f'{url}/state').content
  resumed = client.post('/v1/sessions', data={'model': 'small'}, files={'state': state}).json()
  answer = client.post(f'/v1/sessions/{resumed["session_id"]}/frames', content=png(video[0][1]))
  np.testing.assert_array_equal(masks.decode_mask(answer.content, 'answer').palette, palette)


def test_sessions_in_turn_do_not_mix(client, open_session, small_graph, video):
  """Three videos with other ids and sizes, a frame of each in turn."""
  frames, mask = video
  views = [(slice(None), slice(None)), (slice(0, 30), slice(2, 40)), (slice(2, 33), slice(4, 49))]
  ids = [np.arange(256, dtype=np.uint8) for _ in views]
  ids[1][[3, 200]], ids[2][[3, 200]] = [9, 8], [77, 255]
  given = [table[mask[view]] for table, view in zip(ids, views)]
  sessions = [SessionClient(client, frames[0][view], one) for view, one in zip(views, given)]
  segmenters = [VideoSegmenter(small_graph) for _ in views]
  for segmenter, view, one in zip(segmenters, views, given):
    segmenter.start(frames[0][view], one)
  for frame in frames[1:4]:
    for session, segmenter, view in zip(sessions, segmenters, views):
      assert close_enough(session.mask_of(frame[view]), segmenter.step(frame[view]).mask)


def test_close_and_describe(client, server, open_session):
  session = open_session()
  described = client.get(session.url).json()
  assert described.pop('idle_seconds') >= 0 and described == session.info
  server.clock.advance(5)
  assert client.get(session.url).json()['idle_seconds'] >= 5
  assert client.delete(session.url).status_code == 204
  for reply in (client.get(session.url), client.delete(session.url)):
    assert reply.status_code == 404
    assert reply.json() == {'error': 'no such session; it was closed, or the id is wrong.'}


def test_the_segmenter_runs_on_an_exported_model(server, segmenter, video):
  frames, mask = video
  with server.services.models.leased('small') as version:
    exported, limited = VideoSegmenter(version.model), VideoSegmenter(version.model, 32)
  exported.start(frames[0], mask)
  for frame in frames[1:3]:
    found, expected = exported.step(frame), segmenter.step(frame)
    assert close_enough(found.mask, expected.mask)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-4)
    np.testing.assert_allclose(found.confidence, expected.confidence, atol=1e-4)
  assert exported.memory_bytes == segmenter.memory_bytes
  with pytest.raises(ValueError, match='segments frames as they are, .*max_internal_size is 32'):
    limited.start(frames[0], mask)
