"""Training samples: rules of the original, determinism, and what goes beyond it."""

import numpy as np
import pytest
import tensorflow as tf

from feelvos_tf.datasets.clips import Clip
from feelvos_tf.datasets.clips import video_clips
from feelvos_tf.datasets.data_warning import DataWarning
from feelvos_tf.datasets.samples.batches import error_message
from feelvos_tf.datasets.samples.batches import make_dataset
from feelvos_tf.datasets.samples.options import Source
from feelvos_tf.datasets.samples.options import TripletOptions
from feelvos_tf.datasets.samples.triplets import index_labels
from feelvos_tf.datasets.samples.triplets import Triplets
from feelvos_tf.datasets.tfrecord.clips import record_clips

SIZE = (48, 64)
PLAIN = {'crop_size': SIZE, 'max_scale_factor': 1.0, 'flip_probability': 0.0}


class ArrayClip(Clip):
  """A clip in memory; the red channel of frame i is i, green and blue are the coordinates."""

  def __init__(self, name='clip', num_frames=6, ids=(1,), size=SIZE, blue=None):
    self.name, self.num_frames, self.reads = name, num_frames, []
    rows, columns = np.indices(size)
    self.pattern = np.stack([rows * 0, rows, columns if blue is None else rows * 0 + blue], -1)
    self.ids = np.zeros(size, np.uint8)
    width = size[1] // (2 * len(ids))
    for number, object_id in enumerate(ids):
      self.ids[8:-8, 4 + 2 * number * width : 4 + (2 * number + 1) * width] = object_id

  def image(self, index):
    self.reads.append(index)
    return (self.pattern + [index, 0, 0]).astype(np.uint8)

  def labels(self, index):
    return self.ids.copy()


def build(*clips, source=None, **options):
  return Triplets([Source(clips or (ArrayClip(),), **(source or {}))], TripletOptions(**options))


def frame_numbers(sample):
  """Which frames an unscaled sample holds."""
  return [int(image[..., 0].max()) for image in sample['images']]


def equal(first, second):
  return first.keys() == second.keys() and all(
    np.array_equal(first[key], second[key]) for key in first
  )


def test_a_sample_has_the_documented_form():
  sample = build(ArrayClip(ids=(3, 200)), crop_size=(40, 33)).sample(0)
  assert sample['images'].shape == (3, 40, 33, 3) and sample['images'].dtype == np.float32
  assert sample['labels'].shape == (3, 40, 33) and sample['labels'].dtype == np.int32
  assert sample['num_objects'].dtype == np.int32 and sample['video'] == 'clip'


def test_frames_are_a_reference_and_neighbours():
  triplets = build(ArrayClip(num_frames=6), **PLAIN)
  chosen = [frame_numbers(triplets.sample(number)) for number in range(200)]
  assert all(current == previous + 1 for _, previous, current in chosen)
  assert {reference for reference, _, _ in chosen} == set(range(6))
  assert {current for *_, current in chosen} == set(range(1, 6))


def test_longer_clips():
  sample = build(ArrayClip(num_frames=9), num_frames=5, **PLAIN).sample(3)
  following = frame_numbers(sample)[1:]
  assert following == list(range(following[0], following[0] + 4))


def test_gaps_and_reversed_clips():
  triplets = build(ArrayClip(num_frames=9), max_frame_gap=3, reverse_probability=0.5, **PLAIN)
  steps = {
    current - previous
    for _, previous, current in (frame_numbers(triplets.sample(number)) for number in range(100))
  }
  assert steps == {-3, -2, -1, 1, 2, 3}


def test_a_gap_that_does_not_fit_is_shortened():
  triplets = build(ArrayClip(num_frames=3), max_frame_gap=5, **PLAIN)
  assert {tuple(frame_numbers(triplets.sample(n))[1:]) for n in range(40)} == {
    (0, 1),
    (1, 2),
    (0, 2),
  }


