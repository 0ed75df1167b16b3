"""Measures the embedded server: time a frame costs more than in process, and a soak of clients.

  python -m tools.benchmark_serving                      # overhead on a 480x854 clip
  python -m tools.benchmark_serving --soak_seconds=600   # 4 clients at once, memory, mixed-up masks
  make soak-server   # 14 clients for ten minutes, then two hostile ones in addition

The server is a process of its own on this machine (`feelvos serve`), the client is
this one. Overhead: every frame is segmented in process, over HTTP and over a WebSocket, one after
the other, so that differences compare the same moment of a noisy machine; `track` gets the whole
clip over gRPC and over REST. "around the model" is what the client waits less what the model runs
in the server: decoding, encoding, transport. "processor" is the processor time of client and server
together: where other processes take cores away, it is the more reliable one. Soak: every client has
a video of its own size and ids and compares each mask with the one that was computed beforehand.
"""

from collections.abc import Callable, Sequence
import dataclasses
import json
import pathlib
import subprocess
import time
from typing import Any, TYPE_CHECKING

from absl import flags
from absl import logging
import httpx
import numpy as np

from feelvos_tf.files import whole_file
from feelvos_tf.model import default_model
from feelvos_tf.runtime import command_line
from feelvos_tf.tools.benchmarks import soak_serving
from feelvos_tf.tools.benchmarks.serving_clients import check_mask
from feelvos_tf.tools.benchmarks.serving_clients import decoded
from feelvos_tf.tools.benchmarks.serving_clients import demo_clip
from feelvos_tf.tools.benchmarks.serving_clients import exported
from feelvos_tf.tools.benchmarks.serving_clients import HttpSession
from feelvos_tf.tools.benchmarks.serving_clients import jpeg
from feelvos_tf.tools.benchmarks.serving_clients import metric
from feelvos_tf.tools.benchmarks.serving_clients import served
from feelvos_tf.tools.benchmarks.serving_clients import track_grpc
from feelvos_tf.tools.benchmarks.serving_clients import track_rest
from feelvos_tf.tools.benchmarks.serving_clients import WebSocketSession

if TYPE_CHECKING:
  from feelvos_tf.inference.segmenter import VideoSegmenter


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
  hostile_clients: int = 0  # of them


class Stopwatch:
  """Measures calls: wall time, processor time of this process and the server's, model's part."""

  def __init__(self, process: subprocess.Popen, address: str) -> None:
    """Args: the server's process and HTTP address."""
    self._tasks = pathlib.Path(f'/proc/{process.pid}/task')
    self._metrics = httpx.Client(base_url=f'http://{address}')

  def time(self, function: Callable, *args: Any) -> tuple[np.ndarray, Any]:
    """(np [3]: seconds of wall, processor and model in the server; result of the function)."""
    before = self._now()
    result = function(*args)
    return self._now() - before, result

  def _now(self) -> np.ndarray:
    text = self._metrics.get('/metrics').text
    model = metric(text, 'feelvos_segment_seconds_sum')
    nanoseconds = sum(
      int((task / 'schedstat').read_text().split()[0]) for task in self._tasks.iterdir()
    )
    return np.array([time.perf_counter(), time.process_time() + 1e-9 * nanoseconds, model])


def measure_overhead(options: ServingBenchmarkOptions) -> dict[str, Any]:
  """Time per frame in process and through the server.

  Returns:
    dict of plain numbers; medians over frames, and over passes for `track`.
  """
  from feelvos_tf.inference.segmenter import VideoSegmenter
  from feelvos_tf.model.weights import load_model

  frames, mask = demo_clip(options.height, options.width, options.frames)
  encoded = [jpeg(frame) for frame in frames]
  frames = [decoded(data) for data in encoded]
  segmenter = VideoSegmenter(load_model(default_model.model_path(None)))
  rows, tracked = [], []
  with (
    exported(options.model_dir) as model_dir,
    served(model_dir, '--max_body_bytes=200000000') as (process, http_address, grpc_address),
  ):
    watch = Stopwatch(process, http_address)
    pass_over = lambda count: timed_pass(
      watch, segmenter, http_address, grpc_address, frames[:count], encoded[:count], mask
    )
    pass_over(2)  # Warms up.
    for _ in range(options.repeats):
      times, track_times = pass_over(options.frames)
      rows += times
      # The first frame is extracted only, by both: the sums compare the same work.
      tracked.append(track_times[:, :2] / np.sum(times, axis=0)[0, :2])
  seconds, shares = np.array(rows), np.median(tracked, axis=0) - 1
  row = dict(
    part='serving',
    height=options.height,
    width=options.width,
    frames=len(seconds),
    in_process_seconds=float(np.median(seconds[:, 0, 0])),
    in_process_processor_seconds=float(np.median(seconds[:, 0, 1])),
  )
  for index, name in enumerate(('http', 'websocket'), 1):
    over = np.median(seconds[:, index] - seconds[:, 0], axis=0)
    row.update(
      {
        f'{name}_overhead_seconds': float(over[0]),
        f'{name}_processor_overhead_seconds': float(over[1]),
        f'{name}_around_model_seconds': float(
          np.median(seconds[:, index, 0] - seconds[:, index, 2])
        ),
      }
    )
  for name, share in zip(('track_grpc', 'track_rest'), shares):
    row.update({f'{name}_share': float(share[0]), f'{name}_processor_share': float(share[1])})
  return row


