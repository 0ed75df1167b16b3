"""Sessions that merge what both directions give, and results in other forms, over HTTP."""

import io
import json
import re
import zipfile

import cv2
import httpx
import numpy as np
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.inference import merging
from feelvos_tf.inference.segmenter import VideoSegmenter

from .conftest import ids_of
from .conftest import png
from .conftest import SIZE


def test_opinions_are_merged(client, open_session, video, server):
  """The answer is that of `merging.merge`; opinions that are none are refused."""
  frames, mask = video
  late = np.zeros(SIZE, np.uint8)
  late[5:20, 22:40], late[22:30, 4:18] = 5, 3
  files = [('frame', png(frames[2])), ('mask', masks.encode_mask(late))]
  others = [('other_frame', png(frames[0])), ('other_mask', masks.encode_mask(mask))]
  before = open_session()
  reply = client.post('/v1/sessions', data={'model': 'small'}, files=[*files, *others])
  assert reply.status_code == 201 and reply.json()['object_ids'] == [0, 3, 5, 200]
  url = f'/v1/sessions/{reply.json()["session_id"]}'
  given = {
    side: client.post(f'{one}/opinions', content=png(frames[1])).content
    for side, one in (('before', before.url), ('behind', url))
  }
  fields = {'share': '0.25', 'before_trust': '3:0.5,200:1', 'behind_trust': '3:0.25,200:0.125'}
  merged = client.post(f'{url}/merged', files=given, data=fields)
  assert merged.status_code == 200, merged.text

  with server.services.models.leased('small') as version:
    runs = [VideoSegmenter(version.model) for _ in range(2)]
    runs[0].start(frames[0], mask)
    runs[1].start(frames[2], late, [(frames[0], mask)])
    results = [merging.opinion_of(run.step(frames[1])) for run in runs]
  expected = merging.merge(SIZE, *results, 0.25, ({3: 0.5, 200: 1.0}, {3: 0.25, 200: 0.125}))
  np.testing.assert_array_equal(ids_of(merged.content), expected.mask)
  assert merged.headers['X-Object-Ids'] == ','.join(map(str, expected.object_ids))
  np.testing.assert_allclose(
    [float(v) for v in merged.headers['X-Confidence'].split(',')], expected.confidence, atol=6e-4
  )

  opinion = given['behind']
  nan = opinion[:-2] + np.float16('nan').tobytes()
  for data in (b'', b'\x02', opinion[:-1], nan, b'\0' * 6 + opinion[6:]):
    reply = client.post(f'{url}/merged', files={**given, 'behind': data}, data=fields)
    assert reply.status_code == 400 and 'behind: expected an answer of' in reply.json()['error']
  for field, text in (
    ({'share': '1'}, 'share: expected a number'),
    ({'before_trust': '3:1.5'}, 'before_trust: expected numbers between 0 and 1'),
    ({'behind_trust': '3'}, 'behind_trust: expected numbers between 0 and 1'),
  ):
    reply = client.post(f'{url}/merged', files=given, data={**fields, **field})
    assert reply.status_code == 400 and text in reply.json()['error']
  reply = client.post('/v1/sessions', data={'model': 'small'}, files=[*files, others[0]])
  assert '1 other_frame and 0 other_mask given' in reply.json()['error']


@pytest.mark.parametrize(
  ('route', 'required', 'others'),
  [
    ('merged', {'before', 'behind', 'share'}, {'before_trust', 'behind_trust'}),
    ('remember', {'frame', 'mask'}, {'frame_index'}),
  ],
)
def test_forms_are_described(client, route, required, others):
  paths = client.get('/openapi.json').json()['paths']
  body = paths[f'/v1/sessions/{{session_id}}/{route}']['post']['requestBody']
  form = body['content']['multipart/form-data']['schema']
  assert set(form['required']) == required and set(form['properties']) == required | others


@pytest.mark.parametrize('form', ['coco', 'cvat', 'yolo', 'mots'])
def test_results_in_other_forms(server, video, form):
  mask = video[1]
  files = [('masks', (f'shot_{i}.png', masks.encode_mask(mask))) for i in (8, 9)]
  send = lambda files, **fields: httpx.post(f'{server.url}/v1/results', files=files, data=fields)
  reply = send(files, format=form, name='a clip', label=['3:dog', '200:red ball'], suffix='.png')
  assert reply.status_code == 200, reply.text
  with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
    names = archive.namelist()
    text = archive.read(names[0]).decode()
  assert (
    names
    == {
      'coco': ['annotations/instances_default.json'],
      'cvat': ['annotations.xml'],
      'yolo': ['data.yaml', 'labels/shot_8.txt', 'labels/shot_9.txt'],
      'mots': ['a clip.txt'],
    }[form]
  )
  if form == 'coco':
    content = json.loads(text)
    assert [image['file_name'] for image in content['images']] == ['shot_8.png', 'shot_9.png']
    assert [c['name'] for c in content['categories']] == ['dog', 'red ball']
  elif form == 'cvat':
    assert text.count('<mask frame="1"') == 2 and 'label="red ball"' in text
  elif form == 'mots':
    assert text.splitlines()[3].startswith(f'2 2200 2 {SIZE[0]} {SIZE[1]} ')


