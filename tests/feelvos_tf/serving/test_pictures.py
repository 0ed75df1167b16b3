"""Pictures of requests: bounded before they are decoded, and those of the command line."""

import asyncio
import base64
import io
import pathlib
import types
import zlib

import cv2
import numpy as np
from PIL import Image
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import picture
from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.serving import calls
from feelvos_tf.serving import images
from feelvos_tf.serving import metrics
from feelvos_tf.serving import overlay_routes
from feelvos_tf.serving import results_route
from feelvos_tf.serving import sessions
from feelvos_tf.serving import worker_pool
from feelvos_tf.serving.options import ServingOptions
from feelvos_tf.tools.benchmarks import served_ways

from .conftest import ids_of
from .conftest import png
from .test_bad_input import error_of
from .test_bad_input import png_header
from .test_tf_serving import b64


def jpeg(frame, orientation=1, **options):
  """A JPEG of a frame, stored so that it is upright when it is turned."""
  exif = Image.Exif()
  exif[0x0112] = orientation
  back = {1: 1, 3: 3, 6: 8, 8: 6}[orientation]
  stream = io.BytesIO()
  Image.fromarray(picture.upright(frame, back)).save(
    stream, 'JPEG', quality=95, subsampling=0, exif=exif, **options
  )
  return stream.getvalue()


def many_scans(frame):
  data = jpeg(frame, progressive=True)
  return data[:-2] + data[data.rindex(b'\xff\xda') : -2] * 4000 + data[-2:]


def surplus_png(frame):
  """A PNG whose data go on after its pixels."""
  height, width = frame.shape[:2]
  rows = b''.join(b'\0' + row.tobytes() for row in frame)
  head = png_header(width, height)
  packed = zlib.compress(rows + bytes(10**6))
  chunk = len(packed).to_bytes(4, 'big') + b'IDAT' + packed
  start = head.index(b'IDAT') - 4
  return head[:start] + chunk + zlib.crc32(chunk[4:]).to_bytes(4, 'big') + head[-12:]


@pytest.fixture(params=[many_scans, surplus_png])
def bomb(request, video):
  reason = {many_scans: 'over 100 scans', surplus_png: 'unpacks to over'}[request.param]
  return request.param(video[0][0]), reason


def test_bombs_are_refused_everywhere(client, open_session, video, bomb):
  data, reason = bomb
  mask = masks.encode_mask(video[1])
  session = open_session()
  files = {'frame': data, 'mask': mask}
  inputs = {'image_bytes': [b64(png(video[0][0])), b64(data)], 'mask_bytes': b64(mask)}
  for reply in (
    client.post('/v1/sessions', data={'model': 'small'}, files=files),
    client.post(f'{session.url}/frames', content=data),
    client.post('/v1/overlay', files={'frames': data, 'masks': mask}),
    client.post('/v1/models/small:predict', json={'inputs': inputs}),
  ):
    assert reason in error_of(reply, 400)
  assert session.send(video[0][1]).status_code == 200


def test_a_mask_that_is_a_bomb(client, video):
  grey = np.zeros((33, 49), np.uint8)
  grey[3:9, 3:9] = 1
  rows = b''.join(b'\0' + row.tobytes() for row in grey)
  packed = zlib.compress(rows + bytes(10**6))
  head = png_header(49, 33, colour_type=0)
  chunk = len(packed).to_bytes(4, 'big') + b'IDAT' + packed
  bomb = head[: head.index(b'IDAT') - 4] + chunk + zlib.crc32(chunk[4:]).to_bytes(4, 'big')
  bomb += head[-12:]
  frame = png(video[0][0])
  reply = client.post('/v1/sessions', data={'model': 'small'}, files={'frame': frame, 'mask': bomb})
  assert 'unpacks to over' in error_of(reply, 400)
  inputs = {'image_bytes': [b64(frame)], 'mask_bytes': b64(bomb)}
  reply = client.post('/v1/models/small:predict', json={'inputs': inputs})
  assert 'unpacks to over' in error_of(reply, 400)


@pytest.mark.parametrize('orientation', [1, 3, 6, 8])
def test_masks_are_those_of_the_command_line(client, small_graph, video, orientation):
  """From JPEG files, turned ones among them: in a session and in `track`."""
  frames, mask = video
  files = [jpeg(frame, orientation) for frame in frames]
  segmenter = VideoSegmenter(small_graph)
  segmenter.start(picture.decode(files[0], 'x'), mask)
  expected = [segmenter.step(picture.decode(data, 'x')).mask for data in files[1:]]

  form = {'frame': files[0], 'mask': masks.encode_mask(mask)}
  reply = client.post('/v1/sessions', data={'model': 'small'}, files=form)
  url = f'/v1/sessions/{reply.json()["session_id"]}/frames'
  found = [ids_of(client.post(url, content=data).content) for data in files[1:]]
  np.testing.assert_array_equal(found, expected)

  inputs = {'image_bytes': [b64(data) for data in files], 'mask_bytes': b64(form['mask'])}
  reply = client.post('/v1/models/small:predict', json={'inputs': inputs})
  tracked = [ids_of(unb64(item)) for item in reply.json()['outputs']['masks_bytes'][1:]]
  assert np.mean(np.asarray(tracked) == expected) >= 0.9999