def test_previous_and_current_frame_are_treated_alike_and_the_reference_on_its_own():
  triplets = build(crop_size=(30, 30))
  for number in range(20):
    # Green and blue show where a pixel comes from.
    reference, previous, current = triplets.sample(number)['images'][..., 1:]
    np.testing.assert_array_equal(previous, current)
    assert not np.array_equal(reference, previous)


def test_only_the_frames_of_the_sample_are_read():
  clip = ArrayClip(num_frames=50)
  build(clip, **PLAIN).sample(0)
  assert len(clip.reads) == 3


def test_padding_is_ignored_and_grey():
  sample = build(crop_size=(70, 70), max_scale_factor=1.0).sample(0)
  padding = sample['labels'] == 255
  assert padding.mean() > 0.3 and (sample['images'][padding] == 127.5).all()
  assert sample['num_objects'] == 2


def test_labels_of_the_original(golden):
  data = golden.npz('tf1/train_xception_65_os16')
  before, after = (
    data[key][..., 0].reshape(2, 3, 65, 65) for key in ('labels_before_remap', 'labels')
  )
  for video, num_objects in ((0, 3), (1, 2)):
    labels, count = index_labels(before[video].astype(np.uint8), 4)
    assert count == num_objects
    np.testing.assert_array_equal(labels[1:], after[video, 1:])
    # The original leaves the ids of the reference as they are: video 1 has ids {0, 2} there and
    # {0, 1} in the other frames, a defect that we do not copy.
    np.testing.assert_array_equal(labels[0] != 0, after[video, 0] != 0)
    assert set(np.unique(labels[0])) == set(range(count))


def test_ids_become_indices_in_all_frames():
  labels = np.zeros((3, 33, 33), np.uint8)
  labels[:, 4:12, 4:12], labels[:, 20:28, 4:12], labels[:, :, 32] = 200, 7, 255
  labels[2, 4:12, 20:28] = 9  # Not in the reference frame: background, as in the original.
  indexed, count = index_labels(labels, 4)
  assert count == 3 and indexed.dtype == np.int32
  assert (indexed[:, 20:28, 4:12] == 1).all() and (indexed[:, 4:12, 4:12] == 2).all()
  assert (indexed[:, :, 32] == 255).all() and (indexed[2, 4:12, 20:28] == 0).all()


def test_surplus_objects_are_ignored():
  triplets = build(ArrayClip(ids=(1, 2, 3)), max_objects=2, **PLAIN)
  kept = set()
  for number in range(30):
    sample = triplets.sample(number)
    assert sample['num_objects'] == 3
    assert set(np.unique(sample['labels'])) == {0, 1, 2, 255}
    kept.add(int(np.unravel_index(np.argmax(sample['labels'][0] == 255), SIZE)[1]))
  assert len(kept) == 3


@pytest.mark.parametrize(
  'ids, message', [((0,), '0 pixels of foreground'), ((255,), '0 pixels of foreground')]
)
def test_samples_without_objects_are_rejected(ids, message):
  with pytest.raises(ValueError, match=f'200 attempts were rejected.*clip: {message}'):
    build(ArrayClip(ids=ids), **PLAIN).sample(0)


def test_samples_with_little_of_something_are_rejected():
  clip = ArrayClip()
  clip.ids[:] = 1
  with pytest.raises(ValueError, match='0 pixels of background'):
    build(clip, **PLAIN).sample(0)
  clip.ids[:] = 0
  clip.ids[:8, :16] = 1  # 2 x 4 or so pixels at stride 4.
  with pytest.raises(ValueError, match='[0-9] pixels of foreground'):
    build(clip, **PLAIN).sample(0)
  clip.ids[20:, 20:] = 2
  with pytest.raises(ValueError, match='an object with [0-9] pixels'):
    build(clip, **PLAIN).sample(0)


def test_ten_pixels_are_enough():
  clip = ArrayClip(size=(65, 65))
  clip.ids[:] = 0
  clip.ids[4 : 8 + 1, 4 : 20 + 1] = 1  # Exactly 2 x 5 pixels at stride 4.
  options = dict(PLAIN, crop_size=(65, 65))
  assert build(clip, **options).sample(0)['num_objects'] == 2
  clip.ids[4, 4] = 0
  with pytest.raises(ValueError, match='9 pixels of foreground'):
    build(clip, **options).sample(0)


