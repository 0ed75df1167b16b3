"""A video as a TFRecord: the schema, its encoding, and decoding for `tf.data`.

A record is a SequenceExample with the keys of the original (`datasets/build_davis2017_data.py`):
whole image files and one grey PNG of object ids per frame, so that the original's readers read
ours and ours read the original's. What the original has no place for is added:

  - a frame without a mask has an empty string as its mask;
  - `segmentation/object/ids` and `segmentation/object/first_frames`: every object and the frame
    that introduces it;
  - `segmentation/object/palette`: the 768 bytes of the palette that the masks had;
  - `clip/frame_names`: the names of the frames, which benchmarks want back.

Records lie in shards, see `feelvos_tf.datasets.tfrecord.shards`.
"""

import os
from typing import Any, TYPE_CHECKING

import cv2
import tensorflow as tf

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import object_ids
from feelvos_tf.datasets import picture
from feelvos_tf.datasets.tfrecord import keys
from feelvos_tf.datasets.video import Video

if TYPE_CHECKING:
  import numpy as np


JPEG_QUALITY = 95  # Of frames that are not stored as they came.

_MAX_RECORD_BYTES = 2**31 - 1  # What a protocol buffer can hold.


def encode_video(
  video: Video,
  required_masks: str = 'every',
  allow_void: bool = False,
  jpeg_quality: int = JPEG_QUALITY,
) -> tuple[bytes, dict]:
  """Reads a whole video, checks it, and encodes it as one record.

  JPEG and 8-bit PNG files go in as they are; other frames are encoded as JPEG.

  Args:
    video: a Video with masks.
    required_masks: 'every' frame, the 'first' or 'some' must have one.
    allow_void: accept pixels of the void id 255.
    jpeg_quality: 1..100, of frames that have to be encoded.

  Returns:
    (bytes of the SequenceExample, summary for the manifest: name, frames, masks, objects, height,
    width).

  Raises:
    ValueError, FileNotFoundError: the video is bad; the message names the video or its file.
  """
  images, image_format = _encode_images(video, jpeg_quality)
  encoded_masks, first_frames, palette = _encode_masks(
    video, len(images), required_masks, allow_void
  )
  height, width = video.frame_size
  example = tf.train.SequenceExample()
  _fill_context(example.context.feature, video, len(images), image_format, first_frames, palette)
  for key, values in ((keys.IMAGES, images), (keys.MASKS, encoded_masks)):
    features = example.feature_lists.feature_list[key]
    for value in values:
      features.feature.add().bytes_list.value.append(value)
  if example.ByteSize() > _MAX_RECORD_BYTES:
    raise ValueError(
      f'{video.name}: a video of {example.ByteSize()} bytes given, expected at most '
      f'{_MAX_RECORD_BYTES}; cut it into parts'
    )
  # Map fields have no order of their own: the same video must give the same bytes.
  return example.SerializeToString(deterministic=True), {
    'name': video.name,
    'frames': len(images),
    'masks': sum(map(bool, encoded_masks)),
    'objects': sorted(first_frames),
    'height': height,
    'width': width,
  }


def _fill_context(
  context: Any,
  video: Video,
  num_frames: int,
  image_format: str,
  first_frames: dict[int, int],
  palette: 'np.ndarray | None',
) -> None:
  """Writes what holds for the whole video into the map `context`."""
  height, width = video.frame_size
  context[keys.VIDEO_ID].bytes_list.value.append(os.fsencode(video.name))
  context[keys.NUM_FRAMES].int64_list.value.append(num_frames)
  context[keys.IMAGE_FORMAT].bytes_list.value.append(image_format.encode())
  context[keys.IMAGE_CHANNELS].int64_list.value.append(3)
  context[keys.MASK_FORMAT].bytes_list.value.append(b'PNG')
  for key in (keys.IMAGE_HEIGHT, keys.MASK_HEIGHT):
    context[key].int64_list.value.append(height)
  for key in (keys.IMAGE_WIDTH, keys.MASK_WIDTH):
    context[key].int64_list.value.append(width)
  names = [os.fsencode(str(video.frame_names[i])) for i in range(num_frames)]
  context[keys.FRAME_NAMES].bytes_list.value.extend(names)
  context[keys.OBJECT_IDS].int64_list.value.extend(sorted(first_frames))
  context[keys.FIRST_FRAMES].int64_list.value.extend(first_frames[i] for i in sorted(first_frames))
  if palette is not None:
    context[keys.PALETTE].bytes_list.value.append(palette.tobytes())


def _encode_images(video: Video, jpeg_quality: int) -> tuple[list[bytes], str]:
  """(list of encoded frames, 'JPEG' or 'PNG'); every frame is decoded once to check it."""
  images, formats = [], set()
  for index, frame in enumerate(video.frames()):
    if frame.shape[:2] != tuple(video.frame_size):
      raise ValueError(
        f'{video.name}: frame {index} of {frame.shape[0]}x{frame.shape[1]} given, '
        f'expected {video.frame_size[0]}x{video.frame_size[1]} like the first'
      )
    data, kind = video.encoded_frame(index) or (_encode_jpeg(frame, jpeg_quality), 'JPEG')
    images.append(data)
    formats.add(kind)
  if not images:
    raise ValueError(f'{video.name}: a video of 0 frames given, expected at least one')
  if len(formats) == 1:
    return images, formats.pop()
  # One format per video: a mixture is made JPEG throughout.
  return [_as_jpeg(data, jpeg_quality) for data in images], 'JPEG'


def _as_jpeg(data: bytes, quality: int) -> bytes:
  if data[:2] == b'\xff\xd8':
    return data
  return _encode_jpeg(picture.decode(data, 'frame', trusted=True), quality)


