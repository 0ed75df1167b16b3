"""Scaling curves of whole frames: seconds a frame against objects, pixels, length of the video."""

from collections.abc import Sequence
import dataclasses
import os
import time
from typing import Any

import numpy as np

from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.tools.benchmarks import cases
from feelvos_tf.tools.benchmarks import figures
from feelvos_tf.tools.benchmarks import measure

OBJECTS = (1, 2, 5, 10, 20)  # without background
SIZES = ((240, 427), (480, 854), (720, 1280), (1080, 1920), (2160, 3840))
LENGTHS = (50, 1000)
LENGTH_SIZE = (120, 214)  # of the frames of long videos: length matters, not size


def objects_rows(
  options: cases.BenchmarkOptions, counts: Sequence[int] = OBJECTS
) -> list[dict[str, Any]]:
  """Rows of `end_to_end` for numbers of objects."""
  return [_row(dataclasses.replace(options, objects=count + 1)) for count in counts]


def pixels_rows(
  options: cases.BenchmarkOptions, sizes: Sequence[tuple[int, int]] = SIZES
) -> list[dict[str, Any]]:
  """Rows of `end_to_end` for sizes (height, width) of the frame."""
  return [_row(dataclasses.replace(options, height=height, width=width)) for height, width in sizes]


def length_rows(
  options: cases.BenchmarkOptions,
  lengths: Sequence[int] = LENGTHS,
  size: tuple[int, int] = LENGTH_SIZE,
) -> list[dict[str, Any]]:
  """Rows with the time a frame and the memory after videos of this many frames."""
  small = dataclasses.replace(options, height=size[0], width=size[1])
  first, frame, mask = cases.make_video(small)
  segmenter = VideoSegmenter(cases.inference_graph(options))
  rows = []
  for length in lengths:
    segmenter.start(first, mask)
    times = []
    for _ in range(length):
      begin = time.perf_counter()
      segmenter.step(frame)
      times.append(time.perf_counter() - begin)
    rows.append(
      dict(
        dataclasses.asdict(small),
        part='length',
        frames=length,
        seconds=float(np.median(times)),
        quartiles=np.quantile(times, [0.25, 0.75]).tolist(),
        peak_memory_bytes=measure.peak_memory(),
      )
    )
  return rows


def _row(options: cases.BenchmarkOptions) -> dict[str, Any]:
  options = dataclasses.replace(options, baseline=False)
  return measure.measure('end_to_end', options, cases.end_to_end_case(options))


CURVES = {'objects': objects_rows, 'pixels': pixels_rows, 'length': length_rows}
_AXES = {
  'objects': ('objects, background not counted', lambda row: row['objects'] - 1),
  'pixels': ('megapixels of a frame', lambda row: row['height'] * row['width'] / 1e6),
  'length': ('frames of the video', lambda row: row['frames']),
}


def plot(name: str, rows: Sequence[dict[str, Any]], path: str | os.PathLike) -> None:
  """Draws one curve.

  Args:
    name: str, key of CURVES.
    rows: what that function returned.
    path: PNG file to write.

  Raises:
    ValueError: matplotlib is not installed.
  """
  drawing = figures.create(path, (5, 3.5), ', or leave out --curves')
  label, value = _AXES[name]
  axes = drawing.subplots()
  x, y = [value(row) for row in rows], [row['seconds'] for row in rows]
  low, high = np.transpose([row['quartiles'] for row in rows])
  axes.fill_between(x, low, high, alpha=0.2)
  axes.plot(x, y, marker='o')
  if name == 'pixels':
    axes.set(xscale='log', yscale='log')
  else:
    axes.set_ylim(bottom=0)
  axes.set(
    xlabel=label,
    ylabel='seconds a frame',
    title=f'{rows[0]["model_variant"]}, {rows[0]["precision"]}',
  )
  axes.grid(alpha=0.3)
  figures.save(drawing, path, dpi=120)