def test_results_of_some_frames_have_their_places_in_the_video(server, video):
  files = [('masks', (f'{i}.png', masks.encode_mask(video[1]))) for i in (7, 8, 11)]
  fields = {'format': 'cvat_images', 'frame_indices': '7-8,11'}
  reply = httpx.post(f'{server.url}/v1/results', files=files, data=fields)
  with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
    text = archive.read('annotations.xml').decode()
  assert re.findall('<image id="([0-9]+)" name="([0-9.a-z]+)"', text) == [
    ('7', '7.jpg'), ('8', '8.jpg'), ('11', '11.jpg'),
  ]  # fmt: skip


def test_results_of_frames_with_several_suffixes(server, video):
  files = [('masks', (f'{i}.png', masks.encode_mask(video[1]))) for i in (7, 8, 11, 12)]
  fields = {
    'format': 'cvat_images', 'frame_indices': '7-8,11-12', 'suffix': ['.JPG', '.png:8,12', '.jpg:11'],
  }  # fmt: skip
  reply = httpx.post(f'{server.url}/v1/results', files=files, data=fields)
  with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
    text = archive.read('annotations.xml').decode()
  names = re.findall('<image id="[0-9]+" name="([0-9.a-zA-Z]+)"', text)
  assert names == ['7.JPG', '8.png', '11.jpg', '12.png']


def test_results_of_every_second_frame_of_a_long_video(server):
  """What is said of their places is longer than the 64 KiB of other fields."""
  indices = range(10**8, 10**8 + 2 * 3400, 2)
  data = cv2.imencode('.png', np.eye(8, dtype=np.uint8))[1].tobytes()
  files = [('masks', (f'{i}.png', data)) for i in range(len(indices))]
  places = ','.join(f'{i}-{i}' for i in indices)
  assert len(places) > 2**16
  fields = {'format': 'mots', 'frame_indices': places}
  reply = httpx.post(f'{server.url}/v1/results', files=files, data=fields, timeout=60)
  assert reply.status_code == 200, reply.text
  with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
    lines = archive.read(archive.namelist()[0]).decode().splitlines()
  assert [int(line.split()[0]) - 1 for line in lines] == list(indices)  # MOTS counts from 1.


@pytest.mark.parametrize('goes_on', ['0', '1'])
def test_tracks_end_if_the_video_goes_on_behind_the_last_mask(server, video, goes_on):
  files = [('masks', (f'{i}.png', masks.encode_mask(video[1]))) for i in (0, 1)]
  fields = {'format': 'cvat', 'goes_on': goes_on}
  reply = httpx.post(f'{server.url}/v1/results', files=files, data=fields)
  with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
    text = archive.read('annotations.xml').decode()
  found = re.findall('<mask frame="([0-9]+)" keyframe="1" outside="([01])"', text)
  track = [('0', '0'), ('1', '0'), *([('2', '1')] if goes_on == '1' else [])]
  assert found == 2 * track


def test_results_that_are_refused(server, video):
  data = masks.encode_mask(video[1])
  small = masks.encode_mask(video[1][:8, :8])
  for name, files, fields, text in (
    ('a.png', [data], {'format': 'prores'}, 'format: expected one of coco'),
    ('a.png', [], {'format': 'coco'}, 'masks: missing'),
    ('a.png', [data], {'format': 'coco', 'name': '../a'}, 'expected a file name without a folder'),
    ('a.png', [data], {'format': 'coco', 'label': 'dog'}, "label 'dog' given"),
    ('a{}.png', [data, small], {'format': 'yolo'}, 'expected one size'),
    ('a.png', [data, data], {'format': 'yolo'}, 'a given more than once'),
    ('a.png', [data], {'format': 'coco', 'name': '..'}, 'expected a file name without a folder'),
    ('a.png', [b'no'], {'format': 'yolo'}, 'mask'),
    # 200 characters or fewer, but more bytes than a file's name may have.
    ('牛' * 90 + '.png', [data], {'format': 'yolo'}, 'at most 200 bytes'),
    ('a.png', [data], {'format': 'mots', 'name': '牛' * 90}, 'at most 200 bytes'),
    ('a.png', [data], {'format': 'coco', 'suffix': ['.jpg', '.png']}, "'.jpg' and '.png' given"),
    ('a.png', [data], {'format': 'coco', 'suffix': ['.jpg', '../x']}, "'.jpg' and '../x' given"),
    *(
      ('a.png', [data], {'format': 'coco', 'suffix': ['.jpg', text]}, 'for some frames, .png:3')
      for text in ('.png:', '.png:1', '.png:0-999999999', '../x:0', ':0', '.png:0:0')
    ),
    *(
      ('a{}.png', [data, data], {'format': 'yolo', 'frame_indices': text}, 'expected 2 ascending')
      for text in ('3', '3-5', '4,3', '3,3', '3,', 'x', '0-999999999', '٣,٤')
    ),
  ):
    given = [('masks', (name.format(i), one)) for i, one in enumerate(files)] or {'frame': b'x'}
    reply = httpx.post(f'{server.url}/v1/results', files=given, data=fields)
    assert reply.status_code == 400 and text in reply.json()['error'], reply.text