def timed_pass(
  watch: Stopwatch,
  segmenter: 'VideoSegmenter',
  http_address: str,
  grpc_address: str,
  frames: Sequence[np.ndarray],
  encoded: Sequence[bytes],
  mask: np.ndarray,
) -> tuple[list[np.ndarray], np.ndarray]:
  """One pass over a clip: every frame in process, over HTTP, over a WebSocket; then `track`.

  Returns:
    (list of np [3 ways, 3 times] per frame after the first, np [2, 3] for `track` over gRPC and
    REST), times as of `Stopwatch.time`.

  Raises:
    ValueError: a mask differs from the one in process.
  """
  start, _ = watch.time(segmenter.start, frames[0], mask)
  sessions = [kind(http_address, encoded[0], mask) for kind in (HttpSession, WebSocketSession)]
  rows = []
  for frame, data in zip(frames[1:], encoded[1:]):
    times, results = zip(
      watch.time(lambda image: segmenter.step(image).mask, frame),
      *(watch.time(session.step, data) for session in sessions),
    )
    rows.append(np.array(times))
    for result in results[1:]:
      check_mask(result, results[0])
  for session in sessions:
    session.close()
  tracked = [
    watch.time(track, address, encoded, mask)[0] - start
    for track, address in ((track_grpc, grpc_address), (track_rest, http_address))
  ]
  return rows, np.array(tracked)


def format_row(row: dict[str, Any]) -> str:
  """Lines for people."""
  if row['part'] == 'soak':
    return (
      f'soak {row["seconds"]:g} s, {row["clients"]} clients: {row["sessions"]} sessions, '
      f'{row["frames"]} frames, {len(row["errors"])} errors, {row["sessions_left"]:g} '
      f'sessions left; memory {row["memory_after_warmup_bytes"] / 2**20:.0f} MB after '
      f'warm-up, {row["memory_at_end_bytes"] / 2**20:.0f} MB at the end, peak '
      f'{row["memory_peak_bytes"] / 2**20:.0f} MB' + format_memory(row) + format_hostile(row)
    )
  lines = [
    f'serving {row["height"]}x{row["width"]}, {row["frames"]} frames: '
    f'{1e3 * row["in_process_seconds"]:.0f} ms a frame in process '
    f'(processor {1e3 * row["in_process_processor_seconds"]:.0f})'
  ]
  for name in ('http', 'websocket'):
    wall, processor, around = (
      1e3 * row[f'{name}_{key}_seconds']
      for key in ('overhead', 'processor_overhead', 'around_model')
    )
    lines.append(
      f'  {name}: {wall:+.1f} ms a frame (processor {processor:+.1f}), '
      f'{around:.1f} ms around the model'
    )
  for name in ('track_grpc', 'track_rest'):
    lines.append(
      f'  {name}: {100 * row[f"{name}_share"]:+.1f} % '
      f'(processor {100 * row[f"{name}_processor_share"]:+.1f})'
    )
  return '\n'.join(lines)


def format_memory(row: dict[str, Any]) -> str:
  """A line on how the memory of the server went."""
  minutes = ', '.join(f'{taken / 2**20:.0f}' for taken in row['memory_minutes_bytes'])
  slope = row['memory_slope_bytes_per_minute'] / 2**20
  return f'\n  MB in every minute: {minutes}; in the second half {slope:+.2f} MB a minute'


def format_hostile(row: dict[str, Any]) -> str:
  """A line on the hostile clients of a soak; '' if there were none."""
  if not row['hostile_clients']:
    return ''
  before, after = row.get('p99_seconds', np.nan), row.get('p99_seconds_with_hostile', np.nan)
  return (
    f'\n  {row["hostile_clients"]} hostile clients, {row["hostile_deeds"]} deeds: '
    f'99 % of the frames of the others within {after:.2f} s, {before:.2f} s without them '
    f'({after / before:.2f} times)'
  )


FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the flags; only when run as a program, so that mains can be imported together."""
  defaults = ServingBenchmarkOptions()
  flags.DEFINE_integer('height', defaults.height, 'Height of the clip in pixels.', 16)
  flags.DEFINE_integer('width', defaults.width, 'Width of the clip in pixels.', 16)
  flags.DEFINE_integer('frames', defaults.frames, 'Frames of the clip.', 2)
  flags.DEFINE_integer(
    'repeats', defaults.repeats, 'Passes over the clip, after a short one to warm up.', 1
  )
  flags.DEFINE_string(
    'model_dir',
    None,
    'An export of the default model, named feelvos; default: it is exported first.',
  )
  flags.DEFINE_float('soak_seconds', 0.0, 'Soak for so long instead of measuring overhead.', 0.0)
  flags.DEFINE_integer('clients', defaults.clients, 'Clients of the soak.', 1)
  flags.DEFINE_integer(
    'hostile_clients',
    defaults.hostile_clients,
    'How many of them are slow, vanish and send bombs; then the soak takes twice the time, and they '
    'are there in its second half.',
    0,
  )
  flags.DEFINE_string('json', None, 'File to write the row to.')


def main() -> int:
  """Measures and prints a line; 1 if a client of the soak had an error."""
  logging.set_verbosity(logging.WARNING)  # httpx reports every request otherwise.
  options = ServingBenchmarkOptions(
    FLAGS.height,
    FLAGS.width,
    FLAGS.frames,
    FLAGS.repeats,
    FLAGS.model_dir,
    FLAGS.soak_seconds,
    FLAGS.clients,
    FLAGS.hostile_clients,
  )
  if options.clients <= options.hostile_clients:
    raise command_line.UsageError('--hostile_clients are some of --clients, not all.')
  row = soak_serving.soak(options) if options.soak_seconds else measure_overhead(options)
  print(format_row(row), flush=True)
  for error in row.get('errors', []):
    print(error)
  if FLAGS.json:
    whole_file.write_text(FLAGS.json, json.dumps(row, indent=1) + '\n')
  return 1 if row.get('errors') else 0


if __name__ == '__main__':
  command_line.run(main, define_flags)
