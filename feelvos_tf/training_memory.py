"""Whether a training step fits into memory: refuses before the system ends the process.

On a CPU a step that is too large does not fail, it makes the system swap or kill the process. So
its size is estimated beforehand. On a GPU the allocator tells, and the trainer passes it on.
"""

import pathlib

import tensorflow as tf

# Bytes that activations and gradients take per pixel of a crop, measured on a CPU in float32 as
# the growth of peak memory with the crop at output stride 16 (docs/training.md).
BYTES_PER_PIXEL = {
    'mobilenet_v2': 4500, 'xception_41': 11000, 'xception_65': 15000, 'xception_71': 17000,
    'resnet_v1_50_beta': 9000, 'resnet_v1_101_beta': 13000,
}
# TensorFlow, weights and slots.
FIXED_BYTES = 1.2e9


def check(model_variant, samples, videos):
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
        f'a step of {videos} videos with {samples.num_frames} crops of {height}x{width} needs about '
        f'{needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; lower --train_crop_size or '
        '--train_batch_size.')


def estimate(model_variant, pixels):
  """Bytes of a process that trains on so many pixels a step."""
  return FIXED_BYTES + BYTES_PER_PIXEL[model_variant] * pixels


def available_bytes(meminfo='/proc/meminfo', cgroup='/sys/fs/cgroup'):
  """Bytes a process may still take, or None where the system does not tell."""
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
    limits.append(int(limit) - int(used))
  except (OSError, ValueError):
    pass
  return min(limits) if limits else None
