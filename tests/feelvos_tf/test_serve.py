"""The command: what it refuses, and how it ends."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import types

import httpx
import pytest
import tensorflow as tf

from feelvos_tf import serve
from feelvos_tf.model import precision
from feelvos_tf.serving import options
from feelvos_tf.serving import run

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
  'code, message, flags',
  [
    (2, '--model_dir is missing', []),
    (
      2,
      'max_objects is 256; expected at most 255 (object ids 1..255)',
      ['--model_dir=x', '--max_objects=256'],
    ),
    (2, 'workers', ['--model_dir=x', '--workers=0']),
    (2, 'idle_seconds is 0.0; expected more than 0', ['--model_dir=x', '--idle_seconds=0']),
    (2, "--allowed_host 'http://x': expected a name", ['--model_dir=x', '--allowed_host=http://x']),
    (1, 'no such token file', ['--model_dir=x', '--token_file=nowhere']),
  ],
)
def test_wrong_flags_are_one_line(run_main, code, message, flags):
  done = run_main('feelvos_tf.serve', *flags)
  assert (done.returncode, done.stderr.count('\n')) == (code, 1), done.stderr
  assert message in done.stderr


def test_a_token_file_holds_a_token(run_main, tmp_path):
  path = tmp_path / 'token'
  for text in ('', 'two words', 'gr\u00fc\u00df'):
    path.write_text(text)
    done = run_main('feelvos_tf.serve', '--model_dir=x', f'--token_file={path}')
    assert (done.returncode, done.stderr.count('\n')) == (1, 1)
    assert 'expected one line with a token' in done.stderr


def test_a_variable_holds_a_token(monkeypatch):
  """Secrets that were made of a file end with its line's end, which no header can hold."""
  for text, token in (
    ('sesame\n', 'sesame'),
    ('sesame', 'sesame'),
    ('', None),
    ('open sesame', 'open sesame'),  # Version 0.1 took both.
    ('gr\u00fc\u00df', 'gr\u00fc\u00df'),
  ):
    monkeypatch.setenv('FEELVOS_TOKEN', text)
    assert options.token_of_environment() == token
  for text in ('\n', 'two\nlines'):
    monkeypatch.setenv('FEELVOS_TOKEN', text)
    with pytest.raises(ValueError, match='FEELVOS_TOKEN: expected one line with a token'):
      options.token_of_environment()
  monkeypatch.delenv('FEELVOS_TOKEN')
  assert options.token_of_environment() is None


def save_slow_model(path):
  """Writes a model that takes long enough to be running when the server is told to stop."""

  @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, 'x')])
  def slow(x):
    step = lambda i, y: (i + 1, y)
    return {'y': tf.while_loop(lambda i, _: i < 200000, step, (0, x / 2 + 2))[1]}

  tf.saved_model.save(tf.Module(), str(path), {'serving_default': slow.get_concrete_function()})


def test_sigterm_finishes_what_is_running(tmp_path):
  environment = {**os.environ, 'FEELVOS_TOKEN': 'sesame', 'TF_CPP_MIN_LOG_LEVEL': '3'}
  save_slow_model(tmp_path / 'half' / '1')
  server = subprocess.Popen(
    [
      sys.executable,
      '-m',
      'feelvos_tf.serve',
      f'--model_dir={tmp_path}',
      '--port=0',
      '--grpc_port=0',
    ],
    cwd=ROOT,
    env=environment,
    text=True,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
  )
  try:
    line = server.stdout.readline()
    (url,) = re.findall(r'^Serving half 1 at (http://127\.0\.0\.1:\d+) and gRPC at', line)
    headers = {'Authorization': 'Bearer sesame'}
    answers = []
    thread = threading.Thread(
      target=lambda: answers.append(
        httpx.post(
          f'{url}/v1/models/half:predict', json={'inputs': [1.0]}, headers=headers, timeout=60
        )
      )
    )
    thread.start()
    pending = lambda: re.search(
      r'^feelvos_pending_requests (\S+)', httpx.get(f'{url}/metrics', headers=headers).text, re.M
    ).group(1)
    while pending() == '0.0' and not answers:
      pass
    assert not answers  # It runs.
    server.send_signal(signal.SIGTERM)
    _, errors = server.communicate(timeout=60)
    thread.join(60)
    assert (answers[0].status_code, answers[0].json()) == (200, {'outputs': [2.5]})
    assert server.returncode == -signal.SIGTERM and errors == ''
  finally:
    server.kill()


def test_an_interruption_says_nothing_of_written_files(monkeypatch, capsys):
  def interrupt():
    raise KeyboardInterrupt

  monkeypatch.setattr(serve, 'read_options', interrupt)  # As while models are loaded.
  with pytest.raises(SystemExit) as end:
    serve.main()
  assert end.value.code == 130 and capsys.readouterr() == ('', '')


def test_nothing_to_serve_is_one_line(run_main, tmp_path):
  for folder, message in (
    (tmp_path, 'no <name>/<version>/saved_model.pb in it'),
    (tmp_path / 'none', 'no such folder'),
  ):
    done = run_main('feelvos_tf.serve', f'--model_dir={folder}')
    assert (done.returncode, done.stderr.count('\n')) == (1, 1), done.stderr
    assert message in done.stderr


def test_an_address_in_use():
  with run.bind('127.0.0.1', 0) as taken:
    port = taken.getsockname()[1]
    with pytest.raises(ValueError, match=f'127.0.0.1:{port}: cannot listen there .*in use'):
      run.bind('127.0.0.1', port)
  with pytest.raises(ValueError, match='cannot listen there'):
    run.bind('256.0.0.1', 0)


@pytest.mark.parametrize(
  'text, lines',
  [
    (
      '{"precision": "float32"}',
      [
        'feelvos computes in float32; on this machine bfloat16 is faster: export it with '
        '--precision=bfloat16.'
      ],
    ),
    ('{"precision": "bfloat16"}', []),
    ('[]', []),
    ('{', []),
    (None, []),
  ],
)
def test_a_model_in_a_slower_precision_is_named(tmp_path, monkeypatch, text, lines):
  if text is not None:
    (tmp_path / 'model.json').write_text(text)

  class Models:
    def names(self):
      return {'feelvos': 1}

    @contextlib.contextmanager
    def leased(self, name):
      yield types.SimpleNamespace(folder=tmp_path)

  monkeypatch.setattr(precision, 'choose', lambda wanted: precision.Choice('bfloat16', wanted))
  monkeypatch.setattr(precision, 'device_name', lambda: 'Xeon (2 cores)')
  assert serve.precision_notes(Models()) == lines
  known = text and re.search('b?float..', text)
  names = known[0] if known else 'what the exports say'
  assert serve.device_line(Models()) == f'Computes in {names} on Xeon (2 cores).'
