"""What tests of the page share: a clip, strokes, and what the command line makes of the same."""

import cv2
import numpy as np
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.sources import folder
from feelvos_tf.inference import given_masks
from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.runtime import result_folder
from feelvos_tf.runtime import segment_run

HEIGHT, WIDTH, COUNT = 96, 160, 6


def png(frame):
  """PNG bytes of an RGB frame."""
  return cv2.imencode('.png', frame[..., ::-1])[1].tobytes()


def ids_of(data):
  """Ids of a mask PNG."""
  return masks.decode_mask(data, 'answer', void=False).ids


@pytest.fixture(scope='session')
def frames():
  """RGB frames of a scene that moves to the left: uint8 [height, width, 3] each."""
  base = np.random.default_rng(7).integers(0, 256, (12, 24, 3), dtype=np.uint8)
  base = cv2.resize(base, (WIDTH + 4 * COUNT, HEIGHT), interpolation=cv2.INTER_CUBIC)
  return [np.ascontiguousarray(base[:, 4 * i : 4 * i + WIDTH]) for i in range(COUNT)]


@pytest.fixture(scope='session')
def frame_files(frames, tmp_path_factory):
  path = tmp_path_factory.mktemp('frames')
  for i, frame in enumerate(frames):
    (path / f'shot_{i + 8}.png').write_bytes(png(frame))  # 8, 9, 10, ...: not in text order.
  return [path / f'shot_{i + 8}.png' for i in range(COUNT)]


def stroke(ids, value, size, *places):
  """Paints a stroke into ids, by the definition in mask_editor.js."""
  y, x = np.mgrid[: ids.shape[0], : ids.shape[1]] + 0.5
  for (x0, y0), (x1, y1) in zip([places[0], *places], places):
    dx, dy = x1 - x0, y1 - y0
    along = ((x - x0) * dx + (y - y0) * dy) / max(dx * dx + dy * dy, 1e-9)
    along = np.clip(along, 0, 1)
    ids[(x - x0 - along * dx) ** 2 + (y - y0 - along * dy) ** 2 <= (size / 2) ** 2] = value
  return ids


def by_command_line(page_server, frame_files, by_frame, path, direction='forward'):
  """{index: ids} that `segment` writes of the frames with these masks and the server's model."""
  given = {i: masks.Mask(ids) for i, ids in by_frame.items()}
  given = given_masks.GivenMasks(given, (), direction)
  with (
    page_server.services.models.leased('small') as version,
    result_folder.ResultFolder(path, path.name) as output,
  ):
    video = folder.open_video(frame_files[0].parent)
    segment_run.segment(VideoSegmenter(version.model), video, given, output, pictures=False)
  written = masks.list_masks(path / 'masks').items()
  return {int(stem[5:]) - 8: masks.read_mask(path).ids for stem, path in written}


def type_into(field, text):
  """Replaces what stands in a field."""
  from selenium.webdriver.common.keys import Keys

  field.send_keys(Keys.CONTROL + 'a' + Keys.NULL, text, Keys.ENTER)


def check_masks(page, expected):
  found = {index: ids_of(data) for index, data in page.masks().items()}
  assert sorted(found) == sorted(expected)
  for index, ids in expected.items():
    np.testing.assert_array_equal(found[index], ids, err_msg=f'frame {index}')


def choose(page, selector, value):
  from selenium.webdriver.support.ui import Select

  Select(page.find(selector)).select_by_value(value)
