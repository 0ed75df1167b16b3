"""Training samples: a reference frame, the frame before the current one, and the current one.

Sample number n is a pure function of the options, the sources and n: `Triplets.sample(n)`. So the
order does not depend on the number of threads, any step can be reached without the steps before,
and a run that resumes in the middle of an epoch sees what an undisturbed run would have seen.

Facts: `research/feelvos/utils/video_input_generator.py` and paper section 3.6. Differences, all
where the original loses data or makes labels disagree:
  - labels of the reference frame also become indices, not only those of the other frames;
  - padding and void pixels (255) stay ignored; they are never an object nor background;
  - the last frame of a video is also used as a current frame;
  - a rejected sample is drawn again instead of shortening the queue.

  >>> triplets = Triplets([Source(video_clips(davis_videos(root, split='train')))])
  >>> batches = make_dataset(triplets, batch_size=2, start=0)
"""

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feelvos_tf.datasets import data_warning
from feelvos_tf.datasets.clips import Clip
from feelvos_tf.datasets.object_ids import VOID_ID
from feelvos_tf.datasets.samples import appearance
from feelvos_tf.datasets.samples import crops
from feelvos_tf.datasets.samples import mask_damaging
from feelvos_tf.datasets.samples import pasting
from feelvos_tf.datasets.samples.options import Source
from feelvos_tf.datasets.samples.options import TripletOptions

# Pixels at the stride of the embedding that the background, the foreground and every object need
# in the reference frame (MIN_LABEL_COUNT of the original).
MIN_LABEL_COUNT = 10
# So often a sample is drawn again before the data are called unusable.
MAX_ATTEMPTS = 200
# After this many attempts with one clip, others are tried.
ATTEMPTS_PER_CLIP = 8
# A donor of an object to paste is drawn so often before the sample goes without.
PASTE_ATTEMPTS = 4


class _Rejected(Exception):
  """The sample drawn is of no use; the message says why."""


@dataclasses.dataclass
class _Frames:
  """Frames of one video as crops, in the order of the sample."""

  name: str
  images: list  # float32 or uint8 [height, width, 3]
  labels: list  # uint8 [height, width] ids
  # Ids of twins and of the objects they look like.
  twin_ids: set[int] = dataclasses.field(default_factory=set)
  # Where twins are that are no objects, bool [height, width] a frame; None without one.
  occluding_twins: list | None = None

  def record(self, twin: int | None, original: int, shown: list[NDArray[np.bool_]]) -> None:
    """Takes down a pasted twin: its id (None: it is no object), of what, and where it shows."""
    self.twin_ids.add(original)
    if twin is not None:
      self.twin_ids.add(twin)
    elif self.occluding_twins is None:
      self.occluding_twins = list(shown)
    else:
      self.occluding_twins = [a | b for a, b in zip(self.occluding_twins, shown, strict=True)]

  def cover(self, shown: list[NDArray[np.bool_]]) -> None:
    """What is pasted hides the occluding twins there."""
    if self.occluding_twins is not None:
      self.occluding_twins = [a & ~b for a, b in zip(self.occluding_twins, shown, strict=True)]

  def twins(self) -> NDArray[np.bool_]:
    """bool [frames, height, width]: twins, and what they look like."""
    found = np.isin(np.stack(self.labels), sorted(self.twin_ids))
    return found if self.occluding_twins is None else found | np.stack(self.occluding_twins)


