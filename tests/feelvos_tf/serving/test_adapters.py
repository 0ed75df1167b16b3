"""The adapters of CVAT and Label Studio, called as these call them, on a server's sessions."""

import base64
from fractions import Fraction
import importlib.util
import json
import pathlib
import types

import cv2
import httpx
import numpy as np
import pytest

from .conftest import png

EXAMPLES = pathlib.Path(__file__).resolve().parents[3] / 'examples'


def load(path):
  spec = importlib.util.spec_from_file_location(path.parent.name, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.fixture(scope='module')
def frames():
  images = []
  for i in range(3):
    image = np.random.default_rng(1).integers(60, 90, (48, 64, 3), dtype=np.uint8)
    images.append(cv2.circle(image, (24 + i, 22), 12, (220, 200, 40), -1))
  return images


@pytest.fixture
def client(server):
  with httpx.Client(base_url=server.url, timeout=60) as client:
    yield client


def test_cvat_tracker(client, frames):
  """A rectangle and a polygon; states are JSON, as CVAT keeps them; expired sessions begin anew."""
  adapter = load(EXAMPLES / 'cvat' / 'main.py')
  context = types.SimpleNamespace(user_data=types.SimpleNamespace(), Response=dict)
  adapter.init_context(context)
  context.user_data.tracker = adapter.Tracker(client, 'small')

  def call(frame, shapes, states):
    body = {'image': base64.b64encode(png(frame)).decode(), 'shapes': shapes, 'states': states}
    reply = adapter.handler(context, types.SimpleNamespace(body=json.loads(json.dumps(body))))
    assert reply['status_code'] == 200 and reply['content_type'] == 'application/json'
    return json.loads(reply['body'])

  shapes = [[10.0, 8.0, 38.0, 36.0], [10.0, 8.0, 38.0, 8.0, 38.0, 36.0, 10.0, 36.0]]
  first = call(frames[0], shapes, [])
  assert first['shapes'] == shapes and all(state['session_id'] for state in first['states'])
  second = call(frames[1], first['shapes'], first['states'])
  rectangle, polygon = second['shapes']
  assert (
    len(rectangle) == 4 and rectangle[0] < rectangle[2] <= 64 and rectangle[1] < rectangle[3] <= 48
  )
  assert len(polygon) >= 6 and len(polygon) % 2 == 0
  client.delete(f'/v1/sessions/{second["states"][0]["session_id"]}')
  third = call(frames[2], second['shapes'], second['states'])
  assert third['states'][0] != second['states'][0] and third['states'][1] == second['states'][1]
  for state in third['states']:
    client.delete(f'/v1/sessions/{state["session_id"]}')


def test_cvat_rectangles_that_leave_the_frame_end_at_its_edge():
  adapter = load(EXAMPLES / 'cvat' / 'main.py')
  assert adapter.drawing([30.0, 20.0, -8.0, -2.5]) == {'box': '0,0,30,20'}


@pytest.mark.parametrize(
  'given, first, expected',
  [
    ({'framerate': '30'}, 241, {240: [241], 241: [242], 242: [243]}),
    ({}, 241, {300: [241], 301: [242], 302: [243], 303: [244], 304: [], 305: [245]}),
    ({'framerate': 'many'}, 242, {301: [242], 302: [243], 303: [244], 304: []}),
    ({'framerate': '0.01'}, 1001, {300: [1001, 1002, 1003, 1004], 301: [1005, 1006, 1007]}),
  ],
)
def test_label_studio_has_a_rate_of_its_own(given, first, expected):
  """A video of 30 frames a second; frame 241 of 24 a second is shown after ten seconds."""
  backend = load(EXAMPLES / 'label_studio' / 'app.py')
  video = types.SimpleNamespace(
    fps=30, frames=lambda: iter(range(310)), frame_time=lambda index: Fraction(index, 30)
  )
  rate = backend.frame_rate({'data': {}}, given)
  found = {picture: list(numbers) for picture, numbers in backend.shown(video, first, rate)}
  assert list(found.items())[: len(expected)] == list(expected.items())
  assert list(found)[-1] == 309


@pytest.mark.parametrize('token', ['', 'sesame'])
def test_label_studio_and_cvat_bring_the_token(monkeypatch, token):
  monkeypatch.setenv('FEELVOS_TOKEN', token)
  expected = 'Bearer sesame' if token else None
  with load(EXAMPLES / 'label_studio' / 'app.py').server() as client:
    assert client.headers.get('authorization') == expected
  context = types.SimpleNamespace(user_data=types.SimpleNamespace())
  load(EXAMPLES / 'cvat' / 'main.py').init_context(context)
  assert context.user_data.tracker._server.headers.get('authorization') == expected


@pytest.mark.parametrize(
  'address',
  [
    '/data/local-files/?d=films/my%20clip.png',
    'https://host/films/my%20clip.png?key=1',
    'my clip.png',
  ],
)
def test_label_studio_names_videos_by_addresses(tmp_path, monkeypatch, address):
  backend = load(EXAMPLES / 'label_studio' / 'app.py')
  monkeypatch.setenv('FEELVOS_VIDEOS', str(tmp_path))
  (tmp_path / 'my clip.png').write_bytes(b'')
  monkeypatch.setattr(backend.folder, 'open_video', lambda path: path.name)
  assert backend.open_video({'data': {'film': address}}, {'value': '$film'}) == 'my clip.png'


@pytest.mark.parametrize(
  'x, rotation, expected',
  [
    (50, None, [32, 12, 16, 24]),
    (50, 0, [32, 12, 16, 24]),
    (50, 90, [8, 12, 24, 16]),  # The frame has 64 pixels a row: its percents are longer.
    (50, 180, [16, 0, 16, 12]),  # Cut at the edge of the frame.
    (50, 360 + 30, [20, 12, 25.856, 28.785]),
    (-12.5, 0, [0, 12, 8, 24]),
    (87.5, -90, [56, 0, 8, 12]),
  ],
)
def test_label_studio_turns_boxes(x, rotation, expected):
  """Clockwise around the corner at the top left, on a frame of 64 x 48 pixels."""
  backend = load(EXAMPLES / 'label_studio' / 'app.py')
  box = {'x': x, 'y': 25, 'width': 25, 'height': 50, 'rotation': rotation}
  posted = []

  def post(path, data=None, **unused):
    posted.append(data)
    return httpx.Response(200, json={'session_id': 'a'})

  backend.app.state.server = types.SimpleNamespace(post=post)
  assert backend._begin(b'', box, (48, 64)) == 'a'
  found = [float(value) for value in posted[0]['box'].split(',')]
  assert found == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
  'rate, numbers',
  [
    ('frameRate="10"', [[1], [2], [3]]),
    ('framerate="$speed"', [[1], [], [2]]),  # 5 a second.
    ('', [[1, 2, 3], [4, 5], [6, 7, 8]]),  # 24 a second.
  ],
)
def test_label_studio_backend(client, frames, tmp_path, monkeypatch, rate, numbers):
  from fastapi.testclient import TestClient

  backend = load(EXAMPLES / 'label_studio' / 'app.py')
  backend.app.state.server = client
  monkeypatch.setattr(backend, 'MODEL', 'small')
  monkeypatch.setenv('FEELVOS_VIDEOS', str(tmp_path))
  writer = cv2.VideoWriter(
    str(tmp_path / 'clip.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 10, (64, 48)
  )
  for frame in frames:
    writer.write(np.ascontiguousarray(frame[..., ::-1]))
  writer.release()
  box = {'frame': 1, 'x': 15.0, 'y': 16.0, 'width': 45.0, 'height': 58.0, 'enabled': True}
  region = {
    'id': 'a1',
    'type': 'videorectangle',
    'from_name': 'box',
    'to_name': 'video',
    'value': {'framesCount': 3, 'duration': 0.3, 'sequence': [box], 'labels': ['ball']},
  }
  config = f'<View><Labels name="l" toName="v"/><Video name="v" value="$film" {rate}/></View>'
  body = {
    'tasks': [{'id': 1, 'data': {'film': '/data/local-files/?d=films/clip.avi', 'speed': '5'}}],
    'label_config': config,
    'params': {'context': {'result': [region]}},
  }
  with TestClient(backend.app) as studio:
    assert studio.get('/health').json()['status'] == 'UP'
    assert studio.post('/setup', json={'project': '1.1'}).json() == {
      'model_version': backend.VERSION
    }
    assert studio.post('/webhook', json={}).status_code == 201
    assert studio.post('/predict', json={**body, 'params': {}}).json() == {'results': []}
    (prediction,) = studio.post('/predict', json=body).json()['results']
    (found,) = prediction['result']
    assert found['id'] == 'a1' and found['value']['labels'] == ['ball']
    sequence = found['value']['sequence']
    assert [key['frame'] for key in sequence] == [number for same in numbers for number in same]
    assert sequence[0] == box
    assert all(0 <= key['x'] <= 100 and 'time' in key for key in sequence[1:])
    places = {key['frame']: (key['x'], key['width']) for key in sequence}
    for same in numbers:
      assert len({places[number] for number in same}) <= 1
    body['tasks'][0]['data']['film'] = 'other.mp4'
    assert studio.post('/predict', json=body).status_code == 404
