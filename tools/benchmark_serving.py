"""Measures the embedded server: time a frame costs more than in process, and a soak of clients.

  python -m tools.benchmark_serving                      # overhead on a 480x854 clip
  python -m tools.benchmark_serving --soak_seconds=600   # 4 clients at once, memory, mixed-up masks

The server is a process of its own on this machine (`python -m feelvos_tf.serve`), the client is
this one. Overhead: every frame is segmented in process, over HTTP and over a WebSocket, one after
the other, so that differences compare the same moment of a noisy machine; `track` gets the whole
clip over gRPC and over REST. Soak: every client has a video of its own size and ids and compares
each mask with the one that was computed beforehand.
"""

import base64
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

from absl import flags
from absl import logging
import cv2
import httpx
import numpy as np
from websockets.sync import client as websockets

from datasets import command_line
from datasets import folder
from datasets import masks
from feelvos_tf import pretrained

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEMO = ROOT / 'assets' / 'demo'
LEAST_EQUAL = 0.999  # Of the pixels of a mask; threads add floats in another order now and then.
_START_SECONDS = 600


@dataclasses.dataclass(frozen=True)
class ServingBenchmarkOptions:
  """What to measure."""
  height: int = 480
  width: int = 854
  frames: int = 9  # with the first, whose mask is given
  repeats: int = 2  # passes over the clip
  model_dir: str | None = None  # exported model; None exports the default model
  soak_seconds: float = 600.0
  clients: int = 4


def demo_clip(height, width, count):
  """(list of `count` uint8 frames, uint8 mask) of the demo clip, resized."""
  frames = [cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for _, frame
            in zip(range(count), folder.open_video(DEMO / 'clip.mp4').frames())]
  ids = masks.read_mask(DEMO / 'mask.png', void=False).ids
  return frames, cv2.resize(ids, (width, height), interpolation=cv2.INTER_NEAREST)


def jpeg(frame):
  """Bytes of a frame as a client sends it."""
  return cv2.imencode('.jpg', frame[..., ::-1])[1].tobytes()


def decoded(data):
  """The frame that a server sees of these bytes."""
  import tensorflow as tf

  return tf.io.decode_jpeg(data, channels=3).numpy()


@contextlib.contextmanager
def exported(options):
  """Folder of the exported model."""
  if options.model_dir is not None:
    yield options.model_dir
    return
  with tempfile.TemporaryDirectory() as output:
    subprocess.run([sys.executable, '-m', 'feelvos_tf.export', f'--output_dir={output}'], cwd=ROOT,
                   check=True)
    yield output


@contextlib.contextmanager
def served(model_dir, *arguments):
  """Runs a server; yields (process, HTTP address, gRPC address)."""
  command = [sys.executable, '-m', 'feelvos_tf.serve', f'--model_dir={model_dir}', '--port=0',
             '--grpc_port=0', *arguments]
  process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
  try:
    line = process.stdout.readline()
    match = re.search(r'http://(\S+) and gRPC at (\S+)', line)
    if not match:
      raise ValueError(f'the server did not start: {line or "no output"}')
    yield process, *match.groups()
  finally:
    process.terminate()
    process.wait(_START_SECONDS)


class HttpSession:
  """A session over HTTP."""

  def __init__(self, address, frame, mask):
    self._client = httpx.Client(base_url=f'http://{address}', timeout=600)
    reply = self._client.post('/v1/sessions',
                              files={'frame': frame, 'mask': masks.encode_mask(mask)})
    reply.raise_for_status()
    self.url = f'/v1/sessions/{reply.json()["session_id"]}'

  def step(self, frame):
    """Bytes of a frame to bytes of its mask."""
    reply = self._client.post(f'{self.url}/frames', content=frame)
    reply.raise_for_status()
    return reply.content

  def correct(self, frame, mask):
    """Gives the right mask of a frame."""
    self._client.post(f'{self.url}/mask', files={
        'frame': frame, 'mask': masks.encode_mask(mask)}).raise_for_status()

  def close(self):
    """Ends the session."""
    self._client.delete(self.url).raise_for_status()
    self._client.close()


