"""Further forms of a finished video: what its frames are called and numbered."""

import json
import types

import made_masks
import numpy as np
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.mask_files import reading
from feelvos_tf.datasets.sources import folder
from feelvos_tf.datasets.sources.part import Part
from feelvos_tf.inference import given_masks
from feelvos_tf.runtime import export_results
from feelvos_tf.runtime import result_folder
from feelvos_tf.runtime import results
from feelvos_tf.runtime import segment_run

SIZE = (34, 50)


def test_frames_count_from_the_start_of_the_whole_video(tmp_path):
  pytest.importorskip('pycocotools')
  (tmp_path / 'frames').mkdir()
  for i in range(14):
    masks.write_mask(tmp_path / 'frames' / f'{i:05d}.png', np.zeros(SIZE, np.uint8))
  part = Part(Part(folder.open_video(tmp_path / 'frames'), 4), 6)
  ids = made_masks.blocks((3, 17), SIZE)
  with result_folder.ResultFolder(tmp_path / 'out', 'run') as output:
    job = output.job('', 'masks')
    for name in part.frame_names:
      job.write(f'masks/{name}.png', masks.encode_mask(ids), frame='')
    forms = export_results.Forms(('coco', 'mots', 'cvat'))
    export_results.export(job, '', part, forms, lambda name: f'masks/{name}.png')
  found = reading.read_given_mask(
    tmp_path / 'out' / 'cvat' / 'annotations.xml', SIZE, '00012', frame_index=12
  )
  np.testing.assert_array_equal(found.mask.ids > 0, ids > 0)
  file = tmp_path / 'out' / 'coco' / 'annotations' / 'instances_default.json'
  images = json.loads(file.read_text())['images']
  assert [(image['file_name'], image['frame_id']) for image in images] == [
    ('00010.png', 10),
    ('00011.png', 11),
    ('00012.png', 12),
    ('00013.png', 13),
  ]
  lines = (tmp_path / 'out' / 'mots' / 'frames.txt').read_text().splitlines()
  assert [int(line.split()[0]) for line in lines] == [11, 11, 12, 12, 13, 13, 14, 14]


def test_masks_of_thin_objects_are_read_again(tmp_path):
  """Eight of two pixels side by side were refused as antialiased: no run came to its end."""
  (tmp_path / 'frames').mkdir()
  masks.write_mask(tmp_path / 'frames' / '00000.png', np.zeros(SIZE, np.uint8))
  video = folder.open_video(tmp_path / 'frames')
  ids = np.zeros(SIZE, np.uint8)
  ids[8:25, 10:26] = np.repeat(np.arange(1, 9), 2)
  with result_folder.ResultFolder(tmp_path / 'out', 'run') as output:
    job = output.job('', 'masks')
    job.write('masks/00000.png', masks.encode_mask(ids), frame='')
    given = given_masks.of(masks.Mask(ids))
    found = results.Results(job, '', given, video, pictures=False).read_mask('00000')
    np.testing.assert_array_equal(found, ids)
    forms = export_results.Forms(('objects',))
    export_results.export(job, '', video, forms, lambda name: f'masks/{name}.png')
  assert len(list((tmp_path / 'out' / 'objects').rglob('*.png'))) == 8


@pytest.mark.parametrize(
  'place, message',
  [
    ('cvat/annotations.xml', 'cvat/annotations.xml: a file that no earlier run wrote as it is'),
    ('objects/8/00000.png', 'objects/8/00000.png: a file that no earlier run wrote as it is'),
    ('objects', 'out/objects: a file is where a folder has to be'),
  ],
)
def test_a_file_in_the_place_of_a_form_is_refused_before_the_first_frame(tmp_path, place, message):
  (tmp_path / 'frames').mkdir()
  masks.write_mask(tmp_path / 'frames' / '00000.png', np.zeros(SIZE, np.uint8))
  mine = tmp_path / 'out' / place
  mine.parent.mkdir(parents=True)
  mine.write_bytes(b'mine')
  given = given_masks.of(masks.Mask(made_masks.blocks((3, 8), SIZE)))
  forms = export_results.Forms(('cvat', 'objects'))
  options = types.SimpleNamespace(shows_once=True)  # All that is asked before a frame is shown.
  segmenter = types.SimpleNamespace(options=options)
  video = folder.open_video(tmp_path / 'frames')
  with (
    result_folder.ResultFolder(tmp_path / 'out', 'run', overwrite=True) as output,
    pytest.raises(ValueError, match=message),
  ):
    segment_run.segment(segmenter, video, given, output, forms=forms)
  assert mine.read_bytes() == b'mine'
