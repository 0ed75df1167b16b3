"""datumaro reads what is written for COCO, CVAT and MOTS, pixel by pixel."""

import pathlib

import cv2
import numpy as np
import pytest

datumaro = pytest.importorskip('datumaro')

NAMES = ('0007', '0008', '0009', '0010')


@pytest.mark.parametrize(
  'form, importer, frames',
  [
    ('coco', 'coco_instances', 'images'),  # It asks for the folder of frames.
    ('cvat_images', 'cvat', 'images'),
    ('mots_png', 'mots', None),
  ],
)
def test_it_reads_every_object(written, ids, form, importer, frames, tmp_path):
  folder = tmp_path / 'in'
  folder.symlink_to(written[0] / form) if frames is None else _with_frames(written, form, folder)
  dataset = datumaro.Dataset.import_from(str(folder), importer)
  labels = dataset.categories()[datumaro.AnnotationType.label]
  assert len(list(dataset)) == len(NAMES)
  for item in dataset:
    index = NAMES.index(pathlib.PurePosixPath(item.id).name)
    found = {int(a.attributes['track_id']): a for a in item.annotations if a.type.name == 'mask'}
    assert set(found) == set(np.unique(ids[index])) - {0}
    for object_id, annotation in found.items():
      np.testing.assert_array_equal(annotation.image.astype(bool), ids[index] == object_id)
      expected = 'ball' if object_id == 20 else 'dog & <co>'
      assert labels[annotation.label].name == expected


def _with_frames(written, form, folder):
  (folder / 'images').mkdir(parents=True)
  for path in (written[0] / form).iterdir():
    (folder / path.name).symlink_to(path)
  for name, frame in zip(NAMES, written[1]):
    cv2.imwrite(str(folder / 'images' / f'{name}.jpg'), frame)
