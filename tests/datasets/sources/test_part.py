"""A part of a video: what it passes on."""

import types

from feelvos_tf.datasets.sources.part import Part
from feelvos_tf.datasets.video import NumberedNames


def live_source(count):
  """A live source whose next frame has always come; frames are their numbers."""
  video = types.SimpleNamespace(
    name='camera', fps=None, frame_size=(2, 2), stored_size=None, seeks=False, live=True, at=0,
    num_frames=None, frame_names=NumberedNames(None), masked_frames=(), first_index=0,
  )  # fmt: skip

  def frames(start=0):
    for number in range(start, count):
      video.at = number + 1
      yield number

  video.frames = frames
  video.waiting = lambda: video.at if video.at < count else None
  return video


def test_the_next_frame_of_a_live_source_that_has_come():
  part = Part(live_source(4))
  assert [(frame, part.waiting()) for frame in part.frames()] == [(0, 1), (1, 2), (2, 3), (3, None)]


def test_no_frame_behind_the_last_one_is_next():
  part = Part(Part(live_source(9), 2), 1, 3)
  assert part.first_index == 3
  assert [(frame, part.waiting()) for frame in part.frames()] == [(3, 4), (4, 5), (5, None)]


def test_whether_a_frame_follows_is_not_what_a_film_claims():
  """It has four frames and claims nine."""
  film = live_source(4)
  film.live, film.num_frames, film.goes_on = False, 9, lambda: False
  parts = {
    'to the end': Part(film),
    'to the last frame': Part(film, 0, 3),
    'shorter': Part(film, 0, 2),
    'of a rest': Part(Part(film, 1), 0, 2),
    'of a rest, shorter': Part(Part(film, 1), 0, 1),
    'of a part': Part(Part(film, 0, 2), 0, 2),
  }
  goes_on = {name: part.goes_on() for name, part in parts.items()}
  assert goes_on == {
    'to the end': False, 'to the last frame': False, 'shorter': True, 'of a rest': False,
    'of a rest, shorter': True, 'of a part': True,
  }  # fmt: skip
