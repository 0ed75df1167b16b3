"""Several clients of a server at once for a long time: memory, lost and mixed-up sessions."""

from collections.abc import Sequence
import contextlib
import os
import subprocess
import threading
import time
from typing import Any, TYPE_CHECKING

import httpx
import numpy as np

from feelvos_tf.serving import version_folders
from feelvos_tf.tools.benchmarks import soaking
from feelvos_tf.tools.benchmarks.hostile_clients import HostileClient
from feelvos_tf.tools.benchmarks.serving_clients import check_mask
from feelvos_tf.tools.benchmarks.serving_clients import decoded
from feelvos_tf.tools.benchmarks.serving_clients import demo_clip
from feelvos_tf.tools.benchmarks.serving_clients import exported
from feelvos_tf.tools.benchmarks.serving_clients import HttpSession
from feelvos_tf.tools.benchmarks.serving_clients import jpeg
from feelvos_tf.tools.benchmarks.serving_clients import metric
from feelvos_tf.tools.benchmarks.serving_clients import served
from feelvos_tf.tools.benchmarks.serving_clients import WebSocketSession

if TYPE_CHECKING:
  from feelvos_tf.inference.segmenter import VideoSegmenter
  from feelvos_tf.tools.benchmark_serving import ServingBenchmarkOptions


class SoakClient(threading.Thread):
  """Opens a session, sends its video with a correction in the middle, closes it; again and again.

  Attributes:
    sessions: what was done. times: (begin, seconds) of every frame. error: what ended it, or None.
  """

  def __init__(
    self,
    address: str,
    kind: type[HttpSession],
    video: tuple[list[bytes], np.ndarray, np.ndarray],
    expected: Sequence[np.ndarray],
    end: float,
  ) -> None:
    super().__init__(daemon=True)
    self._address, self._kind, self._end = address, kind, end
    self._frames, self._mask, self._correction = video
    self._expected = expected
    self.sessions = 0
    self.times: list[tuple[float, float]] = []
    self.error: str | None = None

  def run(self) -> None:
    try:
      while time.monotonic() < self._end:
        session = self._kind(self._address, self._frames[0], self._mask)
        for index, (frame, expected) in enumerate(zip(self._frames[1:], self._expected), 1):
          if index == len(self._frames) // 2:
            session.correct(self._frames[index - 1], self._correction)
          begun = time.monotonic()
          mask = session.step(frame)
          self.times.append((begun, time.monotonic() - begun))
          check_mask(mask, expected)
        session.close()
        self.sessions += 1
    except Exception as error:
      self.error = f'{type(error).__name__}: {error}'


def soak_videos(count: int) -> list[tuple[list[bytes], np.ndarray, np.ndarray]]:
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


def masks_in_process(
  segmenter: 'VideoSegmenter', video: tuple[list[bytes], np.ndarray, np.ndarray]
) -> list[np.ndarray]:
  """The masks, uint8 [height, width] each, that the server should answer a video with."""
  frames, mask, correction = video
  images = [decoded(frame) for frame in frames]
  segmenter.start(images[0], mask)
  found = []
  for index, image in enumerate(images[1:], 1):
    if index == len(images) // 2:
      segmenter.correct(images[index - 1], correction)
    found.append(segmenter.step(image).mask)
  return found


def expected_masks(
  model_dir: str | os.PathLike, videos: Sequence[tuple[list[bytes], np.ndarray, np.ndarray]]
) -> list[list[np.ndarray]]:
  """`masks_in_process` of every video, by the version that the server will serve."""
  from feelvos_tf.inference.segmenter import VideoSegmenter
  from feelvos_tf.saved_model.exported_model import ExportedModel

  (model,) = version_folders.find_models(model_dir)
  folders = version_folders.versions_in(model.folder)
  segmenter = VideoSegmenter(ExportedModel(folders[max(folders)]))
  return [masks_in_process(segmenter, video) for video in videos]


