"""A Label Studio ML backend on the sessions of `feelvos serve`: boxes of a video, followed.

  FEELVOS_SERVER=http://127.0.0.1:8501 uvicorn --app-dir examples/label_studio app:app --port 9090

Draw a box on a frame of a task with `<Video>` and `<VideoRectangle>`; with "Auto-annotation" on,
Label Studio posts it to /predict, and the answer holds the box on the frames that follow. The
interface is that of label-studio-ml: /health, /setup, /predict, /webhook. Videos are read from
FEELVOS_VIDEOS.
"""

import os
import pathlib
from typing import Any
import urllib.parse
from xml.etree import ElementTree

import cv2
import fastapi
import httpx
import numpy as np

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.sources import folder
from feelvos_tf.datasets.video import Video

VERSION = 'feelvos-sessions'
MOST_FRAMES = int(os.environ.get('FEELVOS_FRAMES', '120'))  # after the drawn one, in one answer
MODEL = os.environ.get('FEELVOS_MODEL', '')  # Of a server with several.
app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
app.state.server = None  # httpx.Client; tests set it.


def server() -> httpx.Client:
  """The client of `feelvos serve`."""
  if app.state.server is None:
    address = os.environ.get('FEELVOS_SERVER', 'http://127.0.0.1:8501')
    app.state.server = httpx.Client(base_url=address, timeout=120)
  return app.state.server


@app.get('/health')
@app.get('/')
def health() -> dict[str, Any]:
  """Label Studio asks whether the backend is there."""
  return {'status': 'UP', 'model_class': 'Feelvos'}


@app.post('/setup')
def setup() -> dict[str, Any]:
  """Label Studio connects a project."""
  return {'model_version': VERSION}


@app.post('/webhook', status_code=201)
def webhook() -> dict[str, Any]:
  """Nothing is learned from annotations."""
  return {}


@app.post('/predict')
def predict(body: dict) -> dict[str, Any]:
  """Follows every box of the context; tasks without a context have no prediction."""
  regions = ((body.get('params') or {}).get('context') or {}).get('result') or []
  regions = [r for r in regions if r.get('type') == 'videorectangle']
  if not regions:
    return {'results': []}
  video = open_video(body['tasks'][0], body.get('label_config', ''))
  result = [follow(video, region) for region in regions]
  return {'results': [{'model_version': VERSION, 'score': 1.0, 'result': result}]}


def open_video(task: dict, label_config: str) -> Video:
  """The video of a task: the file of its name in the folder FEELVOS_VIDEOS."""
  element = ElementTree.fromstring(label_config).find('.//Video')
  address = task['data'][element.get('value', '$video').lstrip('$')]
  parts = urllib.parse.urlsplit(address)
  name = urllib.parse.parse_qs(parts.query).get('d', [parts.path])[0]
  path = pathlib.Path(os.environ.get('FEELVOS_VIDEOS', '.')) / pathlib.PurePosixPath(name).name
  if not path.is_file():
    raise fastapi.HTTPException(404, f'{path}: no such video; set FEELVOS_VIDEOS to their folder')
  return folder.open_video(path)


def follow(video: Video, region: dict) -> dict:
  """The region with the box on the frames after its last one. Label Studio counts frames from 1."""
  sequence = list(region['value']['sequence'])
  start, session = sequence[-1]['frame'] - 1, None
  for index, frame in enumerate(video.frames(start), start):
    if index > start + MOST_FRAMES:
      break
    picture = cv2.imencode('.png', frame[..., ::-1])[1].tobytes()
    if session is None:
      session = _begin(picture, sequence[-1], frame.shape[:2])
      continue
    reply = _checked(server().post(f'/v1/sessions/{session}/frames', content=picture))
    ids = masks.decode_mask(reply.content, 'answer', void=False).ids
    sequence.append(_keyframe(ids, index, video.fps, sequence[-1]))
  if session is not None:
    server().delete(f'/v1/sessions/{session}')
  return {**region, 'value': {**region['value'], 'sequence': sequence}}


def _begin(picture: bytes, box: dict, size: tuple[int, int]) -> str:
  scale = np.array([size[1], size[0], size[1], size[0]]) / 100
  numbers = np.array([box['x'], box['y'], box['width'], box['height']]) * scale
  data = {'box': ','.join(f'{max(0, value):g}' for value in numbers)}
  mask = _checked(server().post('/v1/draw', files={'frame': picture}, data=data)).content
  files = {'frame': picture, 'mask': mask}
  data = {'model': MODEL} if MODEL else {}
  return _checked(server().post('/v1/sessions', files=files, data=data)).json()['session_id']


def _keyframe(ids: np.ndarray, index: int, fps: float | None, last: dict) -> dict:
  """A keyframe in percent of the frame; one that is not enabled where the object is hidden."""
  place = {'frame': index + 1, 'time': index / (fps or 25), 'rotation': 0}
  if not ids.any():
    return {**{k: last[k] for k in ('x', 'y', 'width', 'height')}, **place, 'enabled': False}
  x, y, width, height = cv2.boundingRect((ids > 0).astype(np.uint8))
  across, down = 100 / ids.shape[1], 100 / ids.shape[0]
  box = {'x': x * across, 'y': y * down, 'width': width * across, 'height': height * down}
  return {**box, **place, 'enabled': True}


def _checked(reply: httpx.Response) -> httpx.Response:
  if reply.is_error:
    raise fastapi.HTTPException(502, f'feelvos serve says: {reply.text[:200]}')
  return reply