def test_a_bad_video_does_not_stop_the_others():
  bad, good = ArrayClip('bad', ids=(0,)), ArrayClip('good')
  triplets = build(bad, good, **PLAIN)
  assert {triplets.sample(number)['video'] for number in range(10)} == {'good'}


def test_samples_depend_on_seed_and_number_only():
  options = {'crop_size': (30, 30), 'paste_probability': 0.5, 'color_strength': 0.2}
  clips = [ArrayClip(str(number), blue=40 * number) for number in range(4)]
  first, second = build(*clips, **options), build(*clips, **options)
  backwards = {number: second.sample(number) for number in reversed(range(12))}
  assert all(equal(first.sample(number), backwards[number]) for number in range(12))
  other = build(*clips, seed=1, **options)
  assert not any(equal(other.sample(number), backwards[number]) for number in range(12))
  assert not equal(first.sample(3), first.sample(3 + 2**32))


def test_all_frames_of_a_clip_have_one_look():
  class StillClip(ArrayClip):
    def image(self, index):
      return super().image(0)

  plain = build(StillClip(), **PLAIN).sample(0)['images'][0]
  samples = [build(StillClip(), look_strength=1.0, **PLAIN).sample(n)['images'] for n in range(40)]
  for images in samples:
    assert np.array_equal(images[0], images[1]) and np.array_equal(images[0], images[2])
  changed = [not np.array_equal(images[0], plain) for images in samples]
  assert 10 < sum(changed) < 30  # Every other clip keeps its colours.


def test_all_frames_of_a_sample_come_from_small_ones():
  class StillClip(ArrayClip):
    def image(self, index):
      return super().image(0)

  views = {'crop_size': (33, 41), 'paste_probability': 0.5}
  plain, small, some = (
    build(StillClip('a'), StillClip('b', blue=90), small_frames_probability=share, **views)
    for share in (0.0, 1.0, 0.5)
  )
  changed = 0
  for number in range(40):
    first, second = plain.sample(number), small.sample(number)
    # The same crops and pasted objects: what is drawn for it is drawn last.
    assert np.array_equal(first['labels'], second['labels'])
    assert not any(map(np.array_equal, first['images'], second['images']))
    changed += not np.array_equal(first['images'], some.sample(number)['images'])
  assert 10 < changed < 30
  images = build(StillClip(), small_frames_probability=1.0, **PLAIN).sample(0)['images']
  assert np.array_equal(images[0], images[1]) and np.array_equal(images[0], images[2])


def test_every_epoch_shows_every_clip_once():
  triplets = build(*[ArrayClip(str(number)) for number in range(7)], **PLAIN)
  names = [triplets.sample(number)['video'] for number in range(21)]
  epochs = [names[start : start + 7] for start in (0, 7, 14)]
  assert all(sorted(epoch) == sorted(set(names)) for epoch in epochs)
  assert epochs[0] != epochs[1] != epochs[2] and triplets.num_clips == 7


def test_mixture_by_probability():
  sources = [
    Source([ArrayClip('a')], 3.0),
    Source([ArrayClip('b')], 1.0),
    Source([ArrayClip('never')], 0.0),
  ]
  triplets = Triplets(sources, TripletOptions(**PLAIN))
  names = [triplets.sample(number)['video'] for number in range(400)]
  assert 270 < names.count('a') < 330 and names.count('a') + names.count('b') == 400


def test_pasted_objects_are_new_objects_with_their_pixels():
  host, donor = ArrayClip('host', blue=10), ArrayClip('donor', blue=90)
  triplets = Triplets(
    [
      Source([host], donates=False),
      Source([donor], 0.0),
      Source([ArrayClip('donor2', blue=91)], 0.0),
    ],
    TripletOptions(crop_size=(44, 60), max_scale_factor=1.0, paste_probability=1.0),
  )
  pasted = 0
  for number in range(20):
    sample = triplets.sample(number)
    assert sample['video'] == 'host'
    if sample['num_objects'] == 3:
      pasted += 1
      for image, labels in zip(sample['images'], sample['labels']):
        assert (image[labels == 2][..., 2] >= 90).all()
        assert (image[labels == 1][..., 2] == 10).all()
  assert pasted > 10


