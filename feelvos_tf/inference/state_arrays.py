"""The state of a segmenter as arrays: its size, and what it remembers of the last frame."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from feelvos_tf.inference.contract import Graph
from feelvos_tf.inference.views import Views
from feelvos_tf.model.feelvos import PreviousFrame
from feelvos_tf.model.geometry import FrameGeometry
from feelvos_tf.model.geometry import Size


def num_bytes(structure: Any) -> int:
  """Bytes of all arrays and tensors of a nested structure."""
  return sum(
    value.nbytes if isinstance(value, np.ndarray) else value.shape.num_elements() * value.dtype.size
    for value in tf.nest.flatten(structure)
  )


def previous_tensors(state: Any) -> list:
  """What a state of `contract.State` or `views.ViewsState` remembers of the last frame."""
  return tf.nest.flatten(_previous_frames(state))


def with_previous(state: Any, arrays: Sequence[np.ndarray]) -> Any:
  """The state with other `previous_tensors`.

  Args:
    state: of a video with the same frames and objects.
    arrays: as numpy arrays; those of bfloat16 may come as bytes of two.

  Raises:
    ValueError: the arrays do not fit.
  """
  current = previous_tensors(state)
  if [tuple(a.shape) for a in arrays] != [tuple(t.shape) for t in current]:
    raise ValueError('what is remembered of the last frame has other shapes than this video.')
  tensors = [
    tf.convert_to_tensor(array.view(tensor.dtype.as_numpy_dtype))
    for array, tensor in zip(arrays, current)
  ]
  frames = tf.nest.pack_sequence_as(_previous_frames(state), tensors)
  if hasattr(state, 'states'):
    views = [one._replace(previous=frame) for one, frame in zip(state.states, frames)]
    return state._replace(states=tuple(views))
  return state._replace(previous=frames[0])


def check_sizes(state: Any, graph: Graph, geometry: FrameGeometry) -> None:
  """Checks that a graph can go on from a state of `contract.State` or `views.ViewsState`.

  Args:
    state: of a video.
    graph: `contract.Graph`; what one does not know of its sizes (an exported model) fits.
    geometry: of the graph and the frames of the video.

  Raises:
    ValueError: another number of views, or maps of another size.
  """
  expected = graph.sizes(geometry) if isinstance(graph, Views) else [geometry.stride_4]
  given = [tuple(one.labels.shape) for one in _previous_frames(state)]
  fits = len(given) == len(expected) and all(
    size is None or tuple(size) == one for size, one in zip(expected, given)
  )
  if not fits or isinstance(graph, Views) != hasattr(state, 'states'):
    raise ValueError(
      f'a snapshot with maps of {_listed(given)} given, expected {_listed(expected)}: the segmenter '
      'that it is of has other options; give both the same max_internal_size, image_pyramid and '
      'flip.'
    )


def _listed(sizes: Sequence[Size | None]) -> str:
  """Sizes (height, width) as text: '21x13, 41x25'."""
  return ', '.join('any size' if size is None else f'{size[1]}x{size[0]}' for size in sizes)


def _previous_frames(state: Any) -> list[PreviousFrame]:
  return [one.previous for one in getattr(state, 'states', (state,))]
