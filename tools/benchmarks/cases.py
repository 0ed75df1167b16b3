"""The cases that `tools.benchmark` can time: parts of a frame, whole frames, input and training.

Flop counts are those of the problem (2 * multiply-adds; for local matching the pairs inside the
windows and the image; for the head the shared part once), not of the implementation.
"""

from collections.abc import Callable
import dataclasses
import functools
import pathlib
import tempfile
from typing import Any
import uuid

import numpy as np
import tensorflow as tf

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.samples import batches
from feelvos_tf.datasets.samples import options as options_lib
from feelvos_tf.datasets.samples import triplets
from feelvos_tf.datasets.sources import folder
from feelvos_tf.datasets.sources import synthetic
from feelvos_tf.deeplab.options import ModelVariant
from feelvos_tf.inference import graph as graph_lib
from feelvos_tf.inference.graph import InferenceGraph
from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.matching import global_matching
from feelvos_tf.matching import local_matching
from feelvos_tf.matching import prepare_reference
from feelvos_tf.model import weights
from feelvos_tf.model.feelvos import Feelvos
from feelvos_tf.model.precision import with_precision
from feelvos_tf.runtime import result_folder
from feelvos_tf.runtime import segment_run
from feelvos_tf.tools.benchmarks import preset
from feelvos_tf.tools.benchmarks import reference_frame
from feelvos_tf.tools.benchmarks.reference_matching import original_global_matching
from feelvos_tf.tools.benchmarks.reference_matching import original_local_matching
from feelvos_tf.training import data as data_lib
from feelvos_tf.training import step as step_lib
from feelvos_tf.training.data_options import DataSet
from feelvos_tf.training.data_options import TrainingSet

CHANNELS = 100
WINDOW_RADIUS = 15
# Frames of the video that `end_to_end_io` reads and writes.
VIDEO_FRAMES = 12
# Batches that `input` makes in a row: many against the one or two that wait when it begins.
INPUT_BATCHES = 10


@dataclasses.dataclass(frozen=True)
class BenchmarkOptions:
  """What to measure."""

  model_variant: ModelVariant = 'mobilenet_v2'
  height: int = 480  # of the frame, in pixels
  width: int = 854
  objects: int = 3  # with background
  precision: str = 'float32'  # type the network and matching's products compute in; or bfloat16
  repeats: int = 5
  baseline: bool = True  # also time the original's algorithm
  baseline_onednn: bool = True  # with oneDNN's kernels, which TensorFlow 1 did not have
  # Pixels of an object on the first frame that ours matches with, at most; None: all.
  max_reference_pixels_per_object: int | None = None
  largest_side: int | None = None  # of whole frames, see `InferenceOptions.largest_side`
  speed: str | None = None  # preset of whole frames of the default model; None: a seeded model
  crop: int = 257  # side of a training sample in pixels
  batch: int = 3  # samples of a training step


@dataclasses.dataclass(frozen=True)
class Case:
  """One thing to time.

  Attributes:
    run: call without arguments.
    baseline: the same with the original's algorithm, or None.
    flop: floating point operations that one unit is worth, or None.
    units: frames or samples that one call of `run` works on; times are given for one.
    samples: training samples in a unit, or None.
  """

  run: Callable
  baseline: Callable | None = None
  flop: float | None = None
  units: int = 1
  samples: int | None = None


def make_frames(options: BenchmarkOptions) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """Two random embedding maps and labels with one blob per object.

  Returns:
    (float32 [h4, w4, 100], float32 [h4, w4, 100], int32 [h4, w4]).
  """
  h4, w4 = _stride_4(options)
  random = np.random.default_rng(0)
  frames = (0.1 * random.random([2, h4, w4, CHANNELS])).astype(np.float32)
  return tf.constant(frames[0]), tf.constant(frames[1]), tf.constant(_blobs(h4, w4, options))


