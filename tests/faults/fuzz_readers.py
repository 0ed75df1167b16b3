r"""Tries inputs on everything that reads files or bytes of others, guided by coverage (atheris).

  python tests/faults/fuzz_readers.py --runs=20000 --seed=1 --notes=build/soak.jsonl
  python tests/faults/fuzz_readers.py --kinds="CVAT; YOLO" --runs=1000000

Part of `make fuzz`. Each kind is a process of its own. An input is bad if it is neither read nor
refused in one line, takes more than a second of processor time per megabyte (and one for itself),
or more than 512 MB of memory. It is kept in build/fuzz. Exit code 1: there was a bad one.
"""

import argparse
import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOUND = ROOT / 'build' / 'fuzz'
MOST_BYTES = 512 << 20
LONGEST = 1 << 14  # Bytes of an input.


def try_inputs(kind, runs, seed):
  """Tries inputs of one kind in this process; does not return."""
  import atheris

  with atheris.instrument_imports(include=['feelvos_tf']):
    import hostile_readers
  read, seeds = hostile_readers.READERS[kind]
  corpus = hostile_readers.folder() / 'corpus'
  corpus.mkdir()
  for number, data in enumerate(seeds()):
    (corpus / str(number)).write_bytes(data)
    read(data)  # What is traced or imported once does not count.

  def try_one(data):
    begun, most = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read(data)
    seconds = time.process_time() - begun
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most)
    if seconds > 1 + len(data) / 1e6 or grown > MOST_BYTES:
      raise RuntimeError(f'{len(data)} bytes took {seconds:.1f} s and {grown >> 20} MB')

  limits = [f'-runs={runs}', f'-seed={seed}', f'-max_len={LONGEST}', '-timeout=60']
  limits += ['-rss_limit_mb=6000', '-print_final_stats=1']
  atheris.Setup(['fuzz', str(corpus), f'-artifact_prefix={FOUND}/', *limits], try_one)
  atheris.Fuzz()


def run_kind(kind, runs, seed):
  """(inputs tried, bad ones, seconds) of a kind, in a process of its own."""
  begun = time.monotonic()
  command = [sys.executable, __file__, '--kinds', kind, '--child']
  command += ['--runs', str(runs), '--seed', str(seed)]
  paths = os.pathsep.join([str(ROOT), str(ROOT / 'tests' / 'support')])
  process = subprocess.run(
    command,
    cwd=ROOT,
    text=True,
    errors='replace',
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    env={**os.environ, 'PYTHONPATH': paths, 'TF_CPP_MIN_LOG_LEVEL': '3'},
    check=False,
  )
  tried = re.search(r'number_of_executed_units: (\d+)', process.stderr)
  if process.returncode or tried is None:
    print(process.stderr[-6000:])
  count = int(tried[1]) if tried else 0
  return count, int(process.returncode != 0 or count == 0), time.monotonic() - begun


def main():
  """Tries all kinds; 1 if an input was bad."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--kinds', help='separated by "; "; default: all', default='')
  parser.add_argument('--runs', type=int, default=20000, help='inputs of each kind')
  parser.add_argument('--seed', type=int, default=1)
  parser.add_argument('--notes', help='file to which a JSON line a kind is added')
  parser.add_argument('--child', action='store_true', help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.child:
    try_inputs(options.kinds, options.runs, options.seed)
  import hostile_readers

  FOUND.mkdir(parents=True, exist_ok=True)
  worst = 0
  for kind in options.kinds.split('; ') if options.kinds else hostile_readers.READERS:
    count, bad, seconds = run_kind(kind, options.runs, options.seed)
    values = {'inputs': count, 'bad': bad, 'seconds': round(seconds), 'seed': options.seed}
    line = json.dumps({'part': 'inputs', 'what': kind, 'tool': 'atheris', **values})
    print(line, flush=True)
    if options.notes:
      with open(options.notes, 'a', encoding='utf-8') as stream:
        stream.write(f'{line}\n')
    worst = max(worst, bad)
  return worst


if __name__ == '__main__':
  sys.exit(main())
