"""One exported model and one server for most tests of the server."""

import contextlib
import pathlib
import threading
import time

import cv2
import httpx
import numpy as np
import pytest
import tensorflow as tf
import weight_recipe

from feelvos_tf import export
from feelvos_tf.datasets import masks
from feelvos_tf.deeplab import ModelOptions
from feelvos_tf.deeplab import tf1_checkpoint
from feelvos_tf.inference import graph
from feelvos_tf.model.feelvos import Feelvos
from feelvos_tf.model.options import FeelvosOptions
from feelvos_tf.saved_model import version_folder
from feelvos_tf.serving import run
from feelvos_tf.serving import services as services_lib
from feelvos_tf.serving.options import ServingOptions

from .browser import driver  # Fixtures of the page's tests.
from .browser import open_page  # Fixtures of the page's tests.
from .browser import page  # Fixtures of the page's tests.
from .browser import page_server  # Fixtures of the page's tests.
from .page_clip import frame_files  # Fixtures of the page's tests.
from .page_clip import frames  # Fixtures of the page's tests.
from .page_clip import ids_of
from .page_clip import png
from .page_in_node import node  # Fixtures of the page's tests.

SIZE = (33, 49)


def halves_and_two(path):
  """Writes a model that is none of this project's: y = x / 2 + 2 for a batch of numbers."""
  module = tf.Module()
  function = tf.function(
    lambda x: {'y': x / 2 + 2}, input_signature=[tf.TensorSpec([None], tf.float32, 'x')]
  )
  two = tf.function(
    lambda a, b: {'sum': a + b, 'text_bytes': tf.strings.as_string(a)},
    input_signature=[
      tf.TensorSpec([None, 2], tf.int32, 'a'),
      tf.TensorSpec([None, 2], tf.int32, 'b'),
    ],
  )
  nothing = tf.function(lambda: {'one': tf.ones([1])}, input_signature=[])
  signatures = {'serving_default': function, 'two': two, 'nothing': nothing}
  tf.saved_model.save(
    module,
    str(path),
    {name: signature.get_concrete_function() for name, signature in signatures.items()},
  )


class Clock:
  """Seconds that tests turn forward."""

  def __init__(self):
    self._offset = 0.0

  def __call__(self):
    return time.monotonic() + self._offset

  def advance(self, seconds):
    self._offset += seconds


class RunningServer:
  """A server in a thread of this process.

  Attributes:
    url, grpc_address, services, clock.
  """

  def __init__(self, options, models=None, **listening):
    self.clock = Clock()
    self.services = services_lib.Services(options, self.clock, models)
    self._server, sockets, port, grpc_port = run.build_server(
      self.services, port=0, grpc_port=0, grace=20.0, **listening
    )
    self.url, self.grpc_address = f'http://127.0.0.1:{port}', f'127.0.0.1:{grpc_port}'
    self.websocket_url = f'ws://127.0.0.1:{port}'
    self._thread = threading.Thread(target=self._server.run, args=(sockets,))
    self._thread.start()
    while not self._server.started:
      assert self._thread.is_alive()
      time.sleep(0.01)

  def stop(self):
    self._server.should_exit = True
    self._thread.join(60)
    assert not self._thread.is_alive()


@contextlib.contextmanager
def running(options, models=None, **listening):
  server = RunningServer(options, models, **listening)
  try:
    yield server
  finally:
    server.stop()


@pytest.fixture(scope='session')
def small_model():
  """A small model with weights that keep embeddings and distances in sensible ranges."""
  model = Feelvos(
    FeelvosOptions(
      ModelOptions('mobilenet_v2', depth_multiplier=0.35),
      embedding_dimension=16,
      head_dimension=16,
      head_layers=2,
      window_radius=5,
    )
  )
  for part in (model.deeplab, model.embedding_layer, model.head):
    for name, variable in tf1_checkpoint.variables_by_name(part).items():
      variable.assign(weight_recipe.value(name, variable.shape))
  return model


