"""The size of a frame with a largest side; on its own, so that options need no TensorFlow."""


def at_most(size: tuple[int, int], longest: int | None) -> tuple[int, int]:
  """(height, width) `size`, scaled down so that no side exceeds `longest` pixels (None: any)."""
  if longest is None or max(size) <= longest:
    return size
  height, width = size
  scale = longest / max(size)
  return max(1, round(height * scale)), max(1, round(width * scale))
