"""Everything that reads files or bytes of others, as functions of bytes, with inputs to begin at.

`READERS` is tried with damaged inputs by `tests/faults/test_hostile_files.py` and, guided by
coverage, by `tests/faults/fuzz_readers.py`.
"""

import functools
import io
import json
import os
import pathlib
import tempfile
import warnings

import h5py
import numpy as np
from PIL import Image

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import names
from feelvos_tf.datasets import picture
from feelvos_tf.datasets.mask_files import drawn
from feelvos_tf.datasets.mask_files import reading
from feelvos_tf.datasets.sources import youtube_vos
from feelvos_tf.datasets.sources.folder import open_video
from feelvos_tf.datasets.tfrecord import shards
from feelvos_tf.deeplab import weights_file

SIZE = (12, 16)
COCO = {
  'images': [{'id': 1, 'file_name': '0.png', 'height': SIZE[0], 'width': SIZE[1]}],
  'annotations': [
    {'id': 1, 'image_id': 1, 'category_id': 1, 'segmentation': [[1, 1, 9, 1, 9, 9, 1, 9]]},
    {
      'id': 2,
      'image_id': 1,
      'category_id': 1,
      'segmentation': {'size': list(SIZE), 'counts': [30, 20, 142]},
    },
  ],
  'categories': [{'id': 1, 'name': 'x'}],
}
LABELME = {
  'shapes': [{'label': 'a', 'points': [[2, 2], [9, 2], [9, 9]], 'shape_type': 'polygon'}],
  'imageHeight': SIZE[0],
  'imageWidth': SIZE[1],
  'imagePath': '0.png',
}
CVAT = b"""<annotations><version>1.1</version><image id="0" name="0.png" width="16" height="12">
<polygon label="a" points="1.0,1.0;9.0,1.0;9.0,9.0"/>
<mask label="b" rle="3, 4, 5" left="2" top="2" width="4" height="3"/></image></annotations>"""
CVAT_TRACKS = b"""<annotations><meta><task><original_size><width>16</width><height>12</height>
</original_size></task></meta><track id="0" label="a"><box frame="0" outside="0" xtl="1" ytl="1"
xbr="9" ybr="9"/></track></annotations>"""
ENTITIES = b"""<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;&x;&x;&x;&x;&x;&x;&x;">
<!ENTITY z SYSTEM "file:///etc/passwd">]><annotations><image name="0.png" width="16" height="12">
<polygon label="&y;&z;" points="1.0,1.0;9.0,1.0;9.0,9.0"/></image></annotations>"""
YOLO = b'0 .1 .1 .6 .1 .6 .6\n1 .5 .5 .2 .2\n'
META = {
  'videos': {
    'a': {
      'objects': {
        '1': {'category': 'cat', 'frames': ['00000', '00005']},
        '2': {'category': 'dog', 'frames': ['00005']},
      }
    }
  }
}


def mask_png():
  ids = np.zeros(SIZE, np.uint8)
  ids[2:8, 3:12] = 1
  return masks.encode_mask(ids)


def picture_file(kind, **options):
  stream = io.BytesIO()
  Image.fromarray(np.full((*SIZE, 3), 90, np.uint8)).save(stream, kind, **options)
  return stream.getvalue()


def pictures():
  return [
    picture_file('JPEG'),
    picture_file('JPEG', progressive=True),
    picture_file('PNG'),
    picture_file('WEBP', lossless=True),
    picture_file('BMP'),
    picture_file('TIFF'),
    picture_file('GIF'),
  ]


@functools.cache
def folder():
  """A temporary folder that goes with the process."""
  held = tempfile.TemporaryDirectory(prefix='hostile')
  folder.held = held
  return pathlib.Path(held.name)


def file_of(name, data):
  path = folder() / name
  path.write_bytes(data)
  return path


def refused(call, *arguments, also=()):
  """The result of `call`, or None if it is refused, which says one line with a reason."""
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      return call(*arguments)
  except also:
    return None
  except (ValueError, FileNotFoundError) as error:
    text = names.one_line(error)
    assert str(error) and ' at 0x' not in text, error
    return None


def pixels_of(data):
  """Pixels that a picture says it has, if no more than are allowed; 0 for what is none."""
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      width, height = Image.open(io.BytesIO(data)).size
  except Exception:
    return 0
  return width * height if width * height <= masks.MAX_PIXELS else 0


