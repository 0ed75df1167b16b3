"""Which of several images an annotation file is asked for."""

from collections.abc import Sequence
import pathlib
import re
from typing import TypeVar

from feelvos_tf.datasets.names import composed

Item = TypeVar('Item')


def pick(
  items: Sequence[Item], names: Sequence[str], frame_name: str, where: str, kind: str
) -> Item:
  """The item of the frame: of its name, else the only one, else that of its number.

  Args:
    items: what the file has.
    names: file name of each, may have folders.
    frame_name: name of the frame without suffix.
    where: what messages call the file.
    kind: plural of what items are, for messages.

  Raises:
    ValueError: there is none, or more than one may be meant.
  """
  stems = [pathlib.PurePosixPath(str(name).replace('\\', '/')).stem for name in names]
  fitting = [i for i, stem in enumerate(stems) if composed(stem) == composed(frame_name)]
  if not fitting and len(items) == 1:
    return items[0]
  if not fitting:
    number = _number(frame_name)
    fitting = [i for i, stem in enumerate(stems) if number is not None and _number(stem) == number]
  if len(fitting) != 1:
    listed = ', '.join(map(str, names[:3])) + (', ...' if len(names) > 3 else '')
    raise ValueError(
      f'{where}: {len(items)} {kind} given ({listed or "none"}), {len(fitting)} of them for the '
      f'first frame {frame_name!r}; expected one'
    )
  return items[fitting[0]]


def _number(stem: str) -> int | None:
  """The number at the end of a name, or None."""
  match = re.search(r'(\d+)$', stem)
  return int(match[1]) if match else None
