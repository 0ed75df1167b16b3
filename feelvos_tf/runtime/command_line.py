"""What every absl main shares: one line for what went wrong, and the exit code for it."""

from collections.abc import Callable, Collection
import errno
import functools
import logging
import os
import signal
import sys
import threading
import types
from typing import Any, NoReturn, TextIO
import warnings

from absl import app
from absl import flags

from feelvos_tf.datasets import data_warning
from feelvos_tf.datasets import names


class UsageError(Exception):
  """Flags that do not fit together; exit code 2."""


def run(
  main: Callable[[], int | None],
  define_flags: Callable[[], None] | None = None,
  end_on_sigterm: bool = True,
  takes_addresses: Collection[str] = (),
) -> NoReturn:
  """Runs an absl main; does not return.

  Exit codes: 0 done, 1 wrong data (ValueError, OSError), 2 wrong flags, 130 interrupted, 143
  terminated (SIGTERM, or 129 for a closed terminal), which cleans up as an interruption does. An
  error is one line `<program>: error: ...` on standard error, a DataWarning is
  `<program>: warning: ...`; other exceptions are bugs and keep their
  traceback.

  Args:
    main: function without arguments; may return an exit code.
    define_flags: optional function that defines the program's flags.
    end_on_sigterm: False for a program that takes care of signals itself.
    takes_addresses: names of flags whose values may be addresses, as `https://example.org`; all
      others are refused with one.
  """
  if define_flags is not None:
    define_flags()
  warnings.showwarning = _show_warning
  # Pillow tells of damage in lines of code; the error that follows names the file.
  warnings.filterwarnings('ignore', module=r'PIL\.')
  _catch_lost_interruptions()
  # Keras imports Matplotlib where it is installed, whose first import tells of fonts.
  logging.getLogger('matplotlib').setLevel(logging.WARNING)

  def checked() -> int | None:
    _refuse_addresses(takes_addresses)
    return main()

  app.run(lambda argv: _guard(checked, argv, end_on_sigterm), flags_parser=_parse)


_PROGRAM: list[str] = []  # The name that `set_program_name` got.


def set_program_name(name: str) -> None:
  """Sets how the program was started, for messages: `feelvos segment`."""
  _PROGRAM[:] = [name]


def program_name() -> str:
  """How the program was started: `feelvos_tf.segment` for `python -m feelvos_tf.segment`."""
  if _PROGRAM:
    return _PROGRAM[0]
  spec = getattr(sys.modules.get('__main__'), '__spec__', None)
  if spec is not None and spec.name:
    return spec.name
  return os.path.basename(sys.argv[0])


def _show_warning(
  message: Warning | str,
  category: type[Warning],
  filename: str,
  lineno: int,
  file: TextIO | None = None,
  line: str | None = None,
) -> None:
  """Replaces `warnings.showwarning`: a user needs no line of code for what is about data."""
  if issubclass(category, data_warning.DataWarning):
    text = names.one_line(message)
    print(f'{program_name()}: warning: {text}', file=sys.stderr, flush=True)
  else:
    text = warnings.formatwarning(message, category, filename, lineno, line)
    print(text, end='', file=file or sys.stderr, flush=True)


def _parse(argv: list[str]) -> list[str]:
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    # absl prints "Flags parsing error" over several lines and exits with 1.
    _fail(error, 2)


def _refuse_addresses(takes_addresses: Collection[str]) -> None:
  """Raises ValueError for an address in a flag: files are read and written on this machine only."""
  for name in flags.FLAGS:
    flag = flags.FLAGS[name]
    if name in takes_addresses or flag.using_default_value:
      continue
    for value in flag.value if isinstance(flag.value, list) else [flag.value]:
      if isinstance(value, str) and '://' in value:
        names.check_local(value, f'--{name}')


