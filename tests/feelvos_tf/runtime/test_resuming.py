"""Where a run in one direction goes on, by what masks and saved states say."""

import types

import numpy as np
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.inference import given_masks
from feelvos_tf.runtime import result_folder
from feelvos_tf.runtime import results
from feelvos_tf.runtime import resuming


def _given(by_frame, direction='forward'):
  return given_masks.GivenMasks(
    {i: masks.Mask(np.uint8([[0, *ids]])) for i, ids in by_frame.items()}, (), direction
  )


def _goes_on_after(known, given, last=None, begin=None, state=None):
  """Frames that need not be segmented, of a model that remembers what two objects cover."""
  segmenter = types.SimpleNamespace(
    is_told_by_masks=lambda num_ids, goes_on=True: num_ids < 2 or not goes_on
  )
  counts = {result_folder.BEGIN: begin, result_folder.STATE: state}
  states = {file: (count, [np.zeros(1)]) for file, count in counts.items() if count is not None}
  job = types.SimpleNamespace(load_state=lambda file=result_folder.STATE: states.get(file))
  order = (lambda position: position) if last is None else lambda position: last - position
  return resuming.after_known(segmenter, job, [('', '')] * known, given, order, None)[0]


@pytest.mark.parametrize(
  'by_frame, known, expected',
  [
    ({0: (1,)}, 5, 5),
    ({0: (1, 2)}, 5, 1),
    ({0: (1, 2), 5: (1, 2)}, 5, 5),  # What is predicted there is compared with a mask, no more.
    ({0: (1, 2), 5: (3,)}, 5, 1),  # It is the mask of 1 and 2, which may cover each other.
    ({0: (1, 2), 3: (3,), 5: (1,)}, 5, 1),
    ({0: (1,), 5: (3,)}, 5, 5),
    ({0: (1,), 5: (3,)}, 4, 4),  # Nothing hides behind one object, whatever comes later.
    ({0: (1,), 5: (3,)}, 8, 6),
  ],
)
@pytest.mark.parametrize('direction', ['forward', 'backward'])
def test_which_masks_hold_all_that_the_model_remembered(by_frame, known, expected, direction):
  last = None if direction == 'forward' else 9
  frames = {i if last is None else last - i: ids for i, ids in by_frame.items()}
  assert _goes_on_after(known, _given(frames, direction), last) == expected


@pytest.mark.parametrize('late, expected', [((1, 2), 4), ((3,), 1), ((1, 2, 3), 4)])
def test_a_kill_between_the_two_states_of_a_given_frame(late, expected):
  """What a mask that adds objects leaves to the model is in the second one."""
  given = _given({0: (1, 2), 3: late})
  assert _goes_on_after(6, given, begin=4) == expected


@pytest.mark.parametrize(
  'begin, state, expected',
  [
    (4, 6, 6),
    (None, 3, 3),
    (None, 6, 1),  # What frame 3 left to the model is nowhere: it had all been taken for frame 0's.
    (4, 8, 1),
  ],
)
@pytest.mark.parametrize('direction', ['forward', 'backward'])
def test_a_state_of_a_given_frame_for_which_the_disk_had_no_room(begin, state, expected, direction):
  last = None if direction == 'forward' else 9
  by_frame = {0: (1, 2), 3: (3,), 6: (4,)}
  frames = {i if last is None else last - i: ids for i, ids in by_frame.items()}
  found = _goes_on_after(9, _given(frames, direction), last, begin, state)
  assert found == expected


class _Folder:
  """Frames of a folder; `names` are numbers, which are also what is seen."""

  seeks, name = True, 'video'

  def __init__(self, names):
    self.frame_names = [f'frame{i}' for i in names]
    self.images = [np.full((1, 1, 3), i, np.uint8) for i in names]

  def frames(self):
    return iter(self.images)


@pytest.mark.parametrize(
  'names, ranges, stay',
  [
    (range(12), [(0, 8)], range(9)),
    ([0, 1, 2, *range(4, 12)], [(0, 8)], range(3)),  # Frame 3 was deleted.
    ([0, 1, 2, *range(4, 12)], [(0, 1)], range(2)),
    (range(6), [(0, 5)], range(6)),  # The end is another one.
  ],
)
def test_masks_behind_a_frame_that_is_gone_do_not_stay(names, ranges, stay):
  """They were taken for those of a run without it: frame 4 had been segmented by frame 3."""
  whole, kept = _Folder(range(12)), []
  known = {
    results.mask_name('', frame): results.frame_digest(image)
    for frame, image in zip(whole.frame_names, whole.images)
  }
  job = types.SimpleNamespace(
    kept_ranges=ranges, frames=lambda: list(known.items()), keep=kept.extend
  )
  assert resuming.keep_unchanged(_Folder(names), job, '')
  assert kept == [results.mask_name('', f'frame{i}') for i in stay]


def test_what_a_run_in_both_directions_still_knows():
  """It looks for masks by name; one in a single direction notices by their order."""
  known = {results.mask_name('a', f'frame{i}'): '' for i in (4, 3, 2, 1, 0, 5, 6, 10)}
  expected = {results.mask_name('a', f'frame{i}'): '' for i in (4, 3, 2, 1, 0, 5)}
  assert resuming.still_known(_Folder([*range(5), 6, 10]), known, 'a') == expected
  assert resuming.still_known(_Folder(range(11)), known, 'a') == known
