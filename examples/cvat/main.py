"""A CVAT serverless tracker (nuclio) on the sessions of `feelvos serve`: one session an object.

CVAT calls `handler` with `{"image": base64, "shapes": [...], "states": [...]}`. A shape is a flat
list of numbers: x1, y1, x2, y2 of a rectangle, or the corners of a polygon. Without a state it is
where the object is on this image; with one, the answer is where it is now.
"""

import base64
import json
import os
from typing import Any

import cv2
import httpx
import numpy as np

SERVER = os.environ.get('FEELVOS_SERVER', 'http://feelvos:8501')
MODEL = os.environ.get('FEELVOS_MODEL', '')  # Of a server with several.
TOKEN = os.environ.get('FEELVOS_TOKEN', '').strip()
FINEST = 1.5  # pixels by which an answered polygon may leave the mask's outline


class Tracker:
  """Follows shapes over images; all it remembers is in the states that CVAT keeps."""

  def __init__(self, server: httpx.Client, model: str = '') -> None:
    """Takes a client whose base address is the server's, and a model; '' for the only one."""
    self._server, self._model = server, {'model': model} if model else {}

  def track(self, image: bytes, shape: list[float], state: dict | None) -> tuple[list, dict]:
    """Returns (the shape on this image, the state for the next one).

    Args:
      image: an encoded image.
      shape: where the object is, or was on the image before.
      state: of the call before; None begins.

    Raises:
      httpx.HTTPStatusError: the server refuses; its text says why.
    """
    if state is None:
      return shape, self._begin(image, shape)
    reply = self._server.post(f'/v1/sessions/{state["session_id"]}/frames', content=image)
    if reply.status_code in (404, 410):  # The session expired; go on from the last image's shape.
      return shape, self._begin(image, shape)
    found = shape_of(_mask(_checked(reply)), is_polygon=len(shape) > 4)
    return found or shape, state  # Hidden: CVAT wants a shape; the person ends the track.

  def _begin(self, image: bytes, shape: dict) -> dict[str, Any]:
    mask = _checked(self._server.post('/v1/draw', files={'frame': image}, data=drawing(shape)))
    files = {'frame': image, 'mask': mask.content}
    reply = self._server.post('/v1/sessions', files=files, data=self._model)
    return {'session_id': _checked(reply).json()['session_id']}


def drawing(shape: list[float]) -> dict[str, str]:
  """The form field of the server's /v1/draw for a rectangle or polygon."""
  if len(shape) == 4:
    left, right = sorted(max(0, x) for x in shape[::2])
    top, bottom = sorted(max(0, y) for y in shape[1::2])
    return {'box': f'{left:g},{top:g},{right - left:g},{bottom - top:g}'}
  return {
    'polygon': ';'.join(f'{max(0, x):g},{max(0, y):g}' for x, y in zip(shape[::2], shape[1::2]))
  }


def shape_of(mask: np.ndarray, is_polygon: bool) -> list[float]:
  """Rectangle around a mask uint8 [height, width], or outline of its largest part; [] of none."""
  if not mask.any():
    return []
  contours, _ = cv2.findContours(
    (mask > 0).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
  )
  if not is_polygon:
    x, y, width, height = cv2.boundingRect((mask > 0).astype(np.uint8))
    return [float(v) for v in (x, y, x + width, y + height)]
  outline = cv2.approxPolyDP(max(contours, key=cv2.contourArea), FINEST, True)
  return [float(v) for v in outline.ravel()] if len(outline) > 2 else []


def _mask(reply: httpx.Response) -> np.ndarray:
  """Ids of the mask PNG in a reply: OpenCV would turn the palette into colours."""
  import io

  from PIL import Image

  return np.array(Image.open(io.BytesIO(reply.content)))


def _checked(reply: httpx.Response) -> httpx.Response:
  reply.raise_for_status()
  return reply


def init_context(context: Any) -> None:
  """Called by nuclio once."""
  headers = {'Authorization': f'Bearer {TOKEN}'} if TOKEN else {}
  context.user_data.tracker = Tracker(
    httpx.Client(base_url=SERVER, headers=headers, timeout=120), MODEL
  )


def handler(context: Any, event: Any) -> Any:
  """Called by CVAT for every image."""
  data = event.body
  image = base64.b64decode(data['image'])
  states = data.get('states') or []
  results = {'shapes': [], 'states': []}
  for index, shape in enumerate(data['shapes']):
    state = states[index] if index < len(states) else None
    shape, state = context.user_data.tracker.track(image, shape, state)
    results['shapes'].append(shape)
    results['states'].append(state)
  return context.Response(
    body=json.dumps(results), headers={}, content_type='application/json', status_code=200
  )