def _encode_jpeg(frame: 'np.ndarray', quality: int) -> bytes:
  bgr = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
  return cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _encode_masks(
  video: Video, num_frames: int, required_masks: str, allow_void: bool
) -> 'tuple[list[bytes], dict[int, int], np.ndarray | None]':
  """(list of PNG bytes, empty where there is no mask; {id: first frame}; palette or None)."""
  _check_required(video, num_frames, required_masks)
  encoded, palette = [b''] * num_frames, None
  first_frames: dict[int, int] = {}
  for index in video.masked_frames:
    mask = video.needed_mask(index)
    if not allow_void and (mask.ids == masks.VOID_ID).any():
      raise ValueError(
        f'{video.name}: the mask of frame {video.frame_names[index]} holds id 255, '
        f'expected {object_ids.DATA_SET_IDS}: set allow_void, or give the object another id'
      )
    for object_id in mask.object_ids:
      first_frames.setdefault(object_id, index)
    palette = mask.palette if palette is None else palette
    # Grey, as the original's readers expect: TensorFlow's decoder turns a palette into colours.
    encoded[index] = cv2.imencode('.png', mask.ids)[1].tobytes()
  if not first_frames:
    raise ValueError(
      f'{video.name}: {len(video.masked_frames)} masks without any object given, '
      'expected at least one object'
    )
  given = video.object_first_frames or {}
  return encoded, {i: given.get(i, first) for i, first in first_frames.items()}, palette


def _check_required(video: Video, num_frames: int, required_masks: str) -> None:
  present = set(video.masked_frames)
  expected = {'every': range(num_frames), 'first': [0], 'some': []}.get(required_masks)
  if expected is None:
    raise ValueError(f'required_masks: {required_masks!r} given, expected every, first or some')
  missing = [i for i in expected if i not in present]
  if missing:
    remedy = (
      ': set sparse_masks (data set folder), or add them' if required_masks == 'every' else ''
    )
    raise ValueError(
      f'{video.name}: no mask for frame {video.frame_names[missing[0]]} '
      f'({len(missing)} missing), expected one for {required_masks} frame{remedy}'
    )
  if not present:
    raise ValueError(f'{video.name}: a video without masks given, expected at least one')


def parse_video(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
  """Parses a record without decoding an image; for `tf.data`.

  Args:
    serialized: scalar string, a record of ours or of the original.

  Returns:
    Dict: `video_id` string; `num_frames`, `height`, `width` int32; `images` and `masks` string
    [frames], encoded, a mask being empty where there is none; `object_ids` and `first_frames`
    int32 [objects], `frame_names` string [frames] (empty in records of the original); `palette`
    uint8 [256, 3] or [0, 3].
  """
  scalar = tf.io.FixedLenFeature([], tf.int64)
  numbers = tf.io.VarLenFeature(tf.int64)
  strings = tf.io.FixedLenSequenceFeature([], tf.string)
  context, lists = tf.io.parse_single_sequence_example(
    serialized,
    context_features={
      keys.VIDEO_ID: tf.io.FixedLenFeature([], tf.string),
      keys.NUM_FRAMES: scalar,
      keys.IMAGE_HEIGHT: scalar,
      keys.IMAGE_WIDTH: scalar,
      keys.OBJECT_IDS: numbers,
      keys.FIRST_FRAMES: numbers,
      keys.FRAME_NAMES: tf.io.VarLenFeature(tf.string),
      keys.PALETTE: tf.io.FixedLenFeature([], tf.string, b''),
    },
    sequence_features={keys.IMAGES: strings, keys.MASKS: strings},
  )
  return {
    'video_id': context[keys.VIDEO_ID],
    'num_frames': tf.cast(context[keys.NUM_FRAMES], tf.int32),
    'height': tf.cast(context[keys.IMAGE_HEIGHT], tf.int32),
    'width': tf.cast(context[keys.IMAGE_WIDTH], tf.int32),
    'images': lists[keys.IMAGES],
    'masks': lists[keys.MASKS],
    'object_ids': tf.cast(context[keys.OBJECT_IDS].values, tf.int32),
    'first_frames': tf.cast(context[keys.FIRST_FRAMES].values, tf.int32),
    'frame_names': context[keys.FRAME_NAMES].values,
    'palette': tf.reshape(tf.io.decode_raw(context[keys.PALETTE], tf.uint8), [-1, 3]),
  }


def decode_frames(video: dict[str, tf.Tensor], indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
  """Decodes chosen frames of `parse_video`, and no others.

  Args:
    video: dict of tensors that `parse_video` returns.
    indices: int32 [k], frames of the video.

  Returns:
    images uint8 [k, height, width, 3] RGB and labels int32 [k, height, width] object ids; a frame
    without a mask is void (255) throughout.
  """
  indices = tf.convert_to_tensor(indices, tf.int32)
  shape = tf.stack([video['height'], video['width']])
  images = tf.map_fn(
    _decode_image,
    tf.gather(video['images'], indices),
    fn_output_signature=tf.TensorSpec([None, None, 3], tf.uint8),
  )
  labels = tf.map_fn(
    lambda data: _decode_label(data, shape),
    tf.gather(video['masks'], indices),
    fn_output_signature=tf.TensorSpec([None, None], tf.int32),
  )
  return images, labels


def _decode_image(data: tf.Tensor) -> tf.Tensor:
  # JPEG or PNG; the same decoder and transform as the original's.
  return tf.io.decode_image(data, channels=3, expand_animations=False)


def _decode_label(data: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
  return tf.cond(
    tf.equal(tf.strings.length(data), 0),
    lambda: tf.fill(shape, masks.VOID_ID),
    lambda: tf.cast(tf.io.decode_png(data, channels=1)[..., 0], tf.int32),
  )
