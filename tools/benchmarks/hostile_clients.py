"""Clients that no server wants: slow ones, ones that vanish, and ones that send bombs."""

import base64
import contextlib
import gzip
import itertools
import json
import socket
import threading
import time
import zlib

import cv2
import httpx
import numpy as np

from feelvos_tf.datasets import masks
from feelvos_tf.tools.benchmarks.serving_clients import decoded

_PAUSE_SECONDS = 0.05
_SLOW_SECONDS = 5.0
_CHUNK = b'IDAT'


class HostileClient(threading.Thread):
  """Does one bad thing after the other until its time is over.

  Attributes:
    deeds: how many. surprises: what a server should not have answered.
  """

  def __init__(
    self, address: str, frame: bytes, mask: np.ndarray, begin: float, end: float
  ) -> None:
    """Args: address of the server; JPEG bytes and ids of a frame; `time.monotonic` of both ends."""
    super().__init__(daemon=True)
    host, _, port = address.partition(':')
    self._address, self._server = (host, int(port)), f'http://{address}'
    self._begin, self._end = begin, end
    self._frame, self._mask = frame, masks.encode_mask(mask)
    self._bombs = bombs(frame)
    self.deeds = 0
    self.surprises: list[str] = []

  def run(self) -> None:
    """See the class."""
    time.sleep(max(0.0, self._begin - time.monotonic()))
    deeds = (self._vanish_while_opening, self._send_a_bomb, self._vanish_in_a_track, self._be_slow)
    for deed in itertools.cycle(deeds):
      if time.monotonic() > self._end:
        return
      with contextlib.suppress(OSError, httpx.TransportError):
        deed()
      self.deeds += 1
      time.sleep(_PAUSE_SECONDS)

  def _send_a_bomb(self) -> None:
    """A picture or a body that grows; it has to be refused."""
    name, data, headers = self._bombs[self.deeds % len(self._bombs)]
    if headers:
      url = f'{self._server}/v1/models/feelvos:predict'
      reply = httpx.post(url, content=data, headers=headers, timeout=120)
    else:
      files = {'frame': data, 'mask': self._mask}
      reply = httpx.post(f'{self._server}/v1/sessions', files=files, timeout=120)
    if reply.status_code < 400 or reply.status_code == 500:
      self.surprises.append(f'{name}: {reply.status_code}')

  def _vanish_while_opening(self) -> None:
    """Leaves before the answer with the session's id."""
    request = httpx.Request(
      'POST', f'{self._server}/v1/sessions', files={'frame': self._frame, 'mask': self._mask}
    )
    self._send(request, wait=0.01)

  def _vanish_in_a_track(self) -> None:
    """Asks for the masks of many frames, and leaves."""
    pack = lambda data: {'b64': base64.b64encode(data).decode()}
    inputs = {'image_bytes': [pack(self._frame)] * 50, 'mask_bytes': pack(self._mask)}
    request = httpx.Request(
      'POST', f'{self._server}/v1/models/feelvos:predict', json={'inputs': inputs}
    )
    self._send(request, wait=0.2)

  def _be_slow(self) -> None:
    """Sends a request a few bytes at a time, and never its end."""
    end = time.monotonic() + _SLOW_SECONDS
    with socket.create_connection(self._address, timeout=10) as connection:
      connection.sendall(b'POST /v1/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\n')
      while time.monotonic() < min(end, self._end):
        connection.sendall(b'X-A: b\r\n')
        time.sleep(0.5)

  def _send(self, request: httpx.Request, wait: float) -> None:
    with socket.create_connection(self._address, timeout=10) as connection:
      head = f'{request.method} {request.url.path} HTTP/1.1\r\n'
      head += ''.join(f'{name}: {value}\r\n' for name, value in request.headers.items())
      connection.sendall(head.encode() + b'\r\n' + request.read())
      time.sleep(wait)


def bombs(frame: bytes) -> list[tuple[str, bytes, dict[str, str]]]:
  """(what it is, bytes, headers): pictures without headers, bodies with.

  Args:
    frame: bytes of a JPEG.
  """
  image = cv2.cvtColor(decoded(frame), cv2.COLOR_RGB2BGR)
  progressive = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
  last_scan = progressive[progressive.rindex(b'\xff\xda') : -2]
  png = cv2.imencode('.png', image)[1].tobytes()
  body = json.dumps({'inputs': '0' * 2**24}).encode()
  return [
    ('scans', progressive[:-2] + last_scan * 4000 + progressive[-2:], {}),
    ('surplus', _with_data(png, bytes(10**7)), {}),
    ('pixels', _with_size(png, 60000, 60000), {}),
    ('gzip', gzip.compress(body * 8), {'Content-Encoding': 'gzip'}),
    ('nested', b'{"inputs": ' + b'[' * 10**5, {'Content-Type': 'application/json'}),
  ]


def _with_data(png: bytes, surplus: bytes) -> bytes:
  """A PNG whose pixels are followed by more data."""
  at = png.index(_CHUNK) - 4
  return png[:at] + _chunk(_CHUNK, zlib.compress(surplus)) + png[at:]


def _with_size(png: bytes, width: int, height: int) -> bytes:
  """A PNG that says it has another size."""
  header = width.to_bytes(4, 'big') + height.to_bytes(4, 'big') + png[24:29]
  return png[:8] + _chunk(b'IHDR', header) + png[33:]


def _chunk(kind: bytes, data: bytes) -> bytes:
  checksum = zlib.crc32(kind + data)
  return len(data).to_bytes(4, 'big') + kind + data + checksum.to_bytes(4, 'big')
