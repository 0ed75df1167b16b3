"""One session: a video whose state stays on the server; what its frames are answered with."""

import asyncio
from collections.abc import Sequence
import secrets
from typing import Any

import grpc
import numpy as np

from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.serving import errors
from feelvos_tf.serving.model_store import Lease
from feelvos_tf.serving.options import ServingOptions


class Session:
  """One video. Everything that changes it runs under its lock, one after the other.

  Attributes:
    id: str, unguessable; `<replica>.<random>` where the server has a name among several.
    segmenter: `VideoSegmenter`.
    palette: uint8 [256, 3] of the masks that come out.
    frame_index: number of the last frame, 0 for the first.
    last_used: time of the store's clock.
  """

  def __init__(
    self,
    lease: Lease,
    segmenter: VideoSegmenter,
    palette: np.ndarray,
    frame_index: int,
    now: float,
    replica: str = '',
  ) -> None:
    token = secrets.token_urlsafe(16)
    self.id = f'{replica}.{token}' if replica else token
    self.segmenter, self.palette, self.frame_index = segmenter, palette, frame_index
    self.last_used = now
    self.lock = asyncio.Lock()
    self.lease = lease
    self.open = True

  def describe(self) -> dict[str, Any]:
    """JSON-ready dict of the API's answers."""
    height, width = self.segmenter.size or (0, 0)
    return {
      'session_id': self.id,
      'model': self.lease.version.name,
      'version': self.lease.version.number,
      'object_ids': list(self.segmenter.object_ids or ()),
      'height': height,
      'width': width,
      'frame_index': self.frame_index,
      'remembers_masks': self.segmenter.remembers_masks,
    }


class SegmentedReply:
  """What a frame is answered with.

  Attributes:
    png: bytes of the mask.
    frame_index: number of the frame, 0 for the first.
    object_ids: ids in the mask's channels, 0 first.
    confidence: float32 [objects] in 0..1, in this order.
  """

  def __init__(
    self, png: bytes, frame_index: int, object_ids: Sequence[int], confidence: np.ndarray
  ) -> None:
    self.png, self.frame_index = png, frame_index
    self.object_ids, self.confidence = object_ids, confidence

  def describe(self) -> dict[str, Any]:
    """JSON-ready dict of all but the mask."""
    return {
      'frame_index': self.frame_index,
      'object_ids': [int(object_id) for object_id in self.object_ids],
      'confidence': [round(float(value), 3) for value in self.confidence],
    }


def replica_of(session_id: str) -> str:
  """Name of the replica that a session's id begins with; '' if there is none."""
  return session_id.rpartition('.')[0]


def confidence_text(confidence: np.ndarray | Sequence[float]) -> str:
  """`X-Confidence` of float32 [objects]: three decimals each, separated by commas."""
  return ','.join(f'{value:.3f}' for value in np.asarray(confidence))


def missing(session_id: str, expired: bool, options: ServingOptions) -> errors.RequestError:
  """What is answered to the id of a session that is not there.

  Args:
    session_id: the id.
    expired: there was one, and it was not used for too long.
    options: of the server.

  Returns:
    `RequestError`: 410 if it expired or went with another replica, 404 if there never was one or it
    was closed.
  """
  if expired:
    text = (
      f'the session expired after {options.idle_seconds:g} seconds without a request; open another '
      'one.'
    )
    return errors.RequestError(grpc.StatusCode.NOT_FOUND, text, 410)
  holder = replica_of(session_id)
  if options.replica and holder and holder != options.replica:
    text = (
      'the replica that held this session is gone; go on with POST /v1/sessions and the state bytes '
      'last taken (field state), or with a frame and its mask.'
    )
    return errors.RequestError(grpc.StatusCode.NOT_FOUND, text, 410)
  text = 'no such session; it was closed, or the id is wrong.'
  return errors.RequestError(grpc.StatusCode.NOT_FOUND, text)
