"""Runs that write folders, in processes that are disturbed: one imports all and forks the others.

`python fault_jobs.py` says whether it may have disks of its own, reads requests as JSON lines and
answers each with a line:

  {"job": "segment", "folder": "out"}   not disturbed; the answer has the number of points
  {"job": "segment", "folder": "out", "signal": 9, "at": 17}   killed at the 17th point of writing
  {"job": "segment", "folder": "out", "signal": 2, "after": 0.3}   after 0.3 s
  {"job": ..., "signal": 19, "at": 3}   stopped there; the answer has the process, "go_on" ends it
  {"job": ..., "at": 3, "clock": 1e8}   from there on, the time of day is another
  {"job": ..., "at": 3, "file": "a.jpg", "length": 9}   that file is cut off there; -1: removed
  {"job": ..., "largest": 4096}   no file may get larger
  {"job": ..., "source": "frames"}   reads frames, or a data set, from there
  {"mount": "out", "size": 65536, "read_only": true}   see `small_disks`; {"unmount": "out"}

A point is before and in the middle of a write, and before and after a flush and a rename.
"""

import gc
import json
import os
import pathlib
import resource
import signal
import sys
import threading
import time
import traceback
import types

ROOT = pathlib.Path(__file__).resolve().parents[2]
SIZE = (32, 48)
FRAMES = 6
ASKING = (signal.SIGINT, signal.SIGTERM)  # Signals that a program can answer.