def test_no_object_is_pasted_from_the_same_video():
  with pytest.warns(DataWarning, match='1 of 2 videos have fewer than 3 frames with masks.*: clip'):
    triplets = build(
      ArrayClip(blue=10),
      ArrayClip(num_frames=1, blue=99),
      crop_size=(44, 60),
      max_scale_factor=1.0,
      paste_probability=0.0,
    )
  assert triplets.num_clips == 1  # The other is too short to be a sample or a donor.
  with pytest.raises(ValueError, match='needs at least two videos'):
    build(ArrayClip(), paste_probability=0.5)


def mixture(**options):
  """A host whose blue is 10, and two donors with 90 and 91."""
  sources = [Source([ArrayClip('host', blue=10)], donates=False)]
  sources += [Source([ArrayClip(f'donor{blue}', blue=blue)], 0.0) for blue in (90, 91)]
  common = {'crop_size': (44, 60), 'max_scale_factor': 1.0, 'paste_probability': 1.0}
  return Triplets(sources, TripletOptions(**{**common, **options}))


def test_twins_are_further_objects_of_the_same_video():
  triplets = mixture(twin_probability=1.0, max_scale_factor=1.5, flip_probability=0.5)
  twins = 0
  for number in range(40):
    sample = triplets.sample(number)
    assert sample['images'][sample['labels'] < 255][..., 2].max() == 10  # No other video.
    twins += sample['num_objects'] == 3
  assert twins > 10
  alone = build(ArrayClip(), paste_probability=1.0, twin_probability=1.0)
  assert alone.sample(0)['video'] == 'clip'


def test_occluders_hide_and_are_no_objects():
  triplets = mixture(occluder_probability=1.0)
  hidden = 0
  for number in range(40):
    sample = triplets.sample(number)
    assert sample['num_objects'] == 2
    foreign = sample['images'][..., 2] >= 90
    foreign &= sample['labels'] != 255
    assert (sample['labels'][foreign] == 0).all() and foreign.any()
    # The reference keeps its whole object, other frames may lose some.
    plain = mixture(paste_probability=0.0).sample(number)
    hidden += (sample['labels'][2] == 1).sum() < (plain['labels'][2] == 1).sum()
  assert hidden > 10


def test_unlabelled_look_alikes():
  triplets = mixture(twin_probability=1.0, occluder_probability=1.0)
  assert {triplets.sample(number)['num_objects'] for number in range(10)} == {2}


TWINS = {'twin_probability': 1.0, 'max_scale_factor': 1.5, 'flip_probability': 0.5}


def test_twins_are_marked_with_what_they_look_like():
  both = 0
  for number in range(40):
    plain, sample = (mixture(**TWINS, mark_twins=mark).sample(number) for mark in (False, True))
    twins = sample.pop('twins')
    assert equal(sample, plain) and twins.dtype == bool
    objects = (sample['labels'] > 0) & (sample['labels'] < 255)
    assert twins[objects].all()
    if sample['num_objects'] == 3:  # Else the other one is background.
      np.testing.assert_array_equal(twins, objects)
      both += 1
  assert both > 10


def test_unlabelled_look_alikes_are_marked_where_they_are_seen():
  for number in range(20):
    sample = mixture(**TWINS, occluder_probability=1.0, mark_twins=True).sample(number)
    alone = mixture(**{**TWINS, 'paste_probability': 0.0}).sample(number)
    pasted = np.any(sample['images'] != alone['images'], axis=-1)
    objects = (sample['labels'] > 0) & (sample['labels'] < 255)
    assert pasted.any() and not sample['twins'][sample['labels'] == 255].any()
    assert sample['twins'][pasted | objects].all()
    # A pixel of the twin may be that of the frame by chance.
    assert (sample['twins'] & ~pasted & ~objects).sum() < 20


