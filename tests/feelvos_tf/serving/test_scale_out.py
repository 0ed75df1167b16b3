"""Several replicas: every session on one of them, found by its id, lost only with it."""

from concurrent import futures
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import httpx
import numpy as np
import pytest
from websockets.sync import client as websocket_client

from feelvos_tf.datasets import masks
from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.saved_model import exported_model
from feelvos_tf.saved_model import png_in_graph
from feelvos_tf.serving.options import ServingOptions

from .conftest import ids_of
from .conftest import png
from .conftest import running

ROOT = pathlib.Path(__file__).resolve().parents[3]
STEPS = 6
GONE = 'the replica that held this session is gone; go on with POST /v1/sessions and the state'
needs_ray = "ray is not installed: pip install 'feelvos-tf[ray]'"


def test_a_named_server_tells_sessions_of_others_from_unknown_ones(server, model_root, video):
  options = ServingOptions(str(model_root), replica='one')
  with (
    running(options, server.services.models) as named,
    httpx.Client(base_url=named.url, timeout=60) as client,
  ):
    session_id = open_session(client, video[0][0], video[1])
    assert re.fullmatch(r'one\.[\w-]{22}', session_id)
    assert client.get(f'/v1/sessions/{session_id}').status_code == 200
    client.delete(f'/v1/sessions/{session_id}')
    for wrong in (session_id, 'one.x', 'x'):
      assert client.get(f'/v1/sessions/{wrong}').status_code == 404
    reply = client.get('/v1/sessions/two.x')
    assert reply.status_code == 410 and GONE in reply.json()['error']


@pytest.mark.parametrize(
  'code, message, flags',
  [
    (2, '--model_dir is missing', []),
    (2, 'replicas have no gRPC', ['--grpc_port=1']),
    (2, 'replicas', ['--replicas=0']),
    (1, 'nowhere: no such folder', ['--model_dir=nowhere']),
  ],
)
def test_wrong_flags_are_one_line(run_main, code, message, flags):
  done = run_main('feelvos_tf.serve_ray', *flags)
  assert (done.returncode, done.stderr.count('\n')) == (code, 1), done.stderr
  assert message in done.stderr


@pytest.mark.parametrize(
  'message, arguments',
  [
    ('replica: unknown; expected replicas, grace_seconds', {'replica': 'x'}),
    ("max_pixels: 'many' given, expected a int", {'max_pixels': 'many'}),
    ('nowhere: no such folder', {'model_dir': 'nowhere', 'enable_model_warmup': 'False'}),
  ],
)
def test_the_builder_checks_its_arguments(message, arguments):
  pytest.importorskip('ray', reason=needs_ray)
  from feelvos_tf.serving import ray_app

  with pytest.raises(ValueError, match=re.escape(message)):
    ray_app.build(arguments)


def descendants(pid):
  """dict of pid to command line of all processes below one."""
  parents, lines = {}, {}
  for folder in pathlib.Path('/proc').glob('[0-9]*'):
    try:
      status = (folder / 'stat').read_text()
      lines[int(folder.name)] = (folder / 'cmdline').read_bytes().decode(errors='replace')
    except OSError:
      continue
    parents[int(folder.name)] = int(status.rpartition(')')[2].split()[1])
  found = {pid}
  while more := {child for child, parent in parents.items() if parent in found} - found:
    found |= more
  return {child: lines.get(child, '') for child in found - {pid}}


class Cluster:
  """`python -m feelvos_tf.serve_ray` with two replicas."""

  def __init__(self, model_root):
    self._process = subprocess.Popen(
      [
        sys.executable,
        '-m',
        'feelvos_tf.serve_ray',
        f'--model_dir={model_root}',
        '--replicas=2',
        '--port=0',
        '--cpus_per_replica=0.5',
        '--noenable_model_warmup',
        '--max_body_bytes=1000000',
      ],
      cwd=ROOT,
      env={**os.environ, 'PYTHONPATH': str(ROOT), 'TF_CPP_MIN_LOG_LEVEL': '3'},
      text=True,
      stdout=subprocess.PIPE,
    )
    line = self._process.stdout.readline()
    assert 'small 1 with 2 replicas' in line, (line, self._process.poll())
    self.url = line.split()[-1]

  def replicas(self):
    """Process ids."""
    return [
      pid
      for pid, line in descendants(self._process.pid).items()
      if line.startswith('ray::ServeReplica')
    ]

  def stop(self):
    """Ends it as an operator would; nothing may stay."""
    left = descendants(self._process.pid)
    self._process.send_signal(signal.SIGTERM)
    assert self._process.wait(60) == 0
    end = time.monotonic() + 20
    while (left := [pid for pid in left if pathlib.Path(f'/proc/{pid}').exists()]) and (
      time.monotonic() < end
    ):
      time.sleep(0.2)
    assert not left

  def kill(self):
    """Ends it anyhow."""
    for pid in (self._process.pid, *descendants(self._process.pid)):
      with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    self._process.wait(10)
    self._process.stdout.close()


