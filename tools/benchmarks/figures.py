"""Figures as PNG files, with matplotlib, which is an extra."""

import os
from typing import TYPE_CHECKING

from feelvos_tf.files import whole_file

if TYPE_CHECKING:
  from matplotlib.figure import Figure


def create(path: str | os.PathLike, size: tuple[float, float], otherwise: str = '') -> 'Figure':
  """A `matplotlib.figure.Figure`.

  Args:
    path: PNG file that it is for; named in the error.
    size: (width, height) in inches.
    otherwise: str, what else could be done without matplotlib.

  Raises:
    ValueError: matplotlib is not installed.
  """
  try:
    from matplotlib import figure
  except ImportError as error:
    raise ValueError(
      f'{path} cannot be drawn: matplotlib is not installed; '
      f"pip install 'feelvos-tf[plots]'{otherwise}."
    ) from error
  return figure.Figure(figsize=size, layout='constrained')


def save(drawing: 'Figure', path: str | os.PathLike, dpi: int) -> None:
  """Writes a figure, whole or not at all."""
  with whole_file.appearing(path) as temporary:
    drawing.savefig(temporary, dpi=dpi, format='png')
