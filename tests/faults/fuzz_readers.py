r"""Tries inputs on everything that reads files or bytes of others, guided by coverage (atheris).

  python tests/faults/fuzz_readers.py --runs=20000 --seed=1 --notes=build/soak.jsonl
  python tests/faults/fuzz_readers.py --kinds='CVAT; YOLO' --runs=1000000

Part of `make fuzz`. Each kind is a process of its own. An input is bad if it is neither read nor
refused in one line, takes more than a second of processor time per megabyte (and one for itself),
or more than 512 MB of memory. A picture counts as a byte and 16 bytes of memory a pixel: a GIF of
38 bytes may have the 64 million that are allowed. Exit code 1: there was a bad one.
"""

import argparse
import os
import re
import resource
import sys
import tempfile
import time

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

import atheris

with atheris.instrument_imports(include=['feelvos_tf']):
  import hostile_readers

  from feelvos_tf.tools.benchmarks import soaking

MOST_BYTES = 512 << 20
LONGEST = 1 << 14  # Bytes of an input.


def try_inputs(kind, runs, seed):
  """Tries inputs of one kind in this process; does not return."""
  read, seeds = hostile_readers.READERS[kind]
  corpus = hostile_readers.folder() / 'corpus'
  corpus.mkdir()
  for number, data in enumerate(seeds()):
    (corpus / str(number)).write_bytes(data)
    read(data)  # What is traced or imported once does not count.

  def try_one(data):
    begun, most = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
      read(data)
    except BaseException:
      print(f'input: {data!r}', flush=True)
      raise
    seconds = time.process_time() - begun
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most)
    pixels = hostile_readers.pixels_of(data)
    if seconds > 1 + (len(data) + pixels) / 1e6 or grown > MOST_BYTES + 16 * pixels:
      raise RuntimeError(f'{len(data)} bytes took {seconds:.1f} s and {grown >> 20} MB: {data!r}')

  limits = [f'-runs={runs}', f'-seed={seed}', f'-max_len={LONGEST}', '-timeout=300']
  limits += ['-rss_limit_mb=6000', '-print_final_stats=1']
  atheris.Setup(['fuzz', str(corpus), *limits], try_one)
  atheris.Fuzz()


def run_kind(kind, runs, seed):
  """(inputs tried, whether one was bad) of a kind, in a process of its own."""
  with tempfile.TemporaryFile() as log:
    process = os.fork()  # TensorFlow is imported, but did not start its threads.
    if not process:
      os.dup2(log.fileno(), 1)
      os.dup2(log.fileno(), 2)
      try:
        try_inputs(kind, runs, seed)
      finally:
        os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    log.seek(0)
    text = log.read().decode('utf-8', 'replace')
  tried = re.search(r'number_of_executed_units: (\d+)', text)
  if status or tried is None:
    print(text[-6000:])
  return int(tried[1]) if tried else 0, int(status != 0 or tried is None)


def main():
  """Tries all kinds; 1 if an input was bad."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--kinds', help='separated by "; "; default: all', default='')
  parser.add_argument('--runs', type=int, default=20000, help='inputs of each kind')
  parser.add_argument('--seed', type=int, default=1)
  parser.add_argument('--notes', help='file to which a JSON line a kind is added')
  options = parser.parse_args()
  worst = 0
  for kind in options.kinds.split('; ') if options.kinds else hostile_readers.READERS:
    begun = time.monotonic()
    runs = max(1, options.runs // 10) if kind in hostile_readers.SLOW else options.runs
    count, bad = run_kind(kind, runs, options.seed)
    seconds = round(time.monotonic() - begun)
    values = {'inputs': count, 'bad': bad, 'seconds': seconds, 'seed': options.seed}
    soaking.note(options.notes, part='inputs', what=kind, tool='atheris', **values)
    worst = max(worst, bad)
  return worst


if __name__ == '__main__':
  sys.exit(main())
