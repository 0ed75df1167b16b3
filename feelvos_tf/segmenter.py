"""VideoSegmenter: frames in, masks out, one at a time, with a state of fixed size."""

import functools
from typing import Optional, Tuple

import cv2
import numpy as np

from feelvos_tf import inference
from feelvos_tf import views
from feelvos_tf.segmenter_options import SegmenterOptions


class SegmentedFrame:
  """One segmented frame.

  Attributes:
    mask: uint8 [height, width], the user's object ids.
    object_ids: ids of the channels of `probabilities`; the first is the background, 0.
    global_distance: float32 [objects, h4, w4] or None.
    local_distance: float32 [objects, h4, w4] or None.
  """

  def __init__(self, mask, object_ids, logits=None, global_distance=None, local_distance=None):
    self.mask = mask
    self.object_ids = object_ids
    self._logits = logits
    self.global_distance = global_distance
    self.local_distance = local_distance

  @functools.cached_property
  def probabilities(self):
    """float32 [objects, height, width], softmax over objects; computed on first use."""
    if self._logits is None:
      ids = np.asarray(self.object_ids, np.uint8)[:, np.newaxis, np.newaxis]
      return (self.mask[np.newaxis] == ids).astype(np.float32)
    return inference.to_full_probabilities(self._logits, self.mask.shape)

  @property
  def stride4_logits(self):
    """float32 [objects, h4, w4] before the softmax; None on the reference frame."""
    return None if self._logits is None else np.asarray(self._logits)


class VideoSegmenter:
  """Segments a video frame by frame, given the masks of its objects on one frame.

  Object ids: the mask of `start` decides which objects there are. Its ids may be any uint8
  values with gaps; id 0 is background, always has a channel and always is the first. Every id
  keeps its channel for the whole video, whether or not the object is visible, and every mask
  that comes out holds those ids and no others.

  Memory: the state is the reference embeddings and the previous frame's, whatever the number of
  frames.

  >>> segmenter = VideoSegmenter(load_model('pretrained/mobilenet_v2.h5'))
  >>> segmenter.start(frames[0], mask)
  >>> masks = [segmenter.step(frame).mask for frame in frames[1:]]
  """

  def __init__(self, model, max_internal_size: Optional[int] = None, image_pyramid=(1.0,),
               merge_method='max', flip=False):
    """Prepares a segmenter; takes seconds, once per model.

    Args:
      model: `Feelvos`, or something with `begin` and `advance` of `inference.InferenceGraph` to
        share between segmenters.
      max_internal_size: longer side in pixels at which frames are segmented; larger frames
        are scaled down and masks come out at full size. None segments at full size.
      image_pyramid: scales at which every frame is segmented.
      merge_method: 'max' or 'avg', how the logits of the scales are merged.
      flip: bool, also segment every frame mirrored. See `views` for all three.

    Raises:
      ValueError: `SegmenterOptions` refuses a value.
    """
    options = SegmenterOptions(max_internal_size, image_pyramid, merge_method, flip)
    self._graph = model if hasattr(model, 'advance') else inference.InferenceGraph(model)
    self._shown_to = self._graph
    if options.flip or options.image_pyramid != (1.0,):
      self._shown_to = views.Views(self._graph, options.image_pyramid, merge_method, flip)
    self._max_internal_size = max_internal_size
    self._state = None
    self._size = None
    self._object_ids = None

  @property
  def graph(self):
    """The `inference.InferenceGraph`, to make further segmenters of the same model."""
    return self._graph

  @property
  def object_ids(self) -> Optional[Tuple[int, ...]]:
    """Ids of the objects with a channel, background 0 first; None before `start`."""
    return self._object_ids

  def start(self, frame, mask) -> SegmentedFrame:
    """Begins a video (or begins again) with the frame whose masks are given.

    Args:
      frame: uint8 [height, width, 3], RGB.
      mask: uint8 [height, width], object ids.

    Returns:
      `SegmentedFrame` with the given mask.

    Raises:
      ValueError: a wrong shape or dtype, different sizes, or a mask without an object.
    """
    frame = _check_frame(frame)
    mask = _check_mask(mask, frame)
    self._object_ids = (0,) + tuple(int(i) for i in np.unique(mask) if i)
    self._size = frame.shape[:2]
    index_of_id = np.zeros(256, np.int32)
    index_of_id[list(self._object_ids)] = np.arange(len(self._object_ids))
    internal = self._internal_size()
    labels = index_of_id[mask]
    if internal != self._size:
      labels = inference.shrink_object_labels(labels, len(self._object_ids), internal)
    self._state = self._shown_to.begin(
        self._resize(frame, internal), labels, len(self._object_ids))
    return SegmentedFrame(mask.copy(), self._object_ids)

  def step(self, frame) -> SegmentedFrame:
    """Segments the next frame.

    Args:
      frame: uint8 [height, width, 3], RGB, of the size of the first.

    Returns:
      `SegmentedFrame`.

    Raises:
      RuntimeError: `start` was not called.
      ValueError: a wrong shape or dtype, or another size than the first frame's.
    """
    if self._state is None:
      raise RuntimeError('step before start: call start(frame, mask) with the first frame.')
    frame = _check_frame(frame)
    if frame.shape[:2] != self._size:
      raise ValueError(
          f'the frame is {frame.shape[1]}x{frame.shape[0]}, the first frame was '
          f'{self._size[1]}x{self._size[0]}; frames of a video may not change size. Resize '
          'them, or start again with a mask.')
    labels, logits, global_distance, local_distance, self._state = self._shown_to.advance(
        self._resize(frame, self._internal_size()), self._state, len(self._object_ids), self._size)
    ids = np.asarray(self._object_ids, np.uint8)
    return SegmentedFrame(
        ids[np.asarray(labels)], self._object_ids, logits, _numpy_or_none(global_distance),
        _numpy_or_none(local_distance))

  def _internal_size(self):
    height, width = self._size
    longer = max(height, width)
    if self._max_internal_size is None or longer <= self._max_internal_size:
      return self._size
    scale = self._max_internal_size / longer
    return max(1, round(height * scale)), max(1, round(width * scale))

  @staticmethod
  def _resize(frame, size):
    if frame.shape[:2] == size:
      return frame
    return cv2.resize(frame, (size[1], size[0]), interpolation=cv2.INTER_AREA)


def _numpy_or_none(distance):
  return np.asarray(distance) if distance.shape[0] else None


def _check_frame(frame):
  frame = np.asarray(frame)
  if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or not frame.size:
    raise ValueError(f'the frame is {frame.dtype} of shape {list(frame.shape)}; expected uint8 '
                     '[height, width, 3] in RGB order.')
  return frame


def _check_mask(mask, frame):
  mask = np.asarray(mask)
  if mask.ndim != 2 or mask.dtype.kind not in 'ui':
    raise ValueError(f'the mask is {mask.dtype} of shape {list(mask.shape)}; expected uint8 '
                     '[height, width] with object ids.')
  if mask.shape != frame.shape[:2]:
    raise ValueError(
        f'the mask is {mask.shape[1]}x{mask.shape[0]}, the frame is '
        f'{frame.shape[1]}x{frame.shape[0]}; both have to be of the same size.')
  if mask.size and (mask.min() < 0 or mask.max() > 255):
    raise ValueError(f'the mask has ids {mask.min()} to {mask.max()}; expected 0 to 255.')
  if not mask.any():
    raise ValueError('the mask holds background (0) only; mark at least one object.')
  return mask.astype(np.uint8)