def test_what_hides_an_unlabelled_look_alike_is_not_marked():
  options = {'twin_probability': 0.5, 'occluder_probability': 0.5, 'max_pasted_objects': 4}
  triplets = mixture(**options, mark_twins=True)
  hidden = 0
  for number in range(40):
    sample = triplets.sample(number)
    foreign = (sample['images'][..., 2] >= 90) & (sample['labels'] < 255)
    hidden += foreign.any() and sample['twins'].any()
    assert not sample['twins'][foreign].any()
  assert hidden > 10


def test_without_a_twin_nothing_is_marked():
  sample = mixture(mark_twins=True).sample(0)
  assert sample['num_objects'] == 3 and not sample['twins'].any()
  batch = next(iter(make_dataset(mixture(mark_twins=True), 2)))
  assert batch['twins'].shape == (2, 3, 44, 60) and batch['twins'].dtype == bool


def test_ids_of_twins_are_not_exchanged():
  options = {'twin_probability': 1.0, 'confuse_probability': 1.0}
  for mark, exchanges in ((False, True), (True, False)):
    triplets = mixture(**options, mark_twins=mark)
    exchanged = 0
    for number in range(40):
      sample = triplets.sample(number)
      previous, truth = sample['previous_labels'], sample['labels'][1]
      exchanged += np.any((previous != truth) & (previous > 0) & (truth > 0))
    assert (exchanged > 10) if exchanges else (exchanged == 0)


def test_aimed_objects_meet_the_object_of_the_clip():
  def nearest(sample):
    """Smallest distance of the middles of both objects after the reference, pixels."""
    distances = []
    for labels in sample['labels'][1:]:
      if (labels == 1).any() and (labels == 2).any():
        middles = [np.argwhere(labels == i).mean(axis=0) for i in (1, 2)]
        distances.append(np.linalg.norm(middles[0] - middles[1]))
    return min(distances, default=np.inf)

  def share_that_meets(**options):
    triplets = mixture(num_frames=4, min_scale_factor=0.7, **options)
    samples = [triplets.sample(number) for number in range(60)]
    return np.mean([nearest(sample) < 12 for sample in samples if sample['num_objects'] == 3])

  assert share_that_meets(aim_probability=1.0) > 1.5 * share_that_meets()


def test_wrong_ids_of_the_previous_frame():
  options = {'crop_size': SIZE, 'max_scale_factor': 1.0, 'confuse_probability': 0.5}
  triplets = build(ArrayClip(ids=(3, 7)), **options)
  samples = [triplets.sample(number) for number in range(60)]
  wrong = [np.any(sample['previous_labels'] != sample['labels'][1]) for sample in samples]
  assert 15 < sum(wrong) < 45
  for sample in samples:
    assert sample['previous_labels'].dtype == np.int32
    assert set(np.unique(sample['previous_labels'])) <= {0, 1, 2, 255}
    truth = sample['labels'][1]
    assert np.array_equal(sample['previous_labels'] == 255, truth == 255)
  assert 'previous_labels' in next(iter(make_dataset(triplets, 2)))
  # Damaged masks are confused as well.
  both = build(
    ArrayClip(ids=(3, 7)),
    **{**options, 'confuse_probability': 1.0},
    damage_initial_previous_frame_mask=True,
  ).sample(1)
  assert both['previous_labels'].shape == SIZE


def test_identity_options_that_are_off_change_nothing_and_the_others_depend_on_the_seed():
  plain = mixture().sample(3)
  off = mixture(twin_probability=0.0, occluder_probability=0.0, aim_probability=0.0)
  assert equal(off.sample(3), plain)
  on = {'twin_probability': 0.5, 'occluder_probability': 0.5, 'aim_probability': 0.5}
  on |= {'confuse_probability': 0.5, 'soft_paste': True}
  for number in range(5):
    assert equal(mixture(**on).sample(number), mixture(**on).sample(number))
  assert not all(
    equal(mixture(**on, seed=1).sample(number), mixture(**on).sample(number)) for number in range(5)
  )


