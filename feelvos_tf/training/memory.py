"""Whether a training step fits into memory: refuses before the system ends the process.

On a CPU a step that is too large does not fail, it makes the system swap or kill the process. So
its size is estimated beforehand. On a GPU the allocator reports it, and the trainer passes it on.
"""

import os
import pathlib

import tensorflow as tf

from feelvos_tf.datasets.samples.options import TripletOptions

# Bytes that activations and gradients take per pixel of a crop. Measured for mobilenet_v2 (2,500)
# and xception_65 (4,800), as the growth of peak memory with the crop in float32 on a CPU at output
# stride 16, then rounded up; the others are scaled from these by their width and depth.
BYTES_PER_PIXEL = {
  'mobilenet_v2': 3000,
  'xception_41': 4500,
  'xception_65': 5500,
  'xception_71': 6500,
  'resnet_v1_50_beta': 5000,
  'resnet_v1_101_beta': 7000,
}
# TensorFlow and its buffers; weights, gradients and slots. Measured: 1.0 and 2.1 GB in all.
FIXED_BYTES = {'mobilenet_v2': 1.0e9}
FIXED_BYTES_LARGE = 2.1e9


def check(model_variant: str, samples: TripletOptions, videos: int) -> None:
  """Compares an estimate with the memory that is free.

  Args:
    model_variant: str, backbone.
    samples: `TripletOptions`; whole frames are not estimated.
    videos: int, videos of a step on one device.

  Raises:
    ValueError: the step needs more than there is.
  """
  if samples.crop_size is None or tf.config.list_physical_devices('GPU'):
    return
  height, width = samples.crop_size
  needed = estimate(model_variant, height * width * samples.num_frames * videos)
  free = available_bytes()
  if free is not None and needed > free:
    raise ValueError(
      f'a step of {videos} videos with {samples.num_frames} crops of {height}x{width} needs '
      f'about {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; lower --train_crop_size or '
      '--train_batch_size.'
    )


def estimate(model_variant: str, pixels: int) -> float:
  """Bytes of a process that trains on this many pixels a step."""
  fixed = FIXED_BYTES.get(model_variant, FIXED_BYTES_LARGE)
  return fixed + BYTES_PER_PIXEL[model_variant] * pixels


def available_bytes(
  meminfo: str | os.PathLike = '/proc/meminfo', cgroup: str | os.PathLike = '/sys/fs/cgroup'
) -> int | None:
  """Bytes a process may still take, or None where the system does not say."""
  limits = []
  try:
    for line in pathlib.Path(meminfo).read_text(encoding='utf-8').splitlines():
      if line.startswith('MemAvailable:'):
        limits.append(int(line.split()[1]) * 1024)
  except (OSError, ValueError, IndexError):
    pass
  try:  # A container's own limit.
    limit = pathlib.Path(cgroup, 'memory.max').read_text(encoding='utf-8').strip()
    used = pathlib.Path(cgroup, 'memory.current').read_text(encoding='utf-8')
    limits.append(int(limit) - int(used) + _cached_bytes(cgroup))
  except (OSError, ValueError):
    pass
  return min(limits) if limits else None


def _cached_bytes(cgroup: str | os.PathLike) -> int:
  """Bytes of files that a container's use counts: the system gives them up when it needs memory."""
  try:
    lines = pathlib.Path(cgroup, 'memory.stat').read_text(encoding='utf-8').splitlines()
    numbers = dict(line.split(maxsplit=1) for line in lines)
    return int(numbers['active_file']) + int(numbers['inactive_file'])
  except (OSError, ValueError, KeyError):
    return 0
