"""Times TensorFlow Addons' CorrelationCost, the op family the original wanted for local matching.

Addons ended in 2024 and needs TensorFlow 2.15 and Python 3.11 or older, so this file runs in an
environment of its own and imports nothing of this project:

  python3.11 -m venv addons
  addons/bin/pip install "tensorflow==2.15.*" tensorflow-addons
  addons/bin/python tools/addons_correlation.py
  python -m tools.benchmark --parts=local --nobaseline        # ours, on the same machine

Prints the time of one forward call at the size of a 480x854 frame (120 x 214 positions, 100
channels, radius 15), the correlations alone: labels and minima would come on top. The matmul peak
of the same repetition stands next to it.
"""

from collections.abc import Callable
import time
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_addons.layers import CorrelationCost

HEIGHT, WIDTH, CHANNELS, RADIUS = 120, 214, 100, 15
REPEATS, PEAK_SIZE = 5, 2048


def seconds(function: Callable[[], Any]) -> float:
  """Wall time of one call."""
  begin = time.perf_counter()
  function()
  return time.perf_counter() - begin


def main() -> None:
  """Measures and prints one line."""
  first, second = tf.unstack(tf.random.stateless_uniform([2, 1, HEIGHT, WIDTH, CHANNELS], [0, 0]))
  square = tf.random.stateless_normal([PEAK_SIZE, PEAK_SIZE], [0, 0])
  layer = CorrelationCost(
    kernel_size=1,
    max_displacement=RADIUS,
    stride_1=1,
    stride_2=1,
    pad=RADIUS,
    data_format='channels_last',
  )
  shape = layer([first, second]).shape
  tf.matmul(square, square)
  times = np.array(
    [
      [
        seconds(lambda: layer([first, second]).numpy()),
        seconds(lambda: tf.matmul(square, square).numpy()),
      ]
      for _ in range(REPEATS)
    ]
  )
  low, middle, high = np.quantile(times[:, 0], [0.25, 0.5, 0.75])
  print(
    f'CorrelationCost {list(shape)}: {middle:.2f} s ({low:.2f}-{high:.2f}), float32 peak '
    f'{2 * PEAK_SIZE**3 / np.median(times[:, 1]) / 1e9:.0f} GFLOP/s, TensorFlow '
    f'{tf.__version__}'
  )


if __name__ == '__main__':
  main()