def test_first_frame_finetuning():
  source = {'first_frame_finetuning': True}
  triplets = build(ArrayClip(num_frames=5), source=source, **PLAIN)
  chosen = [frame_numbers(triplets.sample(number)) for number in range(60)]
  assert {reference for reference, *_ in chosen} == {0}
  assert {previous for _, previous, _ in chosen} == {1, 2, 3}


def test_only_the_first_frame_each_augmented_on_its_own():
  source = {'first_frame_finetuning': True, 'only_first_frame': True}
  triplets = build(
    ArrayClip(num_frames=1),
    source=source,
    crop_size=(30, 30),
    damage_initial_previous_frame_mask=True,
  )
  sample = triplets.sample(0)
  assert not np.array_equal(sample['images'][1], sample['images'][2])
  assert sample['previous_labels'].shape == (30, 30)


def test_finetuning_rejects_nothing():
  clip = ArrayClip()
  clip.ids[:] = 0
  assert build(clip, source={'first_frame_finetuning': True}, **PLAIN).sample(0)['num_objects'] == 1


def test_three_frame_data_sets():
  triplets = build(ArrayClip(num_frames=3), source={'three_frames': True}, **PLAIN)
  assert all(frame_numbers(triplets.sample(number)) == [0, 1, 2] for number in range(9))
  with pytest.raises(ValueError, match='needs 3 frames per video.*clip has 4, samples 3'):
    build(ArrayClip(num_frames=4), source={'three_frames': True}, **PLAIN)


def test_damaged_labels_of_the_previous_frame():
  sample = build(damage_initial_previous_frame_mask=True, **PLAIN).sample(0)
  labels, damaged = sample['labels'][1], sample['previous_labels']
  assert damaged.dtype == np.int32 and set(np.unique(damaged)) == {0, 1}
  overlap = ((labels == 1) & (damaged == 1)).sum() / ((labels == 1) | (damaged == 1)).sum()
  assert 0.6 < overlap < 1.0


def test_crops_that_show_an_object():
  clip = ArrayClip(size=(200, 300))
  clip.ids[:] = 0
  clip.ids[150:170, 250:270] = 1
  options = {'crop_size': (40, 40), 'max_scale_factor': 1.0, 'object_crop_probability': 1.0}
  labels = [build(clip, **options).sample(number)['labels'] for number in range(20)]
  assert all((frames == 1).any(axis=(1, 2)).all() for frames in labels)


def test_whole_frames():
  triplets = build(crop_size=None, min_resize_value=24)
  assert triplets.sample(0)['images'].shape == (3, 24, 32, 3)
  batch = next(iter(make_dataset(triplets, 1)))
  assert batch['labels'].shape == (1, 3, 24, 32)
  with pytest.raises(ValueError, match='whole frames and a batch of 2'):
    make_dataset(triplets, 2)


def test_uint8_images_are_the_rounded_float_ones():
  exact, rounded = (
    build(crop_size=(40, 40), image_dtype=dtype).sample(5) for dtype in ('float32', 'uint8')
  )
  assert rounded['images'].dtype == np.uint8
  np.testing.assert_allclose(rounded['images'], exact['images'], atol=1)


def test_frame_and_mask_of_different_sizes():
  clip = ArrayClip()
  clip.ids = np.pad(clip.ids, 3)
  with pytest.raises(ValueError, match='clip: a frame of 48x64 has a mask of 54x70'):
    build(clip, crop_size=(20, 20)).sample(0)


def as_arrays(dataset):
  return [{key: value.numpy() for key, value in batch.items()} for batch in dataset]


