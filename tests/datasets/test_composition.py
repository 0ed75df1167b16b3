"""Composed clips: exact ids, crossings and returns, same looks; only the seed decides."""

import dataclasses

import cv2
import numpy as np
import pytest

from feelvos_tf.datasets import composition
from feelvos_tf.datasets.composition import Track
from feelvos_tf.datasets.composition_plan import CompositionOptions
from feelvos_tf.datasets.composition_plan import plan_clip
from feelvos_tf.datasets.masks import Mask
from feelvos_tf.datasets.video import Video

SIZE = (120, 200)
FRAMES = 24
COLOURS = {'red': (220, 30, 30), 'green': (30, 220, 30), 'blue': (30, 30, 220), 'white': (250,) * 3}
IN_PLACE = CompositionOptions(frames=FRAMES, max_step=0.5)


class Disk(Video):
  """A disk of one colour that moves a little over a grey picture."""

  def __init__(self, name, radius=22, frames=FRAMES, background=90, size=SIZE):
    self.name, self.num_frames, self.frame_size = name, frames, size
    self.frame_names = tuple(f'{i:05d}' for i in range(frames))
    self.masked_frames = tuple(range(frames))
    self._radius, self._background = radius, background

  def _draw(self, picture, index, value):
    center = 100 + int(8 * np.sin(index / 4)), 60
    return cv2.circle(picture, center, self._radius, value, -1)

  def frames(self, start=0):
    for index in range(start, self.num_frames):
      yield self._draw(
        np.full((*self.frame_size, 3), self._background, np.uint8), index, COLOURS[self.name]
      )

  def mask(self, index):
    ids = np.zeros(self.frame_size, np.uint8)
    if self._radius:
      self._draw(ids, index, 1)
    ids[:6, :6] = 255
    return Mask(ids)


@pytest.fixture(scope='module')
def tracks():
  return [Track(Disk(name)) for name in COLOURS]


def plans(tracks, options=IN_PLACE, seed=0, count=8):
  return [plan_clip(tracks, index, options, seed) for index in range(count)]


def test_the_seed_decides(tracks):
  first, again, other = plans(tracks), plans(tracks), plans(tracks, seed=1)
  assert [plan.describe() for plan in first] == [plan.describe() for plan in again]
  assert [plan.describe() for plan in first] != [plan.describe() for plan in other]
  for a, b in zip(composition.compose(first[3]), composition.compose(again[3]), strict=True):
    np.testing.assert_array_equal(a[0], b[0])
    np.testing.assert_array_equal(a[1], b[1])


def test_a_clip_does_not_depend_on_the_number_of_clips(tracks):
  alone = plan_clip(tracks, 5, IN_PLACE, 0)
  assert alone.describe() == plans(tracks)[5].describe()


def test_every_sequence_is_host_before_one_is_again(tracks):
  hosts = [plan.host.video.name for plan in plans(tracks)]
  assert set(hosts[:4]) == set(hosts[4:]) == set(COLOURS)


class Late(Disk):
  """A disk that is not there on the first frame: no clip can begin with it."""

  def mask(self, index):
    return super().mask(index) if index else Mask(np.zeros(SIZE, np.uint8))


def test_another_sequence_is_host_where_one_cannot_be(tracks):
  late = Track(Late('blue'))
  some = [tracks[0], late, tracks[1]]
  order = np.random.default_rng([0, 0]).permutation(3)
  wanted = [some[i] for i in order]
  turn = wanted.index(late)
  wanted[turn] = some[order[(turn + 1) % 3]]
  found = plans(some, CompositionOptions(FRAMES, objects=(2, 2), max_step=0.5), count=3)
  assert [plan.host for plan in found] == wanted


def test_number_of_objects(tracks):
  counts = {1 + len(plan.layers) for plan in plans(tracks, count=12)}
  assert counts == {2, 3, 4}
  three = CompositionOptions(frames=FRAMES, max_step=0.5, objects=(3, 3))
  assert {len(plan.layers) for plan in plans(tracks, three, count=4)} == {2}


