"""Flags from the fields of dataclasses, and that every command keeps the flags it had."""

import dataclasses
import importlib
import json
import pathlib
from typing import Literal

from absl import flags
import pytest

from feelvos_tf.runtime import command_line
from feelvos_tf.runtime.option_flags import field_comments
from feelvos_tf.runtime.option_flags import OptionFlags

# {command: {flag: default}}, written down before flags were made from fields.
KNOWN = json.loads(pathlib.Path(__file__).with_name('known_flags.json').read_text('utf-8'))
MODULES = {'convert-data': 'feelvos_tf.tools.convert_to_tfrecord'}


@dataclasses.dataclass(frozen=True)
class Options:
  # Number of things,
  # at least `one`.
  #
  # For those who read the code.
  count: int = 3
  # Shared by two.
  first: float | None = None
  second: bool = True

  # Kind.
  kind: Literal['a', 'b'] = 'a'
  sizes: tuple[int, ...] = (1, 2)
  name: str = 'x'

  def __post_init__(self):
    # Not a field's comment.
    if self.count < 1:
      raise ValueError(f'count is {self.count}; expected at least 1.')
    if self.name == 'y':
      raise ValueError('something about y')


@pytest.fixture
def parse(monkeypatch):
  """Function that defines flags, parses arguments and returns the flags."""

  def parsed(options, *arguments):
    values = flags.FlagValues()
    monkeypatch.setattr(flags, 'FLAGS', values)
    for name in ('bool', 'integer', 'float', 'string', 'enum'):
      define = getattr(flags, f'DEFINE_{name}')
      monkeypatch.setattr(flags, f'DEFINE_{name}', _into(define, values))
    for name in ('multi_integer', 'multi_float', 'multi_string', 'multi_enum', 'list'):
      define = getattr(flags, f'DEFINE_{name}')
      monkeypatch.setattr(flags, f'DEFINE_{name}', _into(define, values))
    options.define()
    values(['program', *arguments])
    return values

  return parsed


def _into(define, values):
  return lambda *args, **kwargs: define(*args, **kwargs, flag_values=values)


def test_a_flag_has_the_name_type_default_and_comment_of_its_field(parse):
  options = OptionFlags(
    Options, leave_out=('name',), names={'count': 'how_many'}, defaults={'second': False}
  )
  found = parse(options, '--how_many=5', '--second', '--kind=b', '--sizes=4')
  assert set(found) == {'how_many', 'first', 'second', 'kind', 'sizes'}
  assert found['how_many'].default == 3 and found['second'].default is False
  assert found['first'].default is None and found['sizes'].default == [1, 2]
  assert found['how_many'].help == 'Number of things, at least one.'
  assert found['first'].help == found['second'].help == 'Shared by two.'
  assert options.make(name='z') == Options(5, None, True, 'b', (4,), 'z')


@dataclasses.dataclass(frozen=True)
class Lists:
  # Sizes.
  sizes: tuple[float, ...] = (1.0, 0.5)
  # Names.
  names: tuple[str, ...] | None = None
  # Parts.
  parts: tuple[str, ...] = ()
  # Kind.
  kind: str | None = None


LISTS = OptionFlags(
  Lists, choices={'parts': ('a', 'b'), 'kind': ('x', 'y')}, lists=('sizes', 'names')
)


def test_flags_with_commas_and_with_choices(parse):
  found = parse(LISTS, '--sizes=2,0.25', '--parts=b', '--parts=a')
  assert LISTS.make() == Lists((2.0, 0.25), None, ('b', 'a'), None)
  assert LISTS.given() == {'sizes': (2.0, 0.25), 'parts': ('b', 'a')}
  assert LISTS.flag_names() == ('sizes', 'names', 'parts', 'kind')
  assert found['sizes'].default == ['1', '0.5'] and found['names'].default is None


def test_arguments_repeat_the_values_on_another_command_line(parse):
  options = OptionFlags(Options, names={'count': 'how_many'}, lists=('sizes',))
  parse(options, '--how_many=5', '--nosecond', '--sizes=4,7')
  expected = ['--how_many=5', '--nosecond', '--kind=a', '--sizes=4,7', '--name=x']
  assert options.arguments() == expected  # No --first: it is None.


def test_an_entry_of_a_list_that_is_no_number(parse):
  parse(LISTS, '--sizes=2,big')
  with pytest.raises(command_line.UsageError, match='--sizes=2,big given; expected numbers'):
    LISTS.make()


@pytest.mark.parametrize('argument', ['--kind=z', '--parts=c'])
def test_a_value_that_is_no_choice(parse, argument):
  with pytest.raises(flags.IllegalFlagValueError):
    parse(LISTS, argument)


@dataclasses.dataclass(frozen=True)
class More(Options):
  # Own.
  extra: int = 1


def test_comments_of_a_class_that_is_extended():
  comments = field_comments(More)
  assert comments['extra'] == 'Own.' and comments['kind'] == 'Kind.'


@pytest.mark.parametrize(
  ('given', 'message'),
  [
    (['--how_many=0'], '^--how_many is 0; expected at least 1'),
    (['--name=y'], '^something about y'),
  ],
)
def test_what_the_dataclass_refuses_is_a_usage_error_with_the_flags_name(parse, given, message):
  options = OptionFlags(Options, names={'count': 'how_many'})
  parse(options, *given)
  with pytest.raises(command_line.UsageError, match=message):
    options.make()


def test_a_field_that_is_not_there_is_an_error_in_the_program():
  with pytest.raises(ValueError, match='Options has no field cuont'):
    OptionFlags(Options, names={'cuont': 'count'})


def test_comments_of_a_class_without_source_are_empty():
  made = dataclasses.make_dataclass('Made', [('size', int, 3)])
  made.__module__ = 'nowhere'
  assert field_comments(made) == {}


@pytest.mark.parametrize('command', KNOWN)
def test_every_command_keeps_its_flags_and_defaults(command):
  module = importlib.import_module(MODULES.get(command, f'feelvos_tf.{command}'))
  before = set(flags.FLAGS)
  module.define_flags()
  defined = set(flags.FLAGS) - before
  try:
    found = {name: flags.FLAGS[name].default for name in defined}
    help_texts = {name: flags.FLAGS[name].help for name in defined}
  finally:
    for name in defined:
      delattr(flags.FLAGS, name)
  assert {name: found.get(name, 'missing') for name in KNOWN[command]} == KNOWN[command]
  assert [name for name, text in help_texts.items() if not text or text == name] == []
