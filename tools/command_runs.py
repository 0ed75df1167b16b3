"""Commands of the project run one after the other, each in a process of its own."""

import os
import subprocess
import sys
from typing import IO


def run(
  module: str,
  arguments: list[str],
  label: str,
  shown: tuple[str, ...] = (),
  output: IO[str] | None = None,
) -> str | None:
  """Runs `python -m module`; shows its progress.

  Args:
    module: for example 'feelvos_tf.evaluate'.
    arguments: of its command line.
    label: what stands in front of the lines that are shown.
    shown: beginnings of lines on its standard error that are shown.
    output: open file for its standard output; None drops it.

  Returns:
    Its error in one line, or None.

  Raises:
    KeyboardInterrupt: this process or the command was interrupted.
  """
  with subprocess.Popen(
    [sys.executable, '-m', module, *arguments],
    env={**os.environ, 'PYTHONUNBUFFERED': '1'},
    text=True,
    stdout=output or subprocess.DEVNULL,
    stderr=subprocess.PIPE,
  ) as process:
    last = ''
    try:
      for line in process.stderr or ():
        last = line.strip() or last
        if line.startswith(shown or ('\0',)):
          print(f'  {label}: {line}', end='', file=sys.stderr, flush=True)
    except KeyboardInterrupt:
      process.terminate()  # Only a terminal's Ctrl-C reaches it by itself.
      process.wait()  # `with` would leave it behind, at work in its folder.
      raise
  if process.returncode == 0:
    return None
  if process.returncode == 130:
    raise KeyboardInterrupt
  return last.partition('error: ')[2] or f'{last} (exit code {process.returncode})'