class Triplets:
  """Random access to the samples of a mixture of data sets."""

  def __init__(self, sources: Sequence[Source], options: TripletOptions = TripletOptions()) -> None:
    """Checks that the data can give samples.

    Args:
      sources: sequence of Source.
      options: TripletOptions.

    Raises:
      ValueError: if no clip is long enough, a three-frame data set has others, or all
        probabilities are 0.
    """
    self.options = options
    self._sources = []
    for source in sources:
      self._sources.append(dataclasses.replace(source, clips=self._usable_clips(source)))
    weights = np.array([source.probability for source in self._sources], np.float64)
    if not weights.sum() > 0:
      raise ValueError('no data set with a sampling probability above 0 given')
    self._thresholds = np.cumsum(weights) / weights.sum()
    self._donors = [clip for source in self._sources if source.donates for clip in source.clips]
    if options.paste_probability and options.twin_probability < 1 and len(self._donors) < 2:
      raise ValueError('paste_probability needs at least two videos that donate objects')

  @property
  def num_clips(self) -> int:
    """Number of clips that are used: this many samples are an epoch of a single source."""
    return sum(len(source.clips) for source in self._sources)

  def _usable_clips(self, source: Source) -> tuple[Clip, ...]:
    if source.three_frames:
      wrong = [clip for clip in source.clips if clip.num_frames != 3]
      if wrong or self.options.num_frames != 3:
        clip = wrong[0] if wrong else source.clips[0]
        raise ValueError(
          f'a three-frame data set needs 3 frames per video and per sample; '
          f'{clip.name} has {clip.num_frames}, samples {self.options.num_frames}'
        )
    needed = 1 if source.only_first_frame else self.options.num_frames
    long_enough = tuple(clip for clip in source.clips if clip.num_frames >= needed)
    if not long_enough:
      longest = max(source.clips, key=lambda clip: clip.num_frames)
      raise ValueError(
        f'no video has the {needed} frames with masks that a sample needs; the longest, '
        f'{longest.name}, has {longest.num_frames}. Lower num_frames '
        '(--train_num_frames_per_video) or give longer videos; photos become longer ones with a '
        'higher --num_frames of convert-data'
      )
    short = [clip.name for clip in source.clips if clip.num_frames < needed]
    if short:
      data_warning.warn(
        f'{len(short)} of {len(source.clips)} videos have fewer than {needed} frames with masks, which '
        f'a sample needs, and are left out (the first: {short[0]})'
      )
    return long_enough

  def sample(self, index: int) -> dict[str, Any]:
    """Sample number `index`, 0 or more.

    Returns:
      dict: images float32 or uint8 [num_frames, height, width, 3], 0..255; labels int32
      [num_frames, height, width], object index, 255 ignored; num_objects int32, background
      included; video str, its name; with damage_initial_previous_frame_mask or
      confuse_probability also previous_labels int32 [height, width]; with mark_twins also twins
      bool [num_frames, height, width], the pixels of twins and of the objects they look like.

    Raises:
      ValueError: if a frame cannot be read, or no sample is accepted in MAX_ATTEMPTS attempts.
    """
    reason = None
    for attempt in range(MAX_ATTEMPTS):
      # The legacy generator: its numbers are the same in every version of numpy.
      rng = np.random.RandomState([self.options.seed, index % 2**32, index // 2**32, attempt])
      source, clip = self._choose_clip(rng, index, attempt)
      try:
        return self._draw(rng, source, clip)
      except _Rejected as error:
        reason = f'{clip.name}: {error}'
    raise ValueError(
      f'sample {index}: {MAX_ATTEMPTS} attempts were rejected, the last because of '
      f'{reason}; use larger crops, smaller scales or other videos'
    )

  def _choose_clip(
    self, rng: np.random.RandomState, index: int, attempt: int
  ) -> tuple[Source, Clip]:
    """A source by its probability, and a clip such that an epoch shows each of them once."""
    number = int(np.searchsorted(self._thresholds, rng.uniform(), side='right'))
    source = self._sources[min(number, len(self._sources) - 1)]
    count = len(source.clips)
    if attempt >= ATTEMPTS_PER_CLIP:
      return source, source.clips[rng.randint(count)]
    epoch = index // count
    order = np.random.RandomState(
      [self.options.seed, epoch % 2**32, epoch // 2**32, number, 1]
    ).permutation(count)
    return source, source.clips[order[index % count]]

  def _draw(self, rng: np.random.RandomState, source: Source, clip: Clip) -> dict[str, Any]:
    """One sample of a clip; raises _Rejected if it is of no use."""
    frames = self._read(rng, source, clip)
    for _ in range(self.options.max_pasted_objects):
      if rng.uniform() < self.options.paste_probability:
        self._paste(rng, frames, clip)
    if not source.first_frame_finetuning:
      self._check(frames.labels[0])
    return self._finish(rng, frames)

  def _choose_frames(self, rng: np.random.RandomState, source: Source, clip: Clip) -> list[int]:
    """Indices of the reference and of the frames that follow each other."""
    count, last = self.options.num_frames - 1, clip.num_frames - 1
    if source.only_first_frame:
      return [0] * (count + 1)
    if source.three_frames:
      return [0, 1, 2]
    first_allowed = 1 if source.first_frame_finetuning else 0
    longest_gap = max((last - first_allowed) // max(count - 1, 1), 1)
    gap = rng.randint(1, min(self.options.max_frame_gap, longest_gap) + 1)
    start = rng.randint(first_allowed, last - gap * (count - 1) + 1)
    following = [start + gap * step for step in range(count)]
    if rng.uniform() < self.options.reverse_probability:
      following.reverse()
    reference = 0 if source.first_frame_finetuning else rng.randint(clip.num_frames)
    return [reference] + following

  def _read(
    self, rng: np.random.RandomState, source: Source, clip: Clip, check: bool = True
  ) -> _Frames:
    """Reads and crops the frames of a sample; the reference on its own, the others alike.

    The labels of the reference come first, so that a sample which will be rejected costs one
    mask and no image.
    """
    indices = self._choose_frames(rng, source, clip)
    labels, views = [], []
    for position, index in enumerate(indices):
      ids = clip.labels(index)
      if position < 2 or source.only_first_frame:
        view = self._random_view(rng, ids)
      if ids.shape != view.frame_size:
        raise ValueError(
          f'{clip.name}: a frame of {ids.shape[0]}x{ids.shape[1]} follows one of '
          f'{view.frame_size[0]}x{view.frame_size[1]}; give frames of one size'
        )
      views.append(view)
      labels.append(crops.crop_labels(ids, view))
      if check and position == 0 and not source.first_frame_finetuning:
        self._check(labels[0])
    return _Frames(clip.name, self._read_images(rng, clip, indices, views), labels)

  def _random_view(self, rng: np.random.RandomState, ids: np.ndarray) -> crops.View:
    options = self.options
    resized = crops.size_in_range(
      ids.shape, options.min_resize_value, options.max_resize_value, options.resize_factor
    )
    if options.crop_size is None:
      # Whole frames of one video have to have one size.
      return crops.View(
        ids.shape, resized, (0, 0), resized, bool(rng.uniform() < options.flip_probability)
      )
    scale = crops.random_scale(
      rng, options.min_scale_factor, options.max_scale_factor, options.scale_factor_step_size
    )
    focus = None
    if rng.uniform() < options.object_crop_probability:
      pixels = np.flatnonzero((ids != 0) & (ids != VOID_ID))
      if pixels.size:
        focus = np.unravel_index(pixels[rng.randint(pixels.size)], ids.shape)
    return crops.random_view(
      rng,
      ids.shape,
      resized,
      scale,
      options.crop_size,
      flip_probability=options.flip_probability,
      focus=focus,
    )

  def _read_images(
    self,
    rng: np.random.RandomState,
    clip: Clip,
    indices: Sequence[int],
    views: Sequence[crops.View],
  ) -> list[np.ndarray]:
    crop = crops.crop_image_uint8 if self.options.image_dtype == 'uint8' else crops.crop_image
    changes_of = appearance.random_color_changes(
      rng, len(indices), self.options.color_strength, self.options.look_strength
    )
    images = []
    for index, view, changes in zip(indices, views, changes_of):
      image = clip.image(index)
      if image.shape[:2] != view.frame_size:
        raise ValueError(
          f'{clip.name}: a frame of {image.shape[0]}x{image.shape[1]} has a mask '
          f'of {view.frame_size[0]}x{view.frame_size[1]}; they must be equal'
        )
      for change in changes:
        image = change.apply(image)
      images.append(crop(image, view))
    return images

  def _check(self, reference: np.ndarray) -> None:
    """Raises _Rejected if a reference frame shows too little of something."""
    small = crops.labels_at_stride(reference, self.options.decoder_output_stride)
    counts = np.bincount(small.ravel(), minlength=256)[:VOID_ID]
    if counts[0] < MIN_LABEL_COUNT:
      raise _Rejected(f'{counts[0]} pixels of background in the reference frame')
    if counts[1:].sum() < MIN_LABEL_COUNT:
      raise _Rejected(f'{counts[1:].sum()} pixels of foreground in the reference frame')
    least = counts[counts > 0].min()
    if least < MIN_LABEL_COUNT:
      raise _Rejected(f'an object with {least} pixels in the reference frame')

  def _paste(self, rng: np.random.RandomState, frames: _Frames, host: Clip) -> None:
    """Pastes an object of another video, or a twin, into all frames, or none if none is found."""
    options = self.options
    # No draw for what is off: samples of runs without it stay as they are.
    twin, occluder, aimed = (
      share > 0 and rng.uniform() < share
      for share in (options.twin_probability, options.occluder_probability, options.aim_probability)
    )
    used = np.bincount(np.concatenate([ids.ravel() for ids in frames.labels]), minlength=256)
    free = np.flatnonzero(used[:VOID_ID] == 0)
    free = free[free > 0]
    for _ in range(PASTE_ATTEMPTS):
      clip = host if twin else self._donors[rng.randint(len(self._donors))]
      if (clip is host) != twin or clip.num_frames < len(frames.images) or not free.size:
        continue
      try:
        donor = self._read(rng, Source((clip,)), clip)
      except _Rejected:
        continue
      if donor.images[0].shape != frames.images[0].shape:
        continue  # Whole frames of another size.
      donor_id = rng.choice(objects_of(donor.labels[0], options.decoder_output_stride))
      behind = rng.uniform() < 0.5
      pieces = [
        (image, ids == donor_id) for image, ids in zip(donor.images, donor.labels, strict=True)
      ]
      if aimed:
        pieces = pasting.aim(rng, pieces, frames.labels)
      shown = pasting.paste(
        frames.images,
        frames.labels,
        pieces,
        free[0],
        behind=behind,
        occluder=occluder,
        soft=options.soft_paste,
      )
      frames.cover(shown)
      if twin:
        frames.record(None if occluder else free[0], donor_id, shown)
      return

  def _finish(self, rng: np.random.RandomState, frames: _Frames) -> dict[str, Any]:
    """Ids become indices; everything becomes arrays."""
    options = self.options
    images = frames.images
    # No draw for what is off: samples of runs without it stay as they are.
    share = options.small_frames_probability
    if share and rng.uniform() < share:
      small_frames = appearance.random_small_frames(rng)
      images = [small_frames.apply(image) for image in images]
    keep = None
    if options.max_objects is not None:
      keep = lambda ids: rng.permutation(ids)[: options.max_objects]
    labels, num_objects = index_labels(np.stack(frames.labels), options.decoder_output_stride, keep)
    sample = {
      'images': np.stack(images),
      'labels': labels,
      'num_objects': np.int32(num_objects),
      'video': frames.name,
    }
    if options.has_previous_labels:
      previous = labels[1]
      if options.damage_initial_previous_frame_mask:
        # Without dilation: the original damages at stride 4, where 5 pixels would be a lot.
        previous = mask_damaging.damage_masks(previous, rng, dilate=False)
      if options.confuse_probability and rng.uniform() < options.confuse_probability:
        exchange = not (options.mark_twins and frames.twin_ids)
        previous = mask_damaging.confuse_ids(previous, rng, exchange=exchange)
      sample['previous_labels'] = previous
    if options.mark_twins:
      sample['twins'] = frames.twins()
    return sample


def objects_of(reference: np.ndarray, stride: int) -> NDArray[np.int64]:
  """Sorted ids of the objects that a reference frame shows at a stride.

  Args:
    reference: uint8 [height, width] ids; 0 is background, 255 is ignored.
    stride: int, stride of the embedding.

  Returns:
    int64 [objects], ascending ids, without 0 and 255.
  """
  counts = np.bincount(crops.labels_at_stride(reference, stride).ravel(), minlength=256)
  return np.flatnonzero(counts[1:VOID_ID]) + 1


def index_labels(
  labels: np.ndarray, stride: int, keep: Callable[[np.ndarray], np.ndarray] | None = None
) -> tuple[NDArray[np.int32], int]:
  """Turns ids into indices: 0 is background, then the ids of the reference frame in order.

  Only objects that the reference frame shows at the stride of the embedding exist; pixels of
  others are background, as in the original.

  Args:
    labels: uint8 [frames, height, width] ids, the reference frame first; 255 is ignored.
    stride: int, stride of the embedding.
    keep: optional function from the ids present, int64 [n], to those that stay objects, int64 [m];
      pixels of the rest are ignored.

  Returns:
    (labels int32 [frames, height, width] with indices and 255, number of indices).
  """
  present = objects_of(labels[0], stride)
  table = np.zeros(256, np.int32)
  table[VOID_ID] = VOID_ID
  if keep is not None:
    table[present] = VOID_ID
    present = np.sort(keep(present))
  table[present] = np.arange(1, len(present) + 1)
  return table[labels], len(present) + 1
