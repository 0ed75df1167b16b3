"""Flags made from the fields of option dataclasses: name, type, default, and comment as help.

  @dataclasses.dataclass(frozen=True)
  class Options:
    # Steps between log lines.
    #
    # From here on the comment is for those who read the code.
    log_steps: int = 10

  OPTIONS = OptionFlags(Options)
  OPTIONS.define()         # --log_steps, integer, default 10, help "Steps between log lines."
  options = OPTIONS.make() # after the flags are parsed

A field is written once: in its dataclass, which also checks the range. A value that it refuses is a
usage error of the command.
"""

from collections.abc import Collection, Mapping
import dataclasses
import inspect
import re
import types
import typing
from typing import Any, Generic, Literal, TYPE_CHECKING, TypeVar

from absl import flags

from feelvos_tf.runtime import command_line

if TYPE_CHECKING:
  from _typeshed import DataclassInstance

Options = TypeVar('Options', bound='DataclassInstance')
flags.disclaim_key_flags()  # The flags are those of the main that calls `define`.

_COMMENT = re.compile(r'  # ?(.*)')
_FIELD = re.compile(r'  (\w+): ')


class OptionFlags(Generic[Options]):
  """The flags of one option dataclass."""

  def __init__(
    self,
    options: type[Options],
    leave_out: Collection[str] = (),
    names: Mapping[str, str] | None = None,
    defaults: Mapping[str, Any] | None = None,
    choices: Mapping[str, Collection[str]] | None = None,
    lists: Collection[str] = (),
  ) -> None:
    """Reads the fields.

    Args:
      options: dataclass whose fields have one of the types bool, int, float, str, Literal of
        strings, tuple of int, float or str, or such a type or None.
      leave_out: names of fields without a flag; `make` needs them where they have no default.
      names: {field: name of its flag} where the two differ.
      defaults: {field: default of its flag} where it is not the field's.
      choices: {field: what its flag can be} where the field's type does not say it.
      lists: names of tuple fields whose flag is given once, with commas, and is not repeated.

    Raises:
      ValueError: an argument names a field that the dataclass does not have.
    """
    self._options = options
    self._names, self._defaults = dict(names or {}), dict(defaults or {})
    self._choices, self._lists = dict(choices or {}), frozenset(lists)
    named = {*leave_out, *self._names, *self._defaults, *self._choices, *self._lists}
    unknown = named - _field_names(options)
    if unknown:
      raise ValueError(f'{options.__name__} has no field {", ".join(sorted(unknown))}.')
    fields = dataclasses.fields(typing.cast(Any, options))
    self._fields = [field for field in fields if field.init and field.name not in leave_out]

  def define(self) -> None:
    """Defines the flags."""
    comments, kinds = field_comments(self._options), self._kinds()
    for field in self._fields:
      name, kind, default = self.flag(field.name), kinds[field.name], self._default(field)
      text = comments.get(field.name, field.name)
      if field.name in self._lists:
        flags.DEFINE_list(name, None if default is None else [_text(v) for v in default], text)
      else:
        _define(name, kind, default, text, self._choices.get(field.name))

  def flag(self, field: str) -> str:
    """Name of a field's flag."""
    return self._names.get(field, field)

  def flag_names(self) -> tuple[str, ...]:
    """Names of all flags."""
    return tuple(self.flag(field.name) for field in self._fields)

  def arguments(self) -> list[str]:
    """Arguments of a command line that give the same values: '--name=value', none for None."""
    texts = (flags.FLAGS[name].serialize() for name in self.flag_names())
    return [text for text in texts if text]

  def given(self) -> dict[str, Any]:
    """{field: value of its flag} of those on the command line.

    Raises:
      UsageError: an entry of a list is no number.
    """
    return {
      field.name: self._value(field.name)
      for field in self._fields
      if flags.FLAGS[self.flag(field.name)].present
    }

  def values(self) -> dict[str, Any]:
    """{field: value of its flag}; raises as `given`."""
    return {field.name: self._value(field.name) for field in self._fields}

  def make(self, **others: Any) -> Options:
    """The options that the flags ask for.

    Args:
      **others: fields that count instead of their flags, or have none.

    Raises:
      UsageError: the dataclass refuses a value, or an entry of a list is no number.
    """
    try:
      return self._options(**{**self.values(), **others})
    except ValueError as error:
      raise command_line.UsageError(self._with_flag(str(error))) from error

  def _kinds(self) -> dict[str, Any]:
    """{field: its type, without None}."""
    hints = typing.get_type_hints(self._options)
    return {name: _without_none(kind) for name, kind in hints.items()}

  def _value(self, field: str) -> Any:
    name = self.flag(field)
    value = flags.FLAGS[name].value
    if field not in self._lists or value is None:
      return tuple(value) if isinstance(value, list) else value
    kind = typing.get_args(self._kinds()[field])[0]
    try:
      return tuple(kind(text) for text in value)
    except ValueError:
      what = 'whole numbers' if kind is int else 'numbers'
      raise command_line.UsageError(
        f'--{name}={",".join(value)} given; expected {what} separated by commas'
      ) from None

  def _with_flag(self, message: str) -> str:
    """A message that begins with the name of a field, with that of its flag instead."""
    name, space, rest = message.partition(' ')
    name = self.flag(name)
    known = {self.flag(field.name) for field in dataclasses.fields(self._options)}
    return f'--{name}{space}{rest}' if name in known else message

  def _default(self, field: dataclasses.Field) -> Any:
    if field.name in self._defaults:
      return self._defaults[field.name]
    if field.default_factory is not dataclasses.MISSING:
      return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def field_comments(options: type) -> dict[str, str]:
  """{field: first paragraph of the comment above it} of a dataclass and those it extends.

  Fields that follow each other without a comment between them share one. Empty where the source is
  not at hand.
  """
  found = {}
  for kind in reversed(options.__mro__):
    if dataclasses.is_dataclass(kind):
      found.update(_own_comments(kind))
  return found