def test_ids_lie_on_the_colours_of_their_sequence(tracks):
  """On every frame, whichever object is in front: what an id covers has that object's colour."""
  for plan in plans(tracks, count=4):
    names = [plan.host.video.name] + [layer.track.video.name for layer in plan.layers]
    for t, (image, ids) in enumerate(composition.compose(plan)):
      assert set(np.unique(ids)) <= {0, 255, *range(1, len(names) + 1)}
      for object_id, name in enumerate(names, 1):
        inside = cv2.erode((ids == object_id).astype(np.uint8), np.ones((9, 9))) > 0
        if inside.any():
          difference = np.abs(image[inside].astype(int) - COLOURS[name]).max()
          assert difference <= 12, (plan.name, t, object_id)


def test_plans_say_what_the_frames_show(tracks):
  plan = plans(tracks)[2]
  ids = np.stack([ids for _, ids in composition.compose(plan)])
  assert len(ids) == plan.num_frames == FRAMES
  whole = [plan.host.areas[:FRAMES]]
  whole += [layer.track.areas[layer.indices] * layer.scale**2 for layer in plan.layers]
  for i, area in enumerate(whole):
    shown = (ids == i + 1).sum(axis=(1, 2)) / (area * composition.SHRINK**2)
    np.testing.assert_allclose(shown, plan.visible[i], atol=0.25)  # Of a small object's few pixels.
    assert np.abs(shown - plan.visible[i]).mean() < 0.06


def test_first_frames_show_all_objects_and_each_meets_another(tracks):
  for plan in plans(tracks):
    assert plan.visible[:, 0].min() >= IN_PLACE.min_visible
    assert plan.overlap.min() >= IN_PLACE.min_overlap
    first = next(composition.compose(plan))[1]
    for object_id in range(1, len(plan.layers) + 2):
      assert np.sum(first == object_id) >= 400


def test_who_is_in_front_hides_the_other(tracks):
  """Where the masks of host and pasted object overlap, the plan's order decides."""
  seen = set()
  for plan in plans(tracks, CompositionOptions(FRAMES, (2, 2), max_step=0.5), count=6):
    layer = plan.layers[0]
    small, _ = layer.small_masks(plan.num_frames, plan.host.masks.shape[1:])
    kernel = np.ones((3, 3), np.uint8)
    for t, (_, ids) in enumerate(composition.compose(plan)):
      both = (small[t] & plan.host.masks[t]).astype(np.uint8)
      both = cv2.erode(both, kernel, borderValue=0) > 0
      if both.any():
        expected = 2 if layer.in_front[t] else 1
        half = composition.SHRINK // 2
        assert (
          np.mean(ids[half :: composition.SHRINK, half :: composition.SHRINK][both] == expected)
          > 0.9
        )
        seen.add(expected)
  assert seen == {1, 2}


def test_objects_leave_and_return(tracks):
  options = CompositionOptions(FRAMES, leave=1.0, max_step=0.5)
  for plan in plans(tracks, options, count=4):
    for layer, visible in zip(plan.layers, plan.visible[1:], strict=True):
      assert layer.leaves
      out = np.flatnonzero(visible < 0.01)
      assert len(out) >= 3 and out[0] > 0 and out[-1] < FRAMES - 1 and visible[-1] >= 0.2
  for plan in plans(tracks, CompositionOptions(FRAMES, leave=0.0, max_step=0.5), count=4):
    assert not any(layer.leaves for layer in plan.layers)


def test_every_second_clip_has_two_objects_that_look_the_same(tracks):
  kinds = set()
  for index, plan in enumerate(plans(tracks, seed=4, count=12)):
    names = [plan.host.video.name] + [layer.track.video.name for layer in plan.layers]
    assert (len(set(names)) < len(names)) == (index % 2 == 1)
    kinds.update(layer.kind for layer in plan.layers)
    for layer in plan.layers:
      assert layer.kind != 'mirror' or (layer.mirrored and layer.track is plan.host)
  assert kinds == {'other', 'mirror', 'twin'}
  for plan in plans(tracks, CompositionOptions(FRAMES, same_look=0.0, max_step=0.5)):
    assert {layer.kind for layer in plan.layers} == {'other'}