def _guard(main: Callable[[], int | None], argv: list[str], end_on_sigterm: bool) -> None:
  for stream in (sys.stdout, sys.stderr):  # Names of files may be any bytes.
    if hasattr(stream, 'reconfigure'):
      stream.reconfigure(errors='backslashreplace')
  for number in (signal.SIGTERM, signal.SIGHUP):
    if (
      end_on_sigterm and signal.getsignal(number) is signal.SIG_DFL
    ):  # Not what nohup or the program set up.
      signal.signal(number, _terminate)
  try:
    if len(argv) > 1:
      raise UsageError(f'{argv[1]!r} is not a flag; flags look like --input=clip.mp4.')
    sys.exit(main() or 0)
  except UsageError as error:
    _fail(error, 2)
  except Terminated as error:
    _fail('terminated; what was written so far is valid.', 128 + error.number)
  except (ValueError, OSError) as error:
    _fail(describe(error), 1)
  except KeyboardInterrupt:
    _fail('interrupted; what was written so far is valid.', 130)
  except SystemError as error:  # So native code hands on what a signal raised in a callback.
    if not isinstance(error.__cause__, KeyboardInterrupt):
      raise
    _fail('interrupted; what was written so far is valid.', 128 + _number(error.__cause__))


class Terminated(KeyboardInterrupt):
  """A signal asked the program to end; `number` is the signal's."""

  def __init__(self, number: int = signal.SIGTERM) -> None:
    super().__init__(number)
    self.number = number


def _terminate(number: int, frame: types.FrameType | None) -> NoReturn:
  del frame
  signal.signal(number, signal.SIG_IGN)  # A second one must not break off the cleaning up.
  raise Terminated(number)


# Seconds until an interruption that was lost comes again; then native code is left, mostly.
_AGAIN = 0.1


def _catch_lost_interruptions() -> None:
  """Lets an interruption come again that could not be raised where it came.

  In a destructor or in a callback of native code, Python prints the exception and goes on: the
  program would run to its end.
  """
  on_exception, on_unraisable = sys.excepthook, sys.unraisablehook

  def excepthook(
    kind: type[BaseException], error: BaseException, traceback: types.TracebackType | None
  ) -> None:
    if not _come_again(error):
      on_exception(kind, error, traceback)

  def unraisablehook(unraisable: Any) -> None:
    if not _come_again(unraisable.exc_value):
      on_unraisable(unraisable)

  sys.excepthook, sys.unraisablehook = excepthook, unraisablehook


def _come_again(error: BaseException | None) -> bool:
  """Sends an interruption again; False for other errors and other threads."""
  if not isinstance(error, KeyboardInterrupt):
    return False
  if threading.current_thread() is not threading.main_thread():
    return False
  # No thread: to start one takes time in which the signal could come.
  signal.signal(signal.SIGALRM, functools.partial(_raise, error))
  signal.setitimer(signal.ITIMER_REAL, _AGAIN)
  return True


def _raise(error: BaseException, *unused_signal: object) -> NoReturn:
  raise error


def _number(error: KeyboardInterrupt) -> int:
  return error.number if isinstance(error, Terminated) else signal.SIGINT


# What an operating system says in a few words, and what to do about it.
_ADVICE = {
  errno.ENOSPC: 'the disk is full; free some space and run the same command again',
  errno.EDQUOT: 'the disk quota is used up; free some space and run the same command again',
  errno.EFBIG: 'the file would be larger than allowed here; choose another disk or limit',
  errno.EROFS: 'the disk is read-only; choose another folder',
  errno.EMFILE: 'too many files are open; allow more (ulimit -n) and run the same command again',
  errno.ENFILE: 'too many files are open on this machine; end other programs',
  errno.ENOMEM: 'the system gives no more memory; end other programs and run the same command again',
  errno.ENAMETOOLONG: 'the name is too long for this disk; shorten it',
}


def describe(error: Any) -> object:
  """The text of an error; that of the operating system with advice and without its number."""
  code = getattr(error, 'errno', None)
  if code is None or not getattr(error, 'strerror', None):
    return error
  name = error.filename if error.filename is not None else 'a file'
  name = os.fsdecode(name) if isinstance(name, bytes) else name
  return f'{name}: {_ADVICE.get(code) or error.strerror}'


def _fail(error: object, code: int) -> NoReturn:
  text = names.one_line(error)
  if code == 2:
    how = program_name() if _PROGRAM else f'python -m {program_name()}'
    text += f' ({how} --helpshort lists the flags)'
  print(f'{program_name()}: error: {text}', file=sys.stderr, flush=True)
  sys.exit(code)
