"""Checks that option dataclasses share; each names the field, as the flag's message needs it."""

from collections.abc import Iterable, Mapping
import math
import typing
from typing import Any, Literal


def check_choices(options: Any) -> None:
  """Raises ValueError for a field of a Literal type with another value."""
  for name, kind in typing.get_type_hints(type(options)).items():
    choices = typing.get_args(kind)
    if typing.get_origin(kind) is Literal and getattr(options, name) not in choices:
      raise ValueError(
        f'{name} is {getattr(options, name)!r}; expected one of {", ".join(choices)}.'
      )


def check_not_negative(options: Any, names: Iterable[str]) -> None:
  """Raises ValueError for a field that is below 0, infinite or NaN."""
  for name in names:
    value = getattr(options, name)
    if value < 0 or not math.isfinite(value):
      raise ValueError(f'{name} is {value}; it must be 0 or more and finite')


def check_least(options: Any, least: Mapping[str, int]) -> None:
  """Raises ValueError for a field below its least value; None is no value."""
  for name, lowest in least.items():
    value = getattr(options, name)
    if value is not None and value < lowest:
      raise ValueError(f'{name} is {value}; expected at least {lowest}.')


def check_count(options: Any, name: str, meaning_of_none: str, unit: str = '') -> None:
  """Raises ValueError for a field that is neither None nor at least 1.

  Args:
    options: the dataclass, after `check_types`: the field is None or a whole number.
    name: the field.
    meaning_of_none: what None asks for, for the message.
    unit: of the number, for the message.
  """
  value = getattr(options, name)
  if value is not None and value < 1:
    what = f'a number of {unit} of' if unit else 'a number of'
    raise ValueError(
      f'{name} is {value!r}; expected {what} at least 1, or None for {meaning_of_none}.'
    )


def check_radii(options: Any, name: str, largest: int) -> None:
  """Raises ValueError for a field that is no ascending tuple of radii from 1 to `largest` - 1."""
  radii = getattr(options, name)
  whole = all(isinstance(radius, int) and not isinstance(radius, bool) for radius in radii)
  if not whole or any(a >= b for a, b in zip((0, *radii), (*radii, largest))):
    raise ValueError(
      f'{name} is {radii}; expected ascending whole numbers from 1 to {largest - 1}, below the '
      'radius of the window that is always there.'
    )