def resident_bytes(process: subprocess.Popen) -> int:
  """Memory of a process that is in RAM."""
  return soaking.resident_bytes(process.pid)


def soak(options: 'ServingBenchmarkOptions') -> dict[str, Any]:
  """Several clients at once for some time.

  With hostile clients the time is doubled: in its second half they are there.

  Returns:
    dict of plain numbers, lists and strings.
  """
  hostile = options.hostile_clients
  videos = soak_videos(options.clients - hostile)
  with contextlib.ExitStack() as stack:
    model_dir = stack.enter_context(exported(options.model_dir))
    expected = expected_masks(model_dir, videos)
    process, address, _ = stack.enter_context(served(model_dir))
    second_half = time.monotonic() + options.soak_seconds
    end = second_half + (options.soak_seconds if hostile else 0.0)
    clients = [
      SoakClient(address, (HttpSession, WebSocketSession)[i % 2], video, masks, end)
      for i, (video, masks) in enumerate(zip(videos, expected))
    ]
    others = [
      HostileClient(address, videos[0][0][0], videos[0][1], second_half, end)
      for _ in range(hostile)
    ]
    memory = _run([*clients, *others], process, options.soak_seconds)
    left = httpx.get(f'http://{address}/metrics').text
  surprises = [surprise for client in others for surprise in client.surprises]
  return dict(
    part='soak',
    seconds=options.soak_seconds,
    clients=options.clients,
    hostile_clients=hostile,
    hostile_deeds=sum(client.deeds for client in others),
    sessions=sum(client.sessions for client in clients),
    frames=sum(len(client.times) for client in clients),
    errors=[client.error for client in clients if client.error] + surprises,
    sessions_left=metric(left, 'feelvos_sessions'),
    **frame_times(clients, second_half),
    **memory_figures(memory),
  )


def _run(
  clients: Sequence[threading.Thread], process: subprocess.Popen, seconds: float
) -> list[tuple[float, int]]:
  """Starts threads and waits for them; (seconds, memory of the server) meanwhile."""
  for client in clients:
    client.start()
  begun, memory = time.monotonic(), []
  while any(client.is_alive() for client in clients):
    memory.append((time.monotonic() - begun, resident_bytes(process)))
    time.sleep(min(2.0, seconds / 50))
  return memory


def frame_times(clients: Sequence[SoakClient], second_half: float) -> dict[str, float]:
  """Median and 99th percentile of the seconds of a frame, before and after a moment."""
  found = {}
  times = np.array([pair for client in clients for pair in client.times])
  late = times[:, 0] >= second_half
  for name, chosen in (('', times[~late, 1]), ('_with_hostile', times[late, 1])):
    if len(chosen):
      found[f'p50_seconds{name}'], found[f'p99_seconds{name}'] = map(
        float, np.percentile(chosen, (50, 99))
      )
  return found


def memory_figures(memory: Sequence[tuple[float, int]]) -> dict[str, Any]:
  """How the memory of the server went.

  Args:
    memory: (seconds since the begin, bytes) of every look at it.

  Returns:
    dict of: the median of the second fifth, which is after the warm-up, and of the last fifth; the
    peak; the median of every minute; the slope of the second half, in bytes a minute.
  """
  seconds, taken = np.array(memory, float).T
  fifth = lambda index: taken[seconds // (seconds[-1] / 5) == index]
  minutes = seconds // 60
  late = seconds >= seconds[-1] / 2
  return dict(
    memory_after_warmup_bytes=float(np.median(fifth(1))),
    memory_at_end_bytes=float(np.median(fifth(4))),
    memory_peak_bytes=float(np.max(taken)),
    memory_minutes_bytes=[float(np.median(taken[minutes == n])) for n in np.unique(minutes)],
    memory_slope_bytes_per_minute=soaking.slope(seconds[late] / 60, taken[late]),
  )
