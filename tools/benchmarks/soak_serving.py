"""Several clients of a server at once for a long time: memory, lost and mixed-up sessions."""

import pathlib
import re
import threading
import time

import httpx
import numpy as np

from feelvos_tf.model import default_model
from feelvos_tf.tools.benchmarks.serving_clients import check_mask
from feelvos_tf.tools.benchmarks.serving_clients import decoded
from feelvos_tf.tools.benchmarks.serving_clients import demo_clip
from feelvos_tf.tools.benchmarks.serving_clients import exported
from feelvos_tf.tools.benchmarks.serving_clients import HttpSession
from feelvos_tf.tools.benchmarks.serving_clients import jpeg
from feelvos_tf.tools.benchmarks.serving_clients import served
from feelvos_tf.tools.benchmarks.serving_clients import WebSocketSession


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
  from feelvos_tf.inference.segmenter import VideoSegmenter
  from feelvos_tf.model.weights import load_model

  videos = soak_videos(options.clients)
  segmenter = VideoSegmenter(load_model(default_model.model_path(None)))
  expected = [masks_in_process(segmenter, video) for video in videos]
  with exported(options.model_dir) as model_dir, served(model_dir) as (process, address, _):
    end = time.monotonic() + options.soak_seconds
    clients = [
      SoakClient(address, (HttpSession, WebSocketSession)[i % 2], videos[i], expected[i], end)
      for i in range(options.clients)
    ]
    for client in clients:
      client.start()
    memory = []
    while any(client.is_alive() for client in clients):
      memory.append(resident_bytes(process))
      time.sleep(min(2.0, options.soak_seconds / 50))
    left = httpx.get(f'http://{address}/metrics').text
  warm = memory[len(memory) // 5 :]
  fifth = max(1, len(warm) // 5)
  return dict(
    part='soak',
    seconds=options.soak_seconds,
    clients=options.clients,
    sessions=sum(client.sessions for client in clients),
    frames=sum(client.frames for client in clients),
    errors=[client.error for client in clients if client.error],
    sessions_left=float(re.search(r'^feelvos_sessions (\S+)$', left, re.M).group(1)),
    memory_after_warmup_bytes=float(np.median(warm[:fifth])),
    memory_at_end_bytes=float(np.median(warm[-fifth:])),
    memory_peak_bytes=max(memory),
  )