def read_mask(data):
  mask = refused(masks.decode_mask, data, 'm.png')
  assert mask is None or (mask.ids.dtype == np.uint8 and mask.ids.ndim == 2)


def read_frame(data):
  image = refused(picture.decode, data, 'frame')
  assert image is None or (image.dtype == np.uint8 and image.shape[2] == 3)


def read_given(suffix):
  def read(data):
    path = file_of(f'given{suffix}', data)
    given = refused(reading.read_given_mask, [path], SIZE, '0')
    assert given is None or given.mask.ids.shape == SIZE
    assert given is None or not any('root:' in name for name in given.names.values())

  return read


def read_drawing(data):
  kind, _, text = data.decode('utf-8', 'replace').partition('=')
  drawing = refused(drawn.parse, kind if kind in drawn.KINDS else 'box', text)
  if drawing is not None:
    refused(drawn.hints_of, [drawing], SIZE)


def read_meta(data):
  refused(youtube_vos.read_meta, file_of('meta.json', data))


def read_manifest(data):
  file_of('manifest.json', data)
  refused(shards.list_shards, folder())


def read_model_json(data):
  from feelvos_tf.saved_model import version_folder

  file_of('model.json', data)
  assert isinstance(version_folder.read_description(folder()), dict)


def read_weights(data):
  os.environ.setdefault('FEELVOS_WEIGHTS_SECONDS', '1')  # Of files on which HDF5 does not end.
  path = file_of('weights.h5', data)
  refused(weights_file.read, path)


def read_film(data):
  video = refused(open_video, file_of('film.mp4', data))
  if video is not None:
    refused(lambda: [frame.shape for _, frame in zip(range(4), video.frames())])


def read_records(data):
  from feelvos_tf.datasets.tfrecord.clips import record_clips

  for clip in refused(record_clips, [file_of('a.tfrecord', data)]) or ():
    refused(clip.image, 0)
    refused(clip.labels, 0)


@functools.cache
def state_function():
  import tensorflow as tf

  from feelvos_tf.model.options import FeelvosOptions
  from feelvos_tf.saved_model import state_bytes

  options = FeelvosOptions(embedding_dimension=2)
  return tf.function(
    lambda data: state_bytes.unpack(data, b'12345678', options),
    input_signature=[tf.TensorSpec([], tf.string)],
  )


def read_state(data):
  """The bytes as they are, and with a checksum that fits, which damage would not have."""
  import tensorflow as tf

  checksum = tf.raw_ops.Fingerprint(data=[data], method='farmhash64')[0].numpy().tobytes()
  for value in (data, data + checksum):
    refused(state_function(), tf.constant(value), also=tf.errors.InvalidArgumentError)


@functools.cache
def graph_functions():
  import tensorflow as tf

  from feelvos_tf.saved_model import png_in_graph

  signature = [tf.TensorSpec([], tf.string)]
  return [
    tf.function(lambda data: png_in_graph.decode_frame(data, 4096), input_signature=signature),
    tf.function(lambda data: png_in_graph.decode_mask(data, 4096).ids, input_signature=signature),
  ]


def read_in_graph(data):
  import tensorflow as tf

  for function in graph_functions():
    refused(function, tf.constant(data), also=tf.errors.InvalidArgumentError)


def read_request(data):
  """The body of a request to predict, for inputs of several types."""
  import tensorflow as tf
  from tensorflow.core.protobuf import meta_graph_pb2

  from feelvos_tf.serving import errors
  from feelvos_tf.serving import tensor_json

  def info(name, dtype, *shape):
    dims = tf.TensorShape(shape).as_proto()
    return meta_graph_pb2.TensorInfo(
      name=name, dtype=tf.as_dtype(dtype).as_datatype_enum, tensor_shape=dims
    )

  infos = {'x': info('x', tf.float32, None, 2), 'image_bytes': info('i', tf.string, None)}

  def read():
    document = tensor_json.parse(data)
    tensor_json.inputs_of(document, infos, lambda shape, size: None)
    tensor_json.single_requests(document, infos)

  refused(read, also=errors.RequestError)