@pytest.fixture(scope='module')
def cluster(model_root):
  pytest.importorskip('ray', reason=needs_ray)
  cluster = Cluster(model_root)
  try:
    yield cluster
    cluster.stop()
  finally:
    cluster.kill()


@pytest.fixture
def replicated(cluster):
  """HTTP client of the cluster."""
  with httpx.Client(base_url=cluster.url, timeout=60) as client:
    yield client


@pytest.fixture
def in_process(model_root):
  """Function: (frames, first mask) -> the masks of a single `VideoSegmenter`.

  `resumed_after` is the number of a frame whose state goes through state bytes, which round
  embeddings to bfloat16.
  """
  model = exported_model.ExportedModel(model_root / 'small' / '1')

  def segment(frames, mask, resumed_after=None):
    segmenter, segmented = VideoSegmenter(model), []
    segmenter.start(frames[0], mask)
    for index, frame in enumerate(frames[1:], 1):
      segmented.append(segmenter.step(frame).mask)
      if index == resumed_after:
        state = model.save(segmenter.snapshot(), png_in_graph.palette_chunk(masks.DAVIS_PALETTE))
        segmenter = VideoSegmenter(model)
        segmenter.restore(model.restore(state)[0])
    return segmented

  return segment


def open_session(client, frame, mask, key=None):
  """The id of a new session."""
  reply = client.post(
    '/v1/sessions',
    data={'model': 'small'},
    headers={'X-Session-Id': key} if key else {},
    files={'frame': png(frame), 'mask': masks.encode_mask(mask)},
  )
  assert reply.status_code == 201, reply.text
  return reply.json()['session_id']


def replica_of(session_id):
  return session_id.partition('.')[0]


def videos_of(video, count):
  """(frames, mask) of different videos of `STEPS` frames after the first."""
  frames, mask = video
  return [
    (
      [np.roll(frames[i % len(frames)], 5 * n, 1) for i in range(STEPS + 1)],
      np.roll(mask, 5 * n, 1),
    )
    for n in range(count)
  ]


def open_on_both(client, videos):
  """Sessions for all videos, as many on one replica as on the other: list of ids."""
  most, chosen = len(videos) // 2, []
  for attempt in range(60):
    frames, mask = videos[len(chosen)]
    session_id = open_session(client, frames[0], mask, f'key {attempt}' if attempt % 2 else None)
    if sum(replica_of(session_id) == replica_of(other) for other in chosen) < most:
      chosen.append(session_id)
    else:
      client.delete(f'/v1/sessions/{session_id}')
    if len(chosen) == len(videos):
      return chosen
  raise AssertionError(f'60 sessions and not {most} on each of two replicas')


def close_all(client, session_ids):
  for session_id in session_ids:
    client.delete(f'/v1/sessions/{session_id}')


@pytest.mark.slow
def test_36_interleaved_steps_of_six_sessions_on_two_replicas(replicated, video, in_process):
  videos = videos_of(video, 6)
  session_ids = open_on_both(replicated, videos)
  assert len({replica_of(session_id) for session_id in session_ids}) == 2
  got = {session_id: [] for session_id in session_ids}

  def step(item):
    session_id, frame = item
    return replicated.post(f'/v1/sessions/{session_id}/frames', content=png(frame))

  with futures.ThreadPoolExecutor(6) as pool:
    for index in range(1, STEPS + 1):
      frames = [frames[index] for frames, _ in videos]
      for session_id, reply in zip(session_ids, pool.map(step, zip(session_ids, frames))):
        assert reply.status_code == 200, reply.text
        assert reply.headers['x-frame-index'] == str(index)
        got[session_id].append(ids_of(reply.content))
  assert sum(map(len, got.values())) == 36
  for (frames, mask), session_id in zip(videos, session_ids):
    np.testing.assert_array_equal(got[session_id], in_process(frames, mask))
  close_all(replicated, session_ids)