@pytest.mark.parametrize('way', served_ways.WAYS)
def test_every_way_gives_the_masks_of_the_command_line(server, small_graph, video, way):
  frames, mask = video
  files = [jpeg(frame) for frame in frames]
  segmenter = VideoSegmenter(small_graph)
  segmenter.start(picture.decode(files[0], 'x'), mask)
  expected = [segmenter.step(picture.decode(data, 'x')).mask for data in files[1:]]
  http = server.url.removeprefix('http://')
  found = served_ways.WAYS[way](http, server.grpc_address, files, mask, 'small')
  assert np.mean(np.array([ids_of(data) for data in found]) == expected) >= 0.9999


def test_a_mask_in_colours(client, small_graph, video):
  """Exact colours become ids as on the command line: 1, 2 from the reddest on."""
  frames, given = video
  mask = np.unique(given, return_inverse=True)[1].reshape(given.shape).astype(np.uint8)
  assert mask.max() == 2
  coloured = png(np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)[mask])
  segmenter = VideoSegmenter(small_graph)
  segmenter.start(frames[0], mask)
  expected = segmenter.step(frames[1]).mask
  form = {'frame': png(frames[0]), 'mask': coloured}
  reply = client.post('/v1/sessions', data={'model': 'small'}, files=form)
  url = f'/v1/sessions/{reply.json()["session_id"]}/frames'
  np.testing.assert_array_equal(ids_of(client.post(url, content=png(frames[1])).content), expected)
  # Blue alone would be 1 in a mask of its own.
  blue = np.where(mask == 2, 2, 0).astype(np.uint8)
  form = {
    'frame': png(frames[1]),
    'mask': png(np.array([[0] * 3] * 2 + [[0, 0, 255]], np.uint8)[blue]),
  }
  reply = client.post(url.replace('/frames', '/mask'), files=form)
  assert reply.json()['object_ids'] == [0, 1, 2]
  segmenter.correct(frames[1], blue)
  corrected = segmenter.step(frames[2]).mask
  answer = client.post(url, content=png(frames[2])).content
  np.testing.assert_array_equal(ids_of(answer), corrected)
  np.testing.assert_array_equal(
    masks.decode_mask(answer, 'answer').palette[1:3], [[255, 0, 0], [0, 0, 255]]
  )
  inputs = {'image_bytes': [b64(png(f)) for f in frames[:2]], 'mask_bytes': b64(coloured)}
  reply = client.post('/v1/models/small:predict', json={'inputs': inputs})
  tracked = ids_of(unb64(reply.json()['outputs']['masks_bytes'][1]))
  assert np.mean(tracked == expected) >= 0.9999


def unb64(item):
  return base64.b64decode(item['b64'])


def test_an_overlay_of_turned_frames(client, video, tmp_path):
  frames, mask = video
  files = [('frames', jpeg(frame, 6)) for frame in frames]
  files += [('masks', masks.encode_mask(mask))] * len(frames)
  reply = client.post('/v1/overlay', files=files)
  assert reply.status_code == 200, reply.text
  path = pathlib.Path(tmp_path) / 'overlay.mp4'
  path.write_bytes(reply.content)
  shown = cv2.VideoCapture(str(path)).read()[1][:33, :49, ::-1]
  assert np.abs(shown.astype(int) - masks.overlay(frames[0], mask, void_id=None)).mean() < 20


@pytest.fixture
def thin():
  """Ids, a frame and the mask of eight objects of two pixels side by side, and a decoder."""
  ids = np.zeros((40, 60), np.uint8)
  ids[8:30, 10:26] = np.repeat(np.arange(1, 9), 2)
  frame = cv2.imencode('.png', np.zeros((*ids.shape, 3), np.uint8))[1].tobytes()
  return ids, frame, masks.encode_mask(ids), images.ImageDecoder(2**21, 32)


def test_masks_of_thin_objects_are_drawn_and_handed_on(thin):
  """The server refused as antialiased what its sessions had answered."""
  ids, frame, mask, decoder = thin
  with pytest.raises(ValueError, match='an antialiased image given'):
    decoder.mask(mask)  # It might be one, if a person gives it.
  assert overlay_routes.draw(decoder, frame, mask)[10, 10].any()
  part = types.SimpleNamespace(filename='a.png', file=io.BytesIO(mask))
  (found,) = results_route._frames(decoder, [part], [0], calls.Call())
  np.testing.assert_array_equal(found.ids, ids)


def test_a_session_takes_back_a_mask_of_thin_objects(thin):
  ids, frame, mask, decoder = thin
  found = []
  segmenter = types.SimpleNamespace(
    remembers_masks=True,
    object_ids=tuple(range(9)),
    memory_bytes=0,
    remember=lambda image, given: found.append(given),
    correct=lambda image, given, remove, only_adds: found.append(given),
  )
  session = types.SimpleNamespace(
    segmenter=segmenter, palette=masks.DAVIS_PALETTE, open=True, describe=dict, frame_index=0
  )
  workers = worker_pool.WorkerPool(1, 1)
  store = sessions.SessionStore(ServingOptions(), None, workers, decoder, metrics.Metrics())

  async def send():
    session.lock = asyncio.Lock()
    await store.remember(session, frame, mask)
    await store.correct(session, frame, mask, only_adds=True)
    with pytest.raises(ValueError, match='an antialiased image given'):
      await store.correct(session, frame, mask)

  asyncio.run(send())
  workers.close()
  assert len(found) == 2 and all(np.array_equal(one, ids) for one in found)