def test_donors_play_in_order_and_back_if_they_are_short():
  tracks = [Track(Disk('red', frames=40)), Track(Disk('blue', frames=10))]
  plan = plan_clip(tracks, 0, CompositionOptions(30, (2, 2), same_look=0, max_step=0.5))
  if plan.host.video.name == 'blue':
    plan = plan_clip(tracks, 1, CompositionOptions(30, (2, 2), same_look=0, max_step=0.5))
  steps = np.diff(plan.layers[0].indices)
  assert len(steps) == 29 and set(np.abs(steps)) == {1}
  assert plan.layers[0].indices.max() < 10


def test_sequences_of_several_sizes():
  """The clip has the size of its host, and what is planned of a donor is what is pasted."""
  sizes = {'red': (120, 200), 'green': (140, 260), 'blue': (130, 230)}
  tracks = [Track(Disk(name, size=size)) for name, size in sizes.items()]
  options = dataclasses.replace(IN_PLACE, objects=(2, 3))
  for plan in plans(tracks, options, count=3):
    assert plan.host.video.frame_size == sizes[plan.host.video.name]
    for t, (image, ids) in enumerate(composition.compose(plan)):
      assert image.shape[:2] == ids.shape == plan.host.video.frame_size
      for number, layer in enumerate(plan.layers, 2):
        whole = layer.small_masks(plan.num_frames, plan.host.masks.shape[1:])[1][t]
        pasted = (ids == number).sum() / composition.SHRINK**2
        assert abs(pasted - plan.visible[number - 1, t] * whole) < 0.15 * whole + 6


def test_outlines_are_soft():
  """Just outside of a pasted object, some of its own surroundings shine through."""
  tracks = [Track(Disk('red', background=200)), Track(Disk('blue', background=200))]
  options = CompositionOptions(FRAMES, (2, 2), same_look=0, max_step=0.5)
  plan = plan_clip(tracks, 0, options)
  plan.layers[0].track.video._background = 0
  image, ids = next(composition.compose(plan))
  kernel = np.ones((3, 3), np.uint8)
  at_edge = (cv2.dilate((ids == 2).astype(np.uint8), kernel) > 0) & (ids == 0)
  assert 0.1 < np.median(1 - image[at_edge].mean(axis=-1) / 200) < 0.6
  assert np.all(image[cv2.dilate((ids > 0).astype(np.uint8), np.ones((15, 15))) == 0] == 200)


def test_void_of_the_host_stays(tracks):
  ids = next(composition.compose(plans(tracks, count=1)[0]))[1]
  assert np.all(ids[:6, :6] == 255)


@pytest.mark.parametrize(
  'options, message',
  [
    ({'objects': (1, 2)}, 'objects is 1 to 2; expected 2 to 8'),
    ({'objects': (4, 3)}, 'objects is 4 to 3'),
    ({'frames': 4}, 'frames is 4; expected at least 8'),
    ({'leave': 1.5}, 'leave is 1.5; expected 0 to 1'),
  ],
)
def test_options_that_cannot_be(options, message):
  with pytest.raises(ValueError, match=message):
    CompositionOptions(**options)


def test_sequences_that_cannot_be_composed(tracks):
  with pytest.raises(ValueError, match='1 sequences given; expected at least 2'):
    plan_clip(tracks[:1], 0, CompositionOptions(FRAMES, (2, 2)))
  # A clip of four objects would have had three without a word.
  with pytest.raises(ValueError, match='3 sequences given; expected at least 4 .* up to 4 objects'):
    plan_clip(tracks[:3], 0, CompositionOptions(FRAMES))
  video = Disk('red')
  video.masked_frames = (0, 1)
  with pytest.raises(ValueError, match='red: 2 masks for 24 frames'):
    Track(video)
  with pytest.raises(ValueError, match='no mask shows an object'):
    Track(Disk('red', radius=0))
  with pytest.raises(ValueError, match='clip 0: around each of .*, .*, .* 300 arrangements'):
    plan_clip(tracks, 0, CompositionOptions(FRAMES, max_step=0.001))
