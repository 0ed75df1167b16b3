"""The commands of docs/masks.md, "A film from start to end", on a film made here."""

import json
import pathlib
import re
import shlex

import cv2
import numpy as np
import programs
import pytest

from feelvos_tf.datasets import masks

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEIGHT, WIDTH, COUNT = 68, 120, 10


def balls(index, image, colours):
  """Draws what is there on a frame: a disc from the first frame on, another one from frame 4 on."""
  cv2.circle(image, (24 + 2 * index, 34), 14, colours[0], -1)
  if index >= 4:
    cv2.circle(image, (100 - 2 * index, 34), 14, colours[1], -1)
  return image


@pytest.fixture(scope='module')
def truth():
  """Ids of every frame: 1 and 7."""
  return [balls(i, np.zeros((HEIGHT, WIDTH), np.uint8), (1, 7)) for i in range(COUNT)]


@pytest.fixture(scope='module')
def folder(tmp_path_factory, truth):
  """A folder with the film and the masks."""
  path = tmp_path_factory.mktemp('film')
  ground = np.random.default_rng(1).integers(0, 120, (9, 16, 3), dtype=np.uint8)
  ground = cv2.resize(ground, (WIDTH, HEIGHT))
  writer = cv2.VideoWriter(
    str(path / 'film.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), 10, (WIDTH, HEIGHT)
  )
  for i in range(COUNT):
    writer.write(balls(i, ground.copy(), ((30, 40, 250), (40, 250, 30))))
  writer.release()
  late = np.where(truth[4] == 7, 7, 0)
  for name, ids in (('first', truth[0]), ('late', late), ('right', truth[7]), ('last', truth[9])):
    masks.write_mask(path / f'{name}.png', ids.astype(np.uint8))
  return path


def run(folder, line):
  """Output of a line of the page."""
  program, *arguments = shlex.split(line)
  assert program == 'feelvos'
  process = programs.run('feelvos_tf', *arguments, cwd=folder)
  assert process.returncode == 0, process.stderr
  return process.stdout


def agreement(ids, truth, object_id):
  """J of an object."""
  one, two = ids == object_id, truth == object_id
  return (one & two).sum() / max(1, (one | two).sum())


@pytest.mark.slow
def test_the_lines_of_the_page(folder, truth):
  page = (ROOT / 'docs' / 'masks.md').read_text(encoding='utf-8')
  (block,) = re.findall(r'## A film from start to end.*?```sh\n(.*?)```', page, re.DOTALL)
  late, corrected, backward, handed_on = block.splitlines()
  read = lambda name: [
    masks.read_mask(p, void=False).ids for p in masks.list_masks(folder / name / 'masks').values()
  ]
  run(folder, late)
  first = read('result')
  assert len(first) == COUNT and not (first[3] == 7).any()
  np.testing.assert_array_equal(first[4] == 7, truth[4] == 7)
  assert min(agreement(first[i], truth[i], 1) for i in range(COUNT)) > 0.7

  assert '7 masks do not depend on what changed and stay' in run(folder, corrected)
  second = read('result')
  np.testing.assert_array_equal(second[:7], first[:7])
  np.testing.assert_array_equal(second[7], truth[7])

  run(folder, backward)
  back = read('backward')
  np.testing.assert_array_equal(back[9], truth[9])
  assert agreement(back[0], truth[0], 1) > 0.7

  run(folder, handed_on)
  result = folder / 'handed_on'
  coco = json.loads((result / 'coco' / 'annotations' / 'instances_default.json').read_text())
  assert [category['name'] for category in coco['categories']] == ['ball', 'kite']
  areas = {(a['image_id'] - 1, a['track_id']): a['area'] for a in coco['annotations']}
  assert areas[7, 7] == (truth[7] == 7).sum() and (3, 7) not in areas
  tracks = (result / 'cvat' / 'annotations.xml').read_text()
  assert tracks.count('<track ') == 2 and 'label="kite"' in tracks
  for path, ids in zip(sorted((result / 'cutouts').iterdir()), second, strict=True):
    cut = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(cut[..., 3], np.where(ids, 255, 0))