@pytest.fixture(scope='session')
def small_graph(small_model):
  return graph.InferenceGraph(small_model)


@pytest.fixture(scope='session')
def model_root(small_model, tmp_path_factory):
  """Folder with the models `small` (an export) and `half` (see `halves_and_two`)."""
  root = tmp_path_factory.mktemp('models')
  signatures, info = export.build(small_model, 'small', 1)
  version_folder.write_version(root / 'small' / '1', signatures, info)
  halves_and_two(root / 'half' / '3')
  return root


@pytest.fixture(scope='session')
def server(model_root):
  """The server of most tests: small limits, no token."""
  options = ServingOptions(
    str(model_root),
    max_body_bytes=2**20,
    max_pixels=64 * 64,
    max_objects=6,
    max_sessions=12,
    idle_seconds=100.0,
    file_system_poll_wait_seconds=0.1,
    enable_model_warmup=False,
  )
  with running(options) as server:
    yield server


@pytest.fixture
def client(server):
  """HTTP client of `server`; closes the sessions it opened."""
  with httpx.Client(base_url=server.url, timeout=60) as client:
    yield client
    for session_id in list(server.services.sessions._sessions):
      client.delete(f'/v1/sessions/{session_id}')


@pytest.fixture
def video(rng):
  """(frames: a list of uint8 arrays, mask uint8 with the ids 3 and 200)."""
  base = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
  base = cv2.resize(base, (SIZE[1] + 12, SIZE[0]), interpolation=cv2.INTER_CUBIC)
  images = [np.ascontiguousarray(base[:, 2 * i : 2 * i + SIZE[1]]) for i in range(6)]
  mask = np.zeros(SIZE, np.uint8)
  mask[4:20, 4:20], mask[10:30, 26:44] = 3, 200
  return images, mask


class SessionClient:
  """The session API as tests use it."""

  def __init__(self, client, frame, mask, **fields):
    self.client = client
    reply = client.post(
      '/v1/sessions',
      data={'model': 'small', **fields},
      files={'frame': png(frame), 'mask': masks.encode_mask(mask)},
    )
    assert reply.status_code == 201, reply.text
    self.info = reply.json()
    self.url = f'/v1/sessions/{self.info["session_id"]}'

  def send(self, frame):
    return self.client.post(f'{self.url}/frames', content=png(frame))

  def mask_of(self, frame):
    reply = self.send(frame)
    assert reply.status_code == 200, reply.text
    return ids_of(reply.content)

  def correct(self, frame, mask, **fields):
    return self.client.post(
      f'{self.url}/mask', data=fields, files={'frame': png(frame), 'mask': masks.encode_mask(mask)}
    )


@pytest.fixture
def open_session(client, video):
  """Function that opens a session of `video` and returns a `SessionClient`."""
  return lambda **fields: SessionClient(client, video[0][0], video[1], **fields)


@pytest.fixture
def held(server, monkeypatch):
  """(event that is set when a frame is being decoded, event that lets it go on; set at first)."""
  begun, go_on = threading.Event(), threading.Event()
  go_on.set()
  decode = server.services.decoder.frame

  def wait(data):
    begun.set()
    assert go_on.wait(60)
    return decode(data)

  monkeypatch.setattr(server.services.decoder, 'frame', wait)
  yield begun, go_on
  go_on.set()


def of_triton(triton, images, mask):
  """({name: array}, Triton's inputs) of the signature `track`; `triton` is its client's module."""
  pictures = {'image_bytes': map(png, images), 'mask_bytes': [masks.encode_mask(mask)]}
  given = {name: np.array([*data], object) for name, data in pictures.items()}
  inputs = []
  for name, values in given.items():
    inputs.append(triton.InferInput(name, list(values.shape), 'BYTES'))
    inputs[-1].set_data_from_numpy(values)
  return given, inputs