@pytest.mark.slow
def test_one_key_is_one_replica(replicated, video):
  frames, mask = video
  for key in ('a', 'b', 'c'):
    session_ids = [open_session(replicated, frames[0], mask, key) for _ in range(5)]
    assert len({replica_of(session_id) for session_id in session_ids}) == 1
    close_all(replicated, session_ids)


@pytest.mark.slow
def test_streams_need_no_header(replicated, cluster, video, in_process):
  videos = videos_of(video, 4)
  session_ids = open_on_both(replicated, videos)
  for (frames, mask), session_id in zip(videos, session_ids):
    with websocket_client.connect(
      f'{cluster.url.replace("http", "ws")}/v1/sessions/{session_id}/stream'
    ) as stream:
      for frame in frames[1:]:
        stream.send(png(frame))
      got = [ids_of(stream.recv(30)) for _ in frames[1:]]
    np.testing.assert_array_equal(got, in_process(frames, mask))
  close_all(replicated, session_ids)


@pytest.mark.slow
def test_errors_are_those_of_one_server(replicated, video):
  for path, code in (('/v1/sessions/x', 404), ('/v1/sessions/x.y', 410), ('/nowhere', 404)):
    reply = replicated.get(path)
    assert (reply.status_code, list(reply.json())) == (code, ['error'])
  reply = replicated.post('/v1/sessions', content=bytes(1000001))
  assert reply.status_code == 413 and 'larger than 1000000 bytes' in reply.json()['error']
  assert replicated.get('/readyz').status_code == 200
  assert replicated.get('/').text.startswith('<!doctype html>')


@pytest.mark.slow
def test_a_killed_replica_loses_its_own_sessions_only(replicated, cluster, video, in_process):
  videos = videos_of(video, 6)
  session_ids = open_on_both(replicated, videos)
  expected = [in_process(frames, mask) for frames, mask in videos]

  def check_step(session_id, n, index):
    reply = replicated.post(f'/v1/sessions/{session_id}/frames', content=png(videos[n][0][index]))
    assert reply.status_code == 200, reply.text
    np.testing.assert_array_equal(ids_of(reply.content), expected[n][index - 1])

  for index in (1, 2):
    for n, session_id in enumerate(session_ids):
      check_step(session_id, n, index)
  states = [
    replicated.get(f'/v1/sessions/{session_id}/state').content for session_id in session_ids
  ]
  first, _ = before = cluster.replicas()
  os.kill(first, signal.SIGKILL)

  lost = [n for n, session_id in enumerate(session_ids) if not is_alive(replicated, session_id)]
  alive = [n for n in range(6) if n not in lost]
  assert len(lost) == 3
  assert len({replica_of(session_ids[n]) for n in lost}) == 1
  for n in alive:
    check_step(session_ids[n], n, 3)
  wait_for_replacement(replicated, cluster, before, session_ids, video)
  for index in (4, 5, 6):
    for n in alive:
      check_step(session_ids[n], n, index)
  for n in lost:
    expected[n] = in_process(*videos[n], resumed_after=2)
    reply = replicated.post(f'/v1/sessions/{session_ids[n]}/frames', content=png(videos[n][0][3]))
    assert reply.status_code == 410 and GONE in reply.json()['error']
    reply = replicated.post(
      '/v1/sessions', data={'model': 'small', 'frame_index': '2'}, files={'state': states[n]}
    )
    assert reply.status_code == 201 and reply.json()['frame_index'] == 2, reply.text
    for index in (3, 4, 5, 6):
      check_step(reply.json()['session_id'], n, index)


def is_alive(client, session_id):
  """Whether a session is there; a request that meets the end of its replica fails otherwise."""
  for _ in range(20):
    code = client.get(f'/v1/sessions/{session_id}').status_code
    if code in (200, 410):
      return code == 200
    time.sleep(0.5)
  raise AssertionError(f'{session_id}: still answered with {code}')


def wait_for_replacement(client, cluster, before, session_ids, video):
  """Waits until another process opens sessions under a new name."""
  known = {replica_of(session_id) for session_id in session_ids}
  end = time.monotonic() + 120
  while time.monotonic() < end:
    session_id = open_session(client, video[0][0], video[1])
    client.delete(f'/v1/sessions/{session_id}')
    if replica_of(session_id) not in known:
      assert len(set(cluster.replicas()) - set(before)) == 1
      return
    time.sleep(0.5)
  raise AssertionError('the killed replica was not replaced within two minutes')