def state_seeds():
  """A state without its checksum, which `read_state` adds."""
  import tensorflow as tf

  from feelvos_tf.inference.contract import References
  from feelvos_tf.model.feelvos import PreviousFrame
  from feelvos_tf.model.options import FeelvosOptions
  from feelvos_tf.saved_model import png_in_graph
  from feelvos_tf.saved_model import state_bytes

  labels, embeddings = tf.zeros([1, 3, 4], tf.int32), tf.zeros([1, 3, 4, 2])
  state = state_bytes.VideoState(
    tf.constant(SIZE),
    tf.constant([0, 7], tf.uint8),
    tf.constant(png_in_graph.DAVIS_PALETTE_CHUNK),
    References(embeddings, labels),
    PreviousFrame(embeddings[0], labels[0], tf.ones([2, 3, 4])),
  )
  options = FeelvosOptions(embedding_dimension=2)
  return [tf.function(lambda: state_bytes.pack(state, b'12345678', options))().numpy()[:-8]]


def weights_seeds():
  path = folder() / 'seed.h5'
  weights_file.save_arrays(path, {'a/weights': np.arange(12.0)}, {'options': {'x': 1}})
  with h5py.File(folder() / 'plain.h5', 'w') as file:
    file.attrs['format'] = weights_file.FORMAT
    file.attrs['metadata'] = '{"options": {}}'
    file['b'] = np.arange(3, dtype=np.float32)
  return [path.read_bytes(), (folder() / 'plain.h5').read_bytes()]


def film_seeds():
  from feelvos_tf.datasets import writers

  found = []
  for codec in ('mpeg4', 'h264'):
    path = folder() / f'{codec}.mp4'
    with writers.OverlayVideoWriter(path, codec=codec) as film:
      for level in range(4):
        film.write_picture(np.full((*SIZE, 3), 50 * level, np.uint8))
    found.append(path.read_bytes())
  return found


def record_seeds():
  import tensorflow as tf

  from feelvos_tf.datasets.tfrecord import keys

  example = tf.train.SequenceExample()
  example.context.feature[keys.VIDEO_ID].bytes_list.value.append(b'video')
  for key, value in ((keys.IMAGES, picture_file('JPEG')), (keys.MASKS, mask_png())):
    example.feature_lists.feature_list[key].feature.add().bytes_list.value.append(value)
  path = folder() / 'seed.tfrecord'
  with tf.io.TFRecordWriter(str(path)) as writer:
    writer.write(example.SerializeToString())
  return [path.read_bytes()]


MANIFEST = b"""{"format": 1, "splits": {"train": {"fingerprint": "0", "videos": [{"name": "a"}], "shards":
[{"name": "train-00000-of-00001.tfrecord", "bytes": 9, "sha256": "0", "videos": 1, "frames": 2}]}}}"""
MODEL_JSON = b'{"name": "m", "options": {"previous_prediction": "labels"}, "speed": "fast"}'
REQUESTS = (
  b'{"instances": [{"x": [1, 2.5], "image_bytes": {"b64": "aGk="}}]}',
  b'{"inputs": {"x": [[1, 2], [3, 4]], "image_bytes": [{"b64": ""}]}, "signature_name": "a"}',
)
# Of these, one in ten of the inputs of others is tried: each starts a process.
SLOW = frozenset({'weights (HDF5)'})
# What is read -> (function of bytes, function that returns inputs to begin at).
READERS = {
  'masks of data sets': (read_mask, lambda: [mask_png(), picture_file('PNG')]),
  'pictures': (read_frame, pictures),
  'COCO, labelme': (read_given('.json'), lambda: [json.dumps(v).encode() for v in (COCO, LABELME)]),
  'CVAT': (read_given('.xml'), lambda: [CVAT, CVAT_TRACKS, ENTITIES]),
  'YOLO': (read_given('.txt'), lambda: [YOLO]),
  'masks of users': (read_given('.png'), lambda: [mask_png(), *pictures()]),
  'boxes, points, polygons': (
    read_drawing,
    lambda: [b'box=1,2,3,4', b'points=+1,2;-3,4', b'a@3=1'],
  ),
  'meta.json': (read_meta, lambda: [json.dumps(META).encode()]),
  'manifest.json': (read_manifest, lambda: [MANIFEST]),
  'model.json': (read_model_json, lambda: [MODEL_JSON]),
  'weights (HDF5)': (read_weights, weights_seeds),
  'films': (read_film, film_seeds),
  'TFRecords': (read_records, record_seeds),
  'state bytes': (read_state, state_seeds),
  'pictures in graphs': (read_in_graph, lambda: [mask_png(), *pictures()]),
  'bodies of requests': (read_request, lambda: list(REQUESTS)),
}