class WebSocketSession(HttpSession):
  """A session whose frames go over a WebSocket."""

  def __init__(self, address, frame, mask):
    super().__init__(address, frame, mask)
    self._open = contextlib.ExitStack()
    self._stream = self._open.enter_context(
        websockets.connect(f'ws://{address}{self.url}/stream', compression=None))

  def step(self, frame):
    self._stream.send(frame)
    answer = self._stream.recv(timeout=600)
    if isinstance(answer, str):
      raise ValueError(answer)
    return answer

  def close(self):
    self._open.close()
    super().close()


def seconds(function, *args):
  """(seconds a call takes, its result)."""
  start = time.perf_counter()
  result = function(*args)
  return time.perf_counter() - start, result


def measure_overhead(options):
  """Time per frame in process and through the server.

  Returns:
    dict of plain numbers.
  """
  from feelvos_tf.model import load_model
  from feelvos_tf.segmenter import VideoSegmenter

  frames, mask = demo_clip(options.height, options.width, options.frames)
  encoded = [jpeg(frame) for frame in frames]
  frames = [decoded(data) for data in encoded]
  segmenter = VideoSegmenter(load_model(pretrained.model_path(None)))
  rows, tracked = [], []
  with exported(options) as model_dir, served(model_dir, '--max_body_bytes=200000000') as (
      _, http_address, grpc_address):
    pass_over = lambda count: timed_pass(
        segmenter, http_address, grpc_address, frames[:count], encoded[:count], mask)
    pass_over(2)  # Warms up.
    for _ in range(options.repeats):
      times, track_times = pass_over(options.frames)
      rows += times
      # The first frame is extracted, not segmented: it is left out on both sides.
      tracked.append(np.array([np.sum(times, axis=0)[0], *track_times]) / (options.frames - 1))
  times, tracked = np.array(rows), np.array(tracked)
  over = np.median(times[:, 1:] - times[:, :1], axis=0)
  shares = np.median(tracked[:, 1:] / tracked[:, :1], axis=0) - 1
  return dict(
      part='serving', height=options.height, width=options.width, frames=len(times),
      in_process_seconds=float(np.median(times[:, 0])),
      http_overhead_seconds=float(over[0]), websocket_overhead_seconds=float(over[1]),
      track_grpc_seconds=float(np.median(tracked[:, 1])),
      track_rest_seconds=float(np.median(tracked[:, 2])),
      track_grpc_share=float(shares[0]), track_rest_share=float(shares[1]))


def timed_pass(segmenter, http_address, grpc_address, frames, encoded, mask):
  """One pass over a clip: every frame in process, over HTTP, over a WebSocket; then `track`.

  Returns:
    (list of three seconds per frame after the first, seconds of `track` over gRPC and REST).

  Raises:
    ValueError: a mask differs from the one in process.
  """
  segmenter.start(frames[0], mask)
  sessions = [kind(http_address, encoded[0], mask) for kind in (HttpSession, WebSocketSession)]
  rows = []
  for frame, data in zip(frames[1:], encoded[1:]):
    times, results = zip(seconds(lambda image: segmenter.step(image).mask, frame),
                         *(seconds(session.step, data) for session in sessions))
    rows.append(times)
    for result in results[1:]:
      check_mask(result, results[0])
  for session in sessions:
    session.close()
  return rows, (seconds(track_grpc, grpc_address, encoded, mask)[0],
                seconds(track_rest, http_address, encoded, mask)[0])