def make_video(options: BenchmarkOptions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Two random frames uint8 [height, width, 3] and object indices uint8 [height, width]."""
  random = np.random.default_rng(0)
  size = options.height, options.width
  frames = random.integers(0, 256, (2, *size, 3), dtype=np.uint8)
  return frames[0], frames[1], _blobs(*size, options).astype(np.uint8)


def _blobs(height: int, width: int, options: BenchmarkOptions) -> np.ndarray:
  random = np.random.default_rng(1)
  labels = np.zeros([height, width], np.int32)
  for index in range(1, options.objects):
    y, x = random.integers(0, [max(1, height * 2 // 3), max(1, width * 4 // 5)])
    labels[y : y + max(1, height // 3), x : x + max(1, width // 5)] = index
  # Objects behind others stay visible, so that the number of objects is as asked for.
  labels.flat[: options.objects] = np.arange(options.objects)
  return labels


def _stride_4(options: BenchmarkOptions) -> tuple[int, int]:
  return (options.height - 1) // 4 + 1, (options.width - 1) // 4 + 1


@functools.lru_cache(maxsize=1)
def _model(
  variant: ModelVariant, precision: str, limit: int | None, largest_side: int | None
) -> Feelvos:
  return with_precision(
    precision,
    lambda: weights.seeded_model(
      variant, max_reference_pixels_per_object=limit, largest_side=largest_side
    ),
  )


@functools.lru_cache(maxsize=1)
def _inference_graph(*choice: Any) -> InferenceGraph:
  return graph_lib.InferenceGraph(_model(*choice))


def _choice(options: BenchmarkOptions) -> tuple[str, str, int | None, int | None]:
  limit = options.max_reference_pixels_per_object
  return options.model_variant, options.precision, limit, options.largest_side


def seeded_model(options: BenchmarkOptions) -> Feelvos:
  """Seeded `Feelvos` that options ask for; the last one is kept."""
  return _model(*_choice(options))


def inference_graph(options: BenchmarkOptions) -> InferenceGraph:
  """Its `InferenceGraph`; the last one is kept."""
  return _inference_graph(*_choice(options))


def backbone_flop(options: BenchmarkOptions) -> float:
  """Floating point operations of the convolutions from the frame to the embedding."""
  model = seeded_model(options)
  spec = tf.TensorSpec([1, options.height, options.width, 3], tf.float32)
  graph = tf.function(model.extract, autograph=False).get_concrete_function(spec).graph
  total = 0.0
  for operation in graph.get_operations():
    if operation.type in ('Conv2D', 'DepthwiseConv2dNative'):
      output, kernel = operation.outputs[0].shape, operation.inputs[1].shape
      # Each output of a depthwise convolution sums over one channel, not over all.
      per_output = np.prod(kernel[:2] if 'Depthwise' in operation.type else kernel[:3])
      total += 2.0 * np.prod(output) * per_output
  return total


def backbone_case(options: BenchmarkOptions) -> Case:
  """Frame to features and embedding."""
  graph, frame = inference_graph(options), make_video(options)[0]
  baseline = None
  if options.baseline:
    unfolded = graph_lib.InferenceGraph(seeded_model(options), freeze=False)
    baseline = lambda: unfolded.extract(frame)
  return Case(lambda: graph.extract(frame), baseline, backbone_flop(options))


def global_flop(options: BenchmarkOptions) -> float:
  """Of global matching with the reference pixels of the options."""
  counts = np.bincount(_blobs(*_stride_4(options), options).ravel())
  limit = options.max_reference_pixels_per_object or counts.max()
  return 2.0 * counts.sum() * np.minimum(counts, limit).sum() * CHANNELS


def global_case(options: BenchmarkOptions) -> Case:
  """Global matching, k = 1; the reference is prepared beforehand."""
  query, reference, labels = make_frames(options)
  count = tf.constant(options.objects)
  bank = prepare_reference(
    reference,
    labels,
    count,
    compute_dtype=options.precision,
    max_pixels_per_object=options.max_reference_pixels_per_object,
  )
  matcher = tf.function(lambda query, bank, count: global_matching(query, bank, count))
  return Case(
    lambda: matcher(query, bank, count),
    lambda: original_global_matching(query, reference, labels, count),
    global_flop(options),
  )


def local_flop(options: BenchmarkOptions) -> float:
  """Of local matching: pairs inside the windows and the image."""
  pairs = 1.0
  for size in _stride_4(options):
    place = np.arange(size)
    pairs *= np.sum(
      np.minimum(place + WINDOW_RADIUS, size - 1) - np.maximum(place - WINDOW_RADIUS, 0) + 1
    )
  return 2 * pairs * CHANNELS


def local_case(options: BenchmarkOptions) -> Case:
  """Local matching with 31 x 31 windows."""
  query, previous, labels = make_frames(options)
  count = tf.constant(options.objects)
  matcher = tf.function(
    lambda *tensors: local_matching(
      *tensors, window_radius=WINDOW_RADIUS, compute_dtype=options.precision
    )
  )
  return Case(
    lambda: matcher(query, previous, labels, count),
    lambda: original_local_matching(query, previous, labels, count, WINDOW_RADIUS),
    local_flop(options),
  )


def head_flop(options: BenchmarkOptions) -> float:
  """Of the head: the features' share of the first layer once, the rest for every object."""
  head = seeded_model(options).head
  kernel, depth, features = head.kernel_size**2, head.dimension, head.feature_channels
  shared = features * (kernel + depth)
  own = head.object_channels * (kernel + depth) + depth
  own += (head.num_layers - 1) * depth * (kernel + depth)
  return 2.0 * np.prod(_stride_4(options)) * (shared + options.objects * own)


def head_case(options: BenchmarkOptions) -> Case:
  """Features and maps to logits."""
  model = seeded_model(options)
  size = _stride_4(options)
  random = np.random.default_rng(0)
  features = tf.constant(random.random([1, *size, model.head.feature_channels]), tf.float32)
  maps = tf.constant(random.random([options.objects, *size, 3]), tf.float32)
  ours = tf.function(lambda *tensors: model.head(*tensors), autograph=False)
  original = tf.function(
    lambda *tensors: reference_frame.original_head(model.head, *tensors), autograph=False
  )
  return Case(lambda: ours(features, maps), lambda: original(features, maps), head_flop(options))


def end_to_end_case(options: BenchmarkOptions) -> Case:
  """`VideoSegmenter.step`: frame in memory to mask in memory."""
  first, frame, mask = make_video(options)
  if options.speed:
    segmenter = _segmenter_of_preset(options.speed, options.precision)
    segmenter.start(first, mask)
    return Case(lambda: segmenter.step(frame))
  segmenter = VideoSegmenter(inference_graph(options))
  segmenter.start(first, mask)
  baseline = None
  if options.baseline:
    original = reference_frame.OriginalFrames(
      seeded_model(dataclasses.replace(options, precision='float32')),
      first,
      mask.astype(np.int32),
      options.objects,
    )
    baseline = lambda: original.step(frame)
  flop = sum(count(options) for count in (backbone_flop, global_flop, local_flop, head_flop))
  return Case(lambda: segmenter.step(frame), baseline, flop)


_segmenter_of_preset = functools.lru_cache(maxsize=1)(preset.segmenter)


def end_to_end_io_case(options: BenchmarkOptions) -> Case:
  """A video from PNG files to mask files, as `feelvos_tf.segment --nopictures` does it."""
  space = tempfile.TemporaryDirectory()
  frames, output = pathlib.Path(space.name) / 'frames', pathlib.Path(space.name) / 'output'
  frames.mkdir()
  video = synthetic.SyntheticVideo(
    0, VIDEO_FRAMES, (options.height, options.width), options.objects - 1
  )
  for name, frame in zip(video.frame_names, video.frames()):
    tf.io.write_file(str(frames / f'{name}.png'), tf.io.encode_png(frame))
  first = masks.Mask(make_video(options)[2], masks.DAVIS_PALETTE)
  if options.speed:
    segmenter = _segmenter_of_preset(options.speed, options.precision)
  else:
    segmenter = VideoSegmenter(inference_graph(options))

  def run(keep: Any = space) -> None:
    del keep  # The folder lives as long as this function does.
    # A run of its own, so that it does not go on where the one before ended.
    with result_folder.ResultFolder(output, uuid.uuid4().hex, overwrite=True) as results:
      segment_run.segment(segmenter, folder.open_video(frames), first, results, pictures=False)
      results.finish()

  return Case(run, units=VIDEO_FRAMES)


def train_step_case(options: BenchmarkOptions) -> Case:
  """Losses and gradients of a batch of triplets; given for one batch."""
  model = seeded_model(options)
  variables = step_lib.trained_variables(model)
  loss = step_lib.LossOptions()
  side, batch = options.crop, options.batch
  square = dataclasses.replace(options, height=side, width=side)
  random = np.random.default_rng(0)
  data = dict(
    images=tf.constant(random.integers(0, 256, [batch, 3, side, side, 3], dtype=np.uint8)),
    labels=tf.constant(np.broadcast_to(_blobs(side, side, square), [batch, 3, side, side])),
    num_objects=tf.fill([batch], options.objects),
  )
  step = tf.function(
    lambda: step_lib.gradients(model, variables, data, tf.constant(1000), loss)[2], autograph=False
  )
  return Case(step, samples=options.batch)


def input_case(options: BenchmarkOptions) -> Case:
  """Training samples from synthetic videos, made while nothing trains; given for one batch."""
  source = data_lib.source(TrainingSet(DataSet('synthetic')))
  samples = triplets.Triplets(
    [source],
    options_lib.TripletOptions(
      crop_size=(options.crop, options.crop), image_dtype='uint8', max_objects=3
    ),
  )
  drawn = iter(batches.make_dataset(samples, options.batch, prefetch=1))

  def run() -> None:
    for _ in range(INPUT_BATCHES):
      next(drawn)

  return Case(run, units=INPUT_BATCHES, samples=options.batch)


PARTS = {
  'backbone': backbone_case,
  'global': global_case,
  'local': local_case,
  'head': head_case,
  'end_to_end': end_to_end_case,
  'end_to_end_io': end_to_end_io_case,
  'input': input_case,
  'train_step': train_step_case,
}
