"""Overlay videos over a WebSocket."""

import json
import tempfile

import cv2
import numpy as np
import pytest
from websockets import exceptions
from websockets.sync import client as websockets

from feelvos_tf.datasets import masks
from feelvos_tf.serving import overlay_routes

from .conftest import png


@pytest.fixture
def stream(server):
  with websockets.connect(f'{server.websocket_url}/v1/overlay/stream', max_size=None) as stream:
    yield stream


def test_video_shows_frames_and_masks(stream, video):
  frames, mask = video
  stream.send(json.dumps({'frames_per_second': 10}))
  for frame in frames:  # All of them before the first answer.
    stream.send(png(frame))
    stream.send(masks.encode_mask(mask))
  for i in range(len(frames)):
    assert json.loads(stream.recv(timeout=60)) == {'frames': i + 1}
  stream.send('{"end": true}')
  data = b''
  while isinstance(piece := stream.recv(timeout=60), bytes):
    assert len(piece) <= 2**20
    data += piece
  assert json.loads(piece) == {'done': True}
  with pytest.raises(exceptions.ConnectionClosedOK):
    stream.recv(timeout=60)
  shown = read_video(data)
  assert len(shown) == len(frames)
  for frame, picture in zip(frames, shown):
    picture = picture[:33, :49, ::-1].astype(int)  # Video has even sides.
    wanted = masks.overlay(frame, mask, void_id=None)
    assert np.abs(picture - wanted).mean() < 0.6 * np.abs(picture - frame).mean()


def read_video(data):
  with tempfile.NamedTemporaryFile(suffix='.mp4') as file:
    file.write(data)
    file.flush()
    capture = cv2.VideoCapture(file.name)
    assert capture.get(cv2.CAP_PROP_FPS) == 10
    pictures = []
    while (read := capture.read())[0]:
      pictures.append(read[1])
    return pictures


@pytest.mark.parametrize(
  'messages, expected',
  [
    (['hello'], 'expected a JSON object as a text message'),
    ([b'hello'], 'expected a JSON object as a text message'),
    (['{"frames_per_second": 0.5e9}'], 'frames_per_second: expected a number from 0.1'),
    ([f'{{"frames_per_second": 1{400 * "0"}}}'], 'frames_per_second: expected a number from 0.1'),
    (['{}', '{"end": true}'], 'no frame given'),
    (['{}', '{"stop": true}'], 'a text message given that is not {"end": true}'),
    (['{}', b'frame', '{"end": true}'], 'a frame without its mask given'),
    (['{}', b'frame', b'mask'], 'mask: not a PNG image given'),
  ],
)
def test_wrong_messages(stream, messages, expected):
  for message in messages:
    stream.send(message)
  assert expected in json.loads(stream.recv(timeout=60))['error']
  with pytest.raises(exceptions.ConnectionClosedError):
    stream.recv(timeout=60)


def test_size_of_mask(stream, video):
  stream.send('{}')
  stream.send(png(video[0][0]))
  stream.send(masks.encode_mask(video[1][:20]))
  assert 'pixels given for a frame of' in json.loads(stream.recv(timeout=60))['error']


def test_bounded_number_at_once(server, monkeypatch):
  monkeypatch.setattr(overlay_routes, '_MOST_AT_ONCE', 1)
  url = f'{server.websocket_url}/v1/overlay/stream'
  with websockets.connect(url), pytest.raises(exceptions.InvalidStatus) as refused:
    websockets.connect(url)
  assert refused.value.response.status_code == 429


def test_a_video_that_is_begun_is_finished_while_many_wait(server, stream, video, monkeypatch):
  """Only a new one is refused then: the frames of a begun one would be lost."""
  frames, mask = video
  stream.send('{}')
  for i, frame in enumerate(frames[:2]):
    stream.send(png(frame))
    stream.send(masks.encode_mask(mask))
    assert json.loads(stream.recv(timeout=60)) == {'frames': i + 1}
    monkeypatch.setattr(server.services.workers, '_most', 0)
  stream.send('{"end": true}')
  assert isinstance(stream.recv(timeout=60), bytes)
  assert json.loads(stream.recv(timeout=60)) == {'done': True}
  with websockets.connect(f'{server.websocket_url}/v1/overlay/stream') as other:
    other.send('{}')
    other.send(png(frames[0]))
    other.send(masks.encode_mask(mask))
    assert 'try again later' in json.loads(other.recv(timeout=60))['error']