def test_the_order_does_not_depend_on_threads_and_resumes_anywhere():
  triplets = build(
    *[ArrayClip(str(number), blue=number) for number in range(5)],
    crop_size=(30, 30),
    paste_probability=0.5,
  )
  batches = as_arrays(make_dataset(triplets, 2, stop=12, num_parallel_calls=1))
  assert len(batches) == 6 and batches[0]['images'].shape == (2, 3, 30, 30, 3)
  parallel = as_arrays(make_dataset(triplets, 2, stop=12, num_parallel_calls=8))
  resumed = as_arrays(make_dataset(triplets, 2, start=2 * 4, stop=12))
  assert all(map(equal, batches, parallel)) and all(map(equal, batches[4:], resumed))
  sample = triplets.sample(5)
  assert equal(
    {key: value[1] for key, value in batches[2].items()},
    dict(sample, video=sample['video'].encode()),
  )


def test_workers_share_the_batches_of_one():
  triplets = build(*[ArrayClip(str(number), blue=number) for number in range(5)], **PLAIN)
  whole = as_arrays(make_dataset(triplets, 4, stop=16))
  parts = [
    as_arrays(make_dataset(triplets, 2, stop=16, num_shards=2, shard_index=worker))
    for worker in (0, 1)
  ]
  for batch, first, second in zip(whole, *parts, strict=True):
    assert equal(batch, {key: np.concatenate([first[key], second[key]]) for key in batch})


def test_shapes_are_static():
  dataset = make_dataset(build(**PLAIN), 3)
  assert dataset.element_spec['images'].shape[1:] == (3, *SIZE, 3)
  assert dataset.element_spec['labels'].shape[1:] == (3, *SIZE)


def test_errors_of_a_dataset_keep_their_message():
  dataset = make_dataset(build(ArrayClip(ids=(0,)), **PLAIN), 1)
  with pytest.raises(tf.errors.OpError) as caught:
    next(iter(dataset))
  message = error_message(caught.value)
  assert message.startswith('sample 0: 200 attempts were rejected') and '\n' not in message


@pytest.mark.parametrize(
  'fields, message',
  [
    ({'crop_size': (0, 9)}, 'crop_size is'),
    ({'image_dtype': 'float16'}, "image_dtype is 'float16'; choose one of float32, uint8"),
    ({'min_scale_factor': 2.0}, 'expected 0 < min <= max'),
    ({'paste_probability': 1.5}, r'paste_probability is 1.5; it must lie in \[0, 1\]'),
    ({'aim_probability': -0.5}, r'aim_probability is -0.5; it must lie in \[0, 1\]'),
    ({'num_frames': 1}, 'num_frames is 1; it must be at least 2'),
  ],
)
def test_bad_options_are_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    TripletOptions(**fields)


def test_bad_sources_are_refused():
  with pytest.raises(ValueError, match='the split is empty'):
    Source([])
  with pytest.raises(ValueError, match='probability nan given'):
    Source([ArrayClip()], float('nan'))
  with pytest.raises(ValueError, match='set both'):
    Source([ArrayClip()], only_first_frame=True)
  with pytest.raises(ValueError, match='the longest, clip, has 2'):
    build(ArrayClip(num_frames=2))
  with pytest.raises(ValueError, match='no data set with a sampling probability'):
    Triplets([Source([ArrayClip()], 0.0)])
  with pytest.raises(ValueError, match='shard 2 of 2'):
    make_dataset(build(), 1, num_shards=2, shard_index=2)


def test_records_of_the_original_give_samples(golden):
  clips = record_clips([golden.path('tf1/tfrecord/train_1shard/train-00000-of-00001.tfrecord')])
  triplets = build(*clips, crop_size=(41, 53))
  batch = next(iter(make_dataset(triplets, 4)))
  assert batch['images'].shape == (4, 3, 41, 53, 3)
  assert set(batch['video'].numpy()) <= {b'bear', b'dogs-jump', b'judo'}
  assert (batch['num_objects'].numpy() >= 2).all()


def test_davis_gives_samples(davis_root):
  from feelvos_tf.datasets.sources.davis import davis_videos

  videos = davis_videos(davis_root, split='train', sequences=['bear', 'car-turn'])
  sample = build(*video_clips(videos), crop_size=(257, 257), image_dtype='uint8').sample(1)
  assert sample['images'].std() > 10 and sample['num_objects'] == 2