def track_grpc(address, encoded, mask):
  """Masks of a clip by `track` over gRPC."""
  import grpc
  import tensorflow as tf
  from tensorflow_serving.apis import predict_pb2
  from tensorflow_serving.apis import prediction_service_pb2_grpc

  request = predict_pb2.PredictRequest()
  request.model_spec.name = 'feelvos'
  request.inputs['image_bytes'].CopyFrom(tf.make_tensor_proto(encoded))
  request.inputs['mask_bytes'].CopyFrom(tf.make_tensor_proto(masks.encode_mask(mask)))
  options = [('grpc.max_receive_message_length', -1), ('grpc.max_send_message_length', -1)]
  with grpc.insecure_channel(address, options) as channel:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    return list(stub.Predict(request, timeout=600).outputs['masks_bytes'].string_val)


def track_rest(address, encoded, mask):
  """Masks of a clip by `track` over REST."""
  pack = lambda data: {'b64': base64.b64encode(data).decode()}
  reply = httpx.post(f'http://{address}/v1/models/feelvos:predict', timeout=600, json={
      'inputs': {'image_bytes': [pack(data) for data in encoded],
                 'mask_bytes': pack(masks.encode_mask(mask))}})
  reply.raise_for_status()
  return [base64.b64decode(item['b64']) for item in reply.json()['outputs']['masks_bytes']]


def check_mask(data, expected):
  """Raises ValueError unless a mask PNG is the one expected."""
  found = masks.decode_mask(data, 'answer', void=False).ids
  if found.shape != expected.shape or np.mean(found == expected) < LEAST_EQUAL:
    raise ValueError('a mask differs from the one computed in process.')


class SoakClient(threading.Thread):
  """Opens a session, sends its video with a correction in the middle, closes it; again and again.

  Attributes:
    sessions, frames: what was done. error: what ended it, or None.
  """

  def __init__(self, address, kind, video, expected, end):
    super().__init__(daemon=True)
    self._address, self._kind, self._end = address, kind, end
    self._frames, self._mask, self._correction = video
    self._expected = expected
    self.sessions = self.frames = 0
    self.error = None

  def run(self):
    try:
      while time.monotonic() < self._end:
        session = self._kind(self._address, self._frames[0], self._mask)
        for index, (frame, expected) in enumerate(zip(self._frames[1:], self._expected), 1):
          if index == len(self._frames) // 2:
            session.correct(self._frames[index - 1], self._correction)
          check_mask(session.step(frame), expected)
          self.frames += 1
        session.close()
        self.sessions += 1
    except Exception as error:
      self.error = f'{type(error).__name__}: {error}'


def soak_videos(count):
  """A video per client, each of another size and with other ids: (frames, mask, correction)."""
  videos = []
  for index in range(count):
    frames, mask = demo_clip(64 + 8 * index, 112 + 8 * index, 12)
    table = np.arange(256, dtype=np.uint8)
    table[[1, 2]] = [10 + index, 200 + index]
    correction = np.roll(table[mask], 2, axis=1)
    correction[:8, :8] = 100 + index  # A new object.
    videos.append(([jpeg(frame) for frame in frames], table[mask], correction))
  return videos


def masks_in_process(segmenter, video):
  """The masks of a video that the server should answer with."""
  frames, mask, correction = video
  images = [decoded(frame) for frame in frames]
  segmenter.start(images[0], mask)
  found = []
  for index, image in enumerate(images[1:], 1):
    if index == len(images) // 2:
      segmenter.correct(images[index - 1], correction)
    found.append(segmenter.step(image).mask)
  return found


def resident_bytes(process):
  """Memory of a process that is in RAM."""
  text = pathlib.Path(f'/proc/{process.pid}/status').read_text()
  return int(re.search(r'VmRSS:\s+(\d+) kB', text).group(1)) * 1024


