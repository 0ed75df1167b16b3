"""A Label Studio ML backend on the sessions of `feelvos serve`: boxes of a video, followed.

  FEELVOS_SERVER=http://127.0.0.1:8501 uvicorn --app-dir examples/label_studio app:app --port 9090

Draw a box on a frame of a task with `<Video>` and `<VideoRectangle>`; with "Auto-annotation" on,
Label Studio posts it to /predict, and the answer holds the box on the frames that follow. The
interface is that of label-studio-ml: /health, /setup, /predict, /webhook. Videos are read from
FEELVOS_VIDEOS.

Label Studio counts frames from 1 by the attribute `frameRate` of `<Video>`, 24 without one,
whatever the rate of the file: its frame n is what a player shows at (n - 1) / frameRate seconds.
"""

from collections.abc import Iterator
from fractions import Fraction
import math
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
# Pictures of the video after the drawn one, in one answer.
MOST_FRAMES = int(os.environ.get('FEELVOS_FRAMES', '120'))
RATE = Fraction(24)  # Of Label Studio's frames, without `frameRate`.
TOLERANCE = Fraction(1, 1000)  # Seconds: times of frames are rounded to milliseconds in WebM.
MODEL = os.environ.get('FEELVOS_MODEL', '')  # Of a server with several.
TOKEN = os.environ.get('FEELVOS_TOKEN', '').strip()
app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
app.state.server = None  # httpx.Client; tests set it.


def server() -> httpx.Client:
  """The client of `feelvos serve`."""
  if app.state.server is None:
    address = os.environ.get('FEELVOS_SERVER', 'http://127.0.0.1:8501')
    headers = {'Authorization': f'Bearer {TOKEN}'} if TOKEN else {}
    app.state.server = httpx.Client(base_url=address, headers=headers, timeout=120)
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
  task, element = body['tasks'][0], _element(body.get('label_config', ''))
  video, rate = open_video(task, element), frame_rate(task, element)
  result = [follow(video, region, rate) for region in regions]
  return {'results': [{'model_version': VERSION, 'score': 1.0, 'result': result}]}


def _element(label_config: str) -> dict[str, str]:
  """Attributes of `<Video>`, whose names are not case-sensitive."""
  element = ElementTree.fromstring(label_config).find('.//Video')
  if element is None:
    raise fastapi.HTTPException(400, 'label_config: no <Video> in it')
  return {name.lower(): value for name, value in element.attrib.items()}


def frame_rate(task: dict, element: dict[str, str]) -> Fraction:
  """Label Studio's frames a second: a number, or `$fps` of the task; below 1, seconds a frame."""
  text = element.get('framerate', '')
  if text.startswith('$'):
    text = task['data'].get(text[1:], '')
  try:
    rate = Fraction(str(text))
  except (ValueError, ZeroDivisionError):
    return RATE
  return RATE if rate <= 0 else 1 / rate if rate < 1 else rate


def open_video(task: dict, element: dict[str, str]) -> Video:
  """The video of a task: the file of its name in the folder FEELVOS_VIDEOS."""
  address = task['data'][element.get('value', '$video').lstrip('$')]
  parts = urllib.parse.urlsplit(address)
  name = urllib.parse.parse_qs(parts.query).get('d', [urllib.parse.unquote(parts.path)])[0]
  path = pathlib.Path(os.environ.get('FEELVOS_VIDEOS', '.')) / pathlib.PurePosixPath(name).name
  if not path.is_file():
    raise fastapi.HTTPException(404, f'{path}: no such video; set FEELVOS_VIDEOS to their folder')
  return folder.open_video(path)


def follow(video: Video, region: dict, rate: Fraction) -> dict:
  """The region with the box on the frames after its last one."""
  sequence = list(region['value']['sequence'])
  session, box = None, sequence[-1]
  try:
    for count, (picture, numbers) in enumerate(shown(video, box['frame'], rate)):
      if count > MOST_FRAMES:
        break
      data = cv2.imencode('.png', picture[..., ::-1])[1].tobytes()
      if session is None:
        session = _begin(data, box, picture.shape[:2])
        numbers = numbers[1:]
      else:
        reply = _checked(server().post(f'/v1/sessions/{session}/frames', content=data))
        box = _box(masks.decode_mask(reply.content, 'answer', void=False).ids, box)
      sequence.extend({**box, 'frame': n, 'time': float(n / rate)} for n in numbers)
  finally:
    if session is not None:
      server().delete(f'/v1/sessions/{session}')
  return {**region, 'value': {**region['value'], 'sequence': sequence}}


def shown(video: Video, first: int, rate: Fraction) -> Iterator[tuple[np.ndarray, range]]:
  """The pictures from Label Studio's frame `first` on, and the numbers of its frames showing them.

  Where Label Studio has fewer frames than the video, no frame shows some of the pictures.
  """
  interval = 1 / Fraction(video.fps or RATE)
  number, picture, time = first, None, Fraction(0)

  def up_to(time: Fraction) -> range:
    """Numbers of further frames before that time."""
    return range(number, max(number, math.ceil((time - TOLERANCE) * rate) + 1))

  for index, following in enumerate(video.frames()):
    found = video.frame_time(index)
    time = index * interval if found is None else found
    numbers = up_to(time)
    if picture is not None and (numbers or number > first):
      yield picture, numbers
      number = numbers.stop
    picture = following
  numbers = up_to(time + interval)
  if picture is not None and (numbers or number > first):
    yield picture, numbers


def _begin(picture: bytes, box: dict, size: tuple[int, int]) -> str:
  data = {'box': ','.join(f'{value:g}' for value in _upright(box, size))}
  mask = _checked(server().post('/v1/draw', files={'frame': picture}, data=data)).content
  files = {'frame': picture, 'mask': mask}
  data = {'model': MODEL} if MODEL else {}
  return _checked(server().post('/v1/sessions', files=files, data=data)).json()['session_id']


def _upright(box: dict, size: tuple[int, int]) -> list[float]:
  """Left, top, width and height in pixels of what holds a box, which may be turned.

  Label Studio turns clockwise around the corner at the top left, in pixels.
  """
  scale = np.array([size[1], size[0]]) / 100
  width, height = np.array([box['width'], box['height']]) * scale
  angle = math.radians(box.get('rotation') or 0)
  along = width * np.array([math.cos(angle), math.sin(angle)])
  down = height * np.array([-math.sin(angle), math.cos(angle)])
  corners = np.array([box['x'], box['y']]) * scale + [0 * along, along, down, along + down]
  corners = np.clip(np.round(corners, 3), 0, [size[1], size[0]])
  first = corners.min(0)
  return [*first, *(corners.max(0) - first)]


def _box(ids: np.ndarray, last: dict) -> dict:
  """A box in percent of the frame; one that is not enabled where the object is hidden."""
  if not ids.any():
    place = {key: last[key] for key in ('x', 'y', 'width', 'height')}
    return {**place, 'rotation': last.get('rotation', 0), 'enabled': False}
  x, y, width, height = cv2.boundingRect((ids > 0).astype(np.uint8))
  across, down = 100 / ids.shape[1], 100 / ids.shape[0]
  box = {'x': x * across, 'y': y * down, 'width': width * across, 'height': height * down}
  return {**box, 'rotation': 0, 'enabled': True}


def _checked(reply: httpx.Response) -> httpx.Response:
  if reply.is_error:
    raise fastapi.HTTPException(502, f'feelvos serve says: {reply.text[:200]}')
  return reply