def _own_comments(options: type) -> dict[str, str]:
  try:
    lines = inspect.getsource(options).splitlines()
  except (OSError, TypeError):
    return {}
  found, block, last = {}, [], ''
  for line in lines:
    comment, field = _COMMENT.fullmatch(line), _FIELD.match(line)
    if comment:
      block.append(comment[1].strip())
    elif field and field[1] in _field_names(options):
      last = _first_paragraph(block) if block else last
      found[field[1]], block = last, []
    elif not line.startswith('    '):
      block = []
  return found


def _first_paragraph(lines: list[str]) -> str:
  end = lines.index('') if '' in lines else len(lines)
  return ' '.join(lines[:end]).replace('`', '')


def _field_names(options: type) -> set[str]:
  return {field.name for field in dataclasses.fields(options)}


def _define(name: str, kind: Any, default: Any, text: str, choices: Collection[str] | None) -> None:
  is_tuple = typing.get_origin(kind) is tuple
  if typing.get_origin(kind) is Literal:
    choices = typing.get_args(kind)
  define: Any
  if choices is not None:
    define = flags.DEFINE_multi_enum if is_tuple else flags.DEFINE_enum
    define(name, list(default) if is_tuple else default, list(choices), text)
  elif is_tuple:
    define = {
      int: flags.DEFINE_multi_integer,
      float: flags.DEFINE_multi_float,
      str: flags.DEFINE_multi_string,
    }[typing.get_args(kind)[0]]
    define(name, None if default is None else list(default), text)
  else:
    define = {
      bool: flags.DEFINE_bool,
      int: flags.DEFINE_integer,
      float: flags.DEFINE_float,
      str: flags.DEFINE_string,
    }[kind]
    define(name, default, text)


def _text(value: object) -> str:
  return f'{value:g}' if isinstance(value, float) else str(value)


def _without_none(kind: Any) -> Any:
  """T of T | None."""
  if typing.get_origin(kind) not in (types.UnionType, typing.Union):
    return kind
  (kind,) = (one for one in typing.get_args(kind) if one is not type(None))
  return kind