def soak(options):
  """Several clients at once for some time.

  Returns:
    dict of plain numbers, lists and strings.
  """
  from feelvos_tf.model import load_model
  from feelvos_tf.segmenter import VideoSegmenter

  videos = soak_videos(options.clients)
  segmenter = VideoSegmenter(load_model(pretrained.model_path(None)))
  expected = [masks_in_process(segmenter, video) for video in videos]
  with exported(options) as model_dir, served(model_dir) as (process, address, _):
    end = time.monotonic() + options.soak_seconds
    clients = [SoakClient(address, (HttpSession, WebSocketSession)[i % 2], videos[i], expected[i],
                          end) for i in range(options.clients)]
    for client in clients:
      client.start()
    memory = []
    while any(client.is_alive() for client in clients):
      memory.append(resident_bytes(process))
      time.sleep(min(2.0, options.soak_seconds / 50))
    left = httpx.get(f'http://{address}/metrics').text
  warm = memory[len(memory) // 5:]
  fifth = max(1, len(warm) // 5)
  return dict(
      part='soak', seconds=options.soak_seconds, clients=options.clients,
      sessions=sum(client.sessions for client in clients),
      frames=sum(client.frames for client in clients),
      errors=[client.error for client in clients if client.error],
      sessions_left=float(re.search(r'^feelvos_sessions (\S+)$', left, re.M).group(1)),
      memory_after_warmup_bytes=float(np.median(warm[:fifth])),
      memory_at_end_bytes=float(np.median(warm[-fifth:])), memory_peak_bytes=max(memory))


def format_row(row):
  """Lines for people."""
  if row['part'] == 'soak':
    return (f'soak {row["seconds"]:g} s, {row["clients"]} clients: {row["sessions"]} sessions, '
            f'{row["frames"]} frames, {len(row["errors"])} errors, {row["sessions_left"]:g} '
            f'sessions left; memory {row["memory_after_warmup_bytes"] / 2**20:.0f} MB after '
            f'warm-up, {row["memory_at_end_bytes"] / 2**20:.0f} MB at the end, peak '
            f'{row["memory_peak_bytes"] / 2**20:.0f} MB')
  return (f'serving {row["height"]}x{row["width"]}, {row["frames"]} frames: '
          f'{1e3 * row["in_process_seconds"]:.0f} ms a frame in process; over it HTTP '
          f'{1e3 * row["http_overhead_seconds"]:+.1f} ms, WebSocket '
          f'{1e3 * row["websocket_overhead_seconds"]:+.1f} ms; track over gRPC '
          f'{100 * row["track_grpc_share"]:+.1f} %, over REST '
          f'{100 * row["track_rest_share"]:+.1f} %')


FLAGS = flags.FLAGS


def define_flags():
  """Defines the flags; only when run as a program, so that mains can be imported together."""
  defaults = ServingBenchmarkOptions()
  flags.DEFINE_integer('height', defaults.height, 'Height of the clip in pixels.', 16)
  flags.DEFINE_integer('width', defaults.width, 'Width of the clip in pixels.', 16)
  flags.DEFINE_integer('frames', defaults.frames, 'Frames of the clip.', 2)
  flags.DEFINE_integer('repeats', defaults.repeats, 'Passes over the clip, after a short one to '
                       'warm up.', 1)
  flags.DEFINE_string('model_dir', None, 'An export of the default model, named feelvos; default: '
                      'it is exported first.')
  flags.DEFINE_float('soak_seconds', 0.0, 'Soak for so long instead of measuring overhead.', 0.0)
  flags.DEFINE_integer('clients', defaults.clients, 'Clients of the soak.', 1)
  flags.DEFINE_string('json', None, 'File to write the row to.')


def main():
  """Measures and prints a line; 1 if a client of the soak had an error."""
  logging.set_verbosity(logging.WARNING)  # httpx reports every request otherwise.
  options = ServingBenchmarkOptions(FLAGS.height, FLAGS.width, FLAGS.frames, FLAGS.repeats,
                                    FLAGS.model_dir, FLAGS.soak_seconds, FLAGS.clients)
  row = soak(options) if options.soak_seconds else measure_overhead(options)
  print(format_row(row), flush=True)
  for error in row.get('errors', []):
    print(error)
  if FLAGS.json:
    pathlib.Path(FLAGS.json).write_text(json.dumps(row, indent=1) + '\n')
  return 1 if row.get('errors') else 0


if __name__ == '__main__':
  command_line.run(main, define_flags)
