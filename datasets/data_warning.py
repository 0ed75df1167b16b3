"""Warnings about a user's data: what was read all the same, but deserves a look."""

import warnings


class DataWarning(UserWarning):
  """Data that were accepted although something about them is unusual. Mains print one line."""


def warn(text: str) -> None:
  """Issues a DataWarning: one line that names the file, what is unusual and what was done."""
  warnings.warn(text, DataWarning, stacklevel=2)
