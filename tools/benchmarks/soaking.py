"""What long runs share: memory of a process, how it changed, and a line of notes for each part."""

from collections.abc import Sequence
import json
import os
import pathlib
from typing import Any

import numpy as np

from feelvos_tf.files import whole_file

# Memory is compared from here on: before, functions are traced and caches filled.
_SETTLED = 0.2


def resident_bytes(process: int | str = 'self') -> int:
  """Memory in RAM of a process, this one unless another's number is given.

  Raises:
    OSError: there is no such process.
  """
  pages = int(pathlib.Path(f'/proc/{process}/statm').read_text(encoding='ascii').split()[1])
  return pages * os.sysconf('SC_PAGE_SIZE')


def growth(samples: Sequence[int]) -> float:
  """Percent from the highest of the first settled samples to the highest of the last."""
  settled = samples[int(_SETTLED * len(samples)) :]
  third = max(1, len(settled) // 3)
  return 100 * (max(settled[-third:]) / max(settled[:third]) - 1)


def slope(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> float:
  """Of the line that fits best; 0 for one point."""
  return float(np.polyfit(x, y, 1)[0]) if len(x) > 1 else 0.0


def note(path: str | None, **values: Any) -> None:
  """Prints a line of JSON and adds it to the file `path`, for `reliability_report`; None: prints.

  Raises:
    OSError: it cannot be written.
  """
  line = json.dumps(values)
  print(line, flush=True)
  if path:
    whole_file.append_line(path, line)