class Points:
  """Counts the points of writing of this process; disturbs it at one of them."""

  def __init__(self, at=None, disturb=None):
    self.count, self._at, self._disturb = 0, at, disturb
    self._lock = threading.Lock()

  def __call__(self):
    with self._lock:
      self.count += 1
      hit = self.count == self._at
    if hit:
      self._disturb()

  def install(self):
    fsync, replace, write_bytes = os.fsync, os.replace, pathlib.Path.write_bytes

    def around(call):
      def wrapped(*args):
        self()
        result = call(*args)
        self()
        return result

      return wrapped

    def write(path, data):
      self()
      with open(path, 'wb') as stream:
        stream.write(data[: len(data) // 2])
        stream.flush()
        self()
      return write_bytes(path, data)

    os.fsync, os.replace, pathlib.Path.write_bytes = around(fsync), around(replace), write


def disturbance(request):
  """Function that does to this process, or its files, what a request asks for."""
  if 'clock' in request:
    now = time.time
    return lambda: setattr(time, 'time', lambda: now() + request['clock'])
  if 'file' in request:
    path, length = request['file'], request['length']
    return lambda: os.remove(path) if length < 0 else os.truncate(path, length)

  def send():
    os.kill(os.getpid(), request.get('signal', signal.SIGKILL))
    time.sleep(0.05)  # An interruption is the main thread's, this one may be another.

  return send


class Tracker:
  """Stands for a `VideoSegmenter` where a model would take all the time.

  Its masks depend on all frames before, so that a run that goes on with something else shows.
  """

  remembers_masks = False
  object_ids = (0, 1)
  is_told_by_masks = staticmethod(lambda num_ids, goes_on=True: False)

  def __init__(self):
    from feelvos_tf.inference.options import SegmenterOptions

    self.options = SegmenterOptions()

  def start(self, frame, mask, others=()):
    self._level = np.array(getattr(mask, 'ids', mask), np.float32)
    for _, other in others:
      self._level += 0.1 * other
    return self._result()

  def look_ahead(self, frame):
    pass

  def step(self, frame):
    shown = frame.mean(axis=2).astype(np.float32) / 255
    self._level = np.roll(self._level, 1, axis=1) * np.float32(0.9) + shown * np.float32(0.2)
    return self._result()

  @property
  def previous_tensors(self):
    return [self._level.copy()]

  def restore_previous(self, arrays):
    self._level = arrays[0]

  def _result(self):
    ids = (self._level > 0.5).astype(np.uint8)
    return types.SimpleNamespace(
      mask=ids,
      object_ids=self.object_ids,
      confidence=np.array([1, self._level.mean()]),
      predicted_logits=np.stack([1 - self._level, self._level]),
    )


def first_mask():
  ids = np.zeros(SIZE, np.uint8)
  ids[8:20, 10:30] = 1
  return ids


class Film:
  """Frames in memory."""

  def __new__(cls):
    class Made(Video):
      name, num_frames, frame_size = 'made', FRAMES, SIZE
      frame_names = NumberedNames(FRAMES)

      def frames(self, start=0):
        yield from np.random.default_rng(3).integers(0, 256, (FRAMES, *SIZE, 3), np.uint8)[start:]

      def mask(self, index):
        return None

    return Made()


def segment(folder, source=None):
  from feelvos_tf.runtime import results as results_lib

  if result_folder.holds_results(folder, 'run'):
    return  # It was killed behind its end.
  results_lib._SECONDS_BETWEEN_STATES = 0  # After every frame, as in a video of large frames.
  forms = export_results.Forms(('coco', 'objects'))
  video = open_video(source) if source else Film()
  with result_folder.ResultFolder(folder, 'run') as output:
    segment_run.segment(Tracker(), video, masks.Mask(first_mask()), output, forms=forms)
    output.finish()


def segment_both(folder, source=None):
  """In both directions from masks on two frames; opinions are averaged without TensorFlow."""
  from feelvos_tf.runtime import both_directions

  def merge(size, before, behind, share, trust):
    logits = (1 - share) * before.logs.astype(np.float32) + share * behind.logs
    ids = logits.argmax(axis=0).astype(np.uint8)
    return types.SimpleNamespace(mask=ids, object_ids=(0, 1), confidence=logits.mean((1, 2)))

  names = ('Opinion', 'agreement', 'arrival', 'opinion_of', 'trusts')
  real = {name: getattr(both_directions.merging, name) for name in names}
  both_directions.merging = types.SimpleNamespace(merge=merge, **real)
  if result_folder.holds_results(folder, 'run'):
    return
  other = masks.Mask(np.roll(first_mask(), 5, axis=0))
  given = given_masks.GivenMasks({1: masks.Mask(first_mask()), 4: other}, direction='both')
  with result_folder.ResultFolder(folder, 'run') as output:
    segment_run.segment(Tracker(), Film(), given, output)
    output.finish()


def convert(folder, source=None):
  """`convert-data` without its start of TensorFlow, which a forked process has behind it."""
  sources = synthetic.synthetic_sources(4, 0, num_frames=3, frame_size=SIZE, num_objects=1)
  if source:
    sources = folder_sources(source)
  options = planning.ConversionOptions(str(folder), 'synthetic', num_shards=2, num_workers=1)
  with folder_lock.locked(folder):
    conversion.convert(planning.plan(sources, options, {}))


def convert_masks(folder, source=None):
  sys.argv += [f'--masks={pathlib.Path(folder).parent / "davis/Annotations/480p/a"}']
  sys.argv += [f'--output={folder}', '--format=coco,yolo,objects']
  if (pathlib.Path(folder) / 'yolo/labels/00002.txt').exists():  # The last one, by its name.
    return  # It was killed behind its end.
  masks_main.define_flags()
  flags.FLAGS(sys.argv)
  masks_main.main()


def train(folder, source=None):
  """What a training keeps: options, checkpoints, best and final weights."""
  with RunDirectory(folder).locked() as directory:
    directory.register({'model': {}, 'optimizer': 'momentum', 'loss_scaling': False})
    value, step = tf.Variable(np.zeros(500, np.float32)), tf.Variable(0)
    kept = tf.train.Checkpoint(value=value, step=step)
    run = checkpoints.Checkpoints(pathlib.Path(folder, 'checkpoints'), kept, 2)
    run.restore(lambda: int(step))
    while int(step) < 5:
      value.assign(value * np.float32(1.01) + np.float32(int(step) + 1))
      step.assign_add(1)
      weights_file.save_arrays(pathlib.Path(folder, 'best.h5'), {'value': value.numpy()}, {})
      run.save(int(step))
    weights_file.save_arrays(pathlib.Path(folder, 'final.h5'), {'value': value.numpy()}, {})


def weights(folder, source=None):
  """A weights file in place of an earlier one, and the same as a checkpoint of TensorFlow 1."""
  arrays = {'a/weights': np.random.default_rng(1).normal(size=(60, 70)).astype(np.float32)}
  with folder_lock.locked(folder):
    weights_file.save_arrays(pathlib.Path(folder, 'a.h5'), arrays, {})
    tf1_checkpoint.write_tensors(pathlib.Path(folder, 'model.ckpt-1'), arrays)


def evaluate(folder, source=None):
  root = source or pathlib.Path(folder).parent / 'davis'
  sys.argv += ['--baseline=copy_first_mask', f'--davis_root={root}', '--year=2016', '--split=val']
  sys.argv += [f'--output_dir={folder}', '--num_workers=1', f'--submission_zip={folder}/all.zip']
  evaluate_main.define_flags()
  flags.FLAGS(sys.argv)
  evaluate_main.main()


def export(folder, source=None):
  """A graph and its notes; done where the version is there."""
  if (pathlib.Path(folder) / 'name' / '1').exists():
    return
  function = tf.function(lambda x: {'y': 2 * x}, [tf.TensorSpec([None], tf.float32, 'x')])
  options = {'largest_side': None, 'max_reference_pixels_per_object': None}
  info = {
    **dict.fromkeys(('scores', 'precision_chosen_for', 'licence', 'speed', 'jit_compile')),
    'name': 'name',
    'version': 1,
    'precision': 'float32',
    'max_pixels': 1,
    'signatures': {},
    'options': {'model': {'model_variant': 'mobilenet_v2', 'output_stride': 16}, **options},
  }
  signatures = {'serving_default': function.get_concrete_function()}
  version_folder.write_version(pathlib.Path(folder) / 'name' / '1', signatures, info)


RUNS = (convert, convert_masks, train, segment, segment_both, evaluate, export, weights)
JOBS = {job.__name__: job for job in RUNS}


def make_film(root):
  """A video file and a folder of a user's own data, of frames that cannot be made small."""
  frames = np.random.default_rng(5).integers(0, 256, (40, *SIZE, 3), np.uint8)
  root.mkdir()
  with writers.OverlayVideoWriter(root / 'film.mp4') as film:
    for frame in frames:
      film.write_picture(frame)
  for index, frame in enumerate(frames[:8]):
    for name in ('a', 'b'):
      for part, data in (('frames', frame), ('masks', None)):
        path = root / 'own' / name / part / f'{index:05d}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(masks.encode_mask(first_mask()) if data is None else to_png(data))


def to_png(frame):
  return cv2.imencode('.png', frame)[1].tobytes()


def make_davis(root):
  """Two sequences of three frames in DAVIS layout, for `evaluate`."""
  for number, name in enumerate(('a', 'b')):
    for index in range(3):
      frames, truth = (root / part / '480p' / name for part in ('JPEGImages', 'Annotations'))
      frames.mkdir(parents=True, exist_ok=True)
      truth.mkdir(parents=True, exist_ok=True)
      picture = np.random.default_rng(number).integers(0, 256, (*SIZE, 3), np.uint8)
      (frames / f'{index:05d}.jpg').write_bytes(cv2.imencode('.jpg', picture)[1].tobytes())
      masks.write_mask(truth / f'{index:05d}.png', np.roll(first_mask(), index, axis=1))
  (root / 'ImageSets' / '2016').mkdir(parents=True)
  (root / 'ImageSets' / '2016' / 'val.txt').write_text('a\nb\n')


def _child(request, counted):
  """One run; ends the process."""
  log = os.open(f'{request["folder"]}.log', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
  for stream in (1, 2):
    os.dup2(log, stream)
  for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
  points = Points(request.get('at'), disturbance(request))
  points.install()
  if 'largest' in request:
    resource.setrlimit(resource.RLIMIT_FSIZE, (request['largest'], request['largest']))
  sys.argv = ['fault_jobs']
  code = 1

  def main():
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKING)  # What came before arrives now.
    JOBS[request['job']](request['folder'], request.get('source'))

  try:
    command_line.run(main)
  except SystemExit as error:
    code = error.code or 0
  except BaseException:
    traceback.print_exc()
  finally:
    os.write(counted, str(points.count).encode())
    sys.stdout.flush()
    os._exit(code)


def _answer(request):
  """Does what a request asks for; returns the answer."""
  if 'mount' in request:
    return small_disks.mount(request['mount'], request['size'], request.get('read_only', False))
  if 'unmount' in request:
    return small_disks.unmount(request['unmount'])
  if 'go_on' in request:
    process, received = _STOPPED.pop(request['go_on'])
    os.kill(process, signal.SIGCONT)
    return _wait(process, received)
  return _run(request)


_STOPPED = {}  # Process -> (itself, descriptor from which its points will come).


def _run(request):
  received, counted = os.pipe()
  begun = time.monotonic()
  signal.pthread_sigmask(signal.SIG_BLOCK, ASKING)  # Until the run can answer them.
  process = os.fork()
  if not process:
    os.close(received)
    _child(request, counted)
  signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKING)
  os.close(counted)
  if 'after' in request:
    time.sleep(request['after'])
    os.kill(process, request['signal'])  # Not waited for yet, so the number is its own.
  return {**_wait(process, received), 'seconds': time.monotonic() - begun}


def _wait(process, received):
  """{status, points} of a run that ended, {stopped} of one that stopped."""
  number, status = os.waitpid(process, os.WUNTRACED)
  if os.WIFSTOPPED(status):
    _STOPPED[number] = process, received
    return {'stopped': number}
  with os.fdopen(received, 'rb') as stream:
    points = int(stream.read() or 0)
  return {'status': os.waitstatus_to_exitcode(status), 'points': points}


if __name__ == '__main__':
  import small_disks

  disks = small_disks.separate()  # Before anything starts threads.
  sys.path.insert(0, str(ROOT))
  import absl.flags as flags
  import cv2
  import numpy as np
  import tensorflow as tf  # Imported, not used: it starts threads with the first operation only.

  from feelvos_tf import evaluate as evaluate_main
  from feelvos_tf.datasets import masks
  from feelvos_tf.datasets import writers
  from feelvos_tf.datasets.sources import synthetic
  from feelvos_tf.datasets.sources.folder import folder_sources
  from feelvos_tf.datasets.sources.folder import open_video
  from feelvos_tf.datasets.tfrecord import conversion
  from feelvos_tf.datasets.tfrecord import planning
  from feelvos_tf.datasets.tfrecord import schema  # noqa: F401 (imported late otherwise)
  from feelvos_tf.datasets.video import NumberedNames
  from feelvos_tf.datasets.video import Video
  from feelvos_tf.deeplab import tf1_checkpoint
  from feelvos_tf.deeplab import weights_file
  from feelvos_tf.files import folder_lock
  from feelvos_tf.inference import given_masks
  from feelvos_tf.runtime import command_line
  from feelvos_tf.runtime import export_results
  from feelvos_tf.runtime import result_folder
  from feelvos_tf.runtime import segment_run
  from feelvos_tf.saved_model import version_folder
  from feelvos_tf.tools import convert_masks as masks_main
  from feelvos_tf.training import checkpoints
  from feelvos_tf.training.run_directory import RunDirectory

  cv2.setNumThreads(1)
  if len(sys.argv) > 1:
    make_davis(pathlib.Path(sys.argv[1]) / 'davis')
    make_film(pathlib.Path(sys.argv[1]) / 'film')
  gc.freeze()  # Else each run looks through all that was imported, and copies the memory for it.
  print(json.dumps({'disks': disks}), flush=True)
  for line in sys.stdin:
    print(json.dumps(_answer(json.loads(line))), flush=True)
