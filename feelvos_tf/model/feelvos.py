"""The FEELVOS network: DeepLab features, embeddings, matching, dynamic segmentation head.

Source: Voigtlaender et al., CVPR 2019 (arXiv 1902.09513), figure 2; original
`research/feelvos/model.py` and `utils/embedding_utils.py`, `get_logits_with_matching`.
"""

import enum
from typing import Any, cast, NamedTuple

import keras
import tensorflow as tf

from feelvos_tf import matching
from feelvos_tf.deeplab import DeepLabV3Plus
from feelvos_tf.model.embedding import EmbeddingLayer
from feelvos_tf.model.head import SegmentationHead
from feelvos_tf.model.options import FeelvosOptions


class Mode(enum.Enum):
  """What matching is for.

  TRAINING: gradients, in float32 whatever the policy. INFERENCE: speed; what only gradients need is
  left out, and a model that computes in bfloat16 matches in it.
  """

  TRAINING = 'training'
  INFERENCE = 'inference'


class HiddenParts(NamedTuple):
  """What objects cover of each other, and how they move; see `inference.crossing`.

  Attributes:
    embedding: float32 [h4, w4, embedding_dimension], the last one seen of what is hidden; else 0.
    labels: int32 [h4, w4], index of the object that is hidden, 0 where none is.
    motion: int32 [objects, 2], positions down and to the right from the frame before.
  """

  embedding: tf.Tensor
  labels: tf.Tensor
  motion: tf.Tensor


class PreviousFrame(NamedTuple):
  """What the next frame has to know of the previous one, all at stride 4.

  Attributes:
    embedding: float32 [h4, w4, embedding_dimension].
    labels: int32 [h4, w4], object index.
    probabilities: float32 [objects, h4, w4], the previous prediction: one-hot or soft.
    hidden: `HiddenParts`, or () in a model without the option `crossing_radius`.
  """

  embedding: tf.Tensor
  labels: tf.Tensor
  probabilities: tf.Tensor
  hidden: HiddenParts | tuple[()] = ()

  @property
  def hidden_parts(self) -> HiddenParts:
    """`hidden` of a model with the option.

    Raises:
      ValueError: there are none.
    """
    if not self.hidden:
      raise ValueError('the previous frame has no hidden parts; give what `initialize` returned.')
    return cast(HiddenParts, self.hidden)


class Maps(NamedTuple):
  """Inputs of the head in addition to the features; None for one that the model does not have.

  Attributes:
    global_distance: float32 [objects, h4, w4] in [0, 1], distance to the reference frames.
    previous_prediction: float32 [objects, h4, w4] in [0, 1].
    local_distance: float32 [objects, h4, w4] in [0, 1], distance to the previous frame.
    window_distances: the same in the windows of the option `local_window_radii`, one tensor each.
  """

  global_distance: tf.Tensor | None
  previous_prediction: tf.Tensor | None
  local_distance: tf.Tensor | None
  window_distances: tuple[tf.Tensor, ...] = ()


@keras.saving.register_keras_serializable(package='feelvos_tf')
class Feelvos(keras.Model):
  """The video model; stateless: what is remembered between frames is passed in and out.

  Parts, for those who build on them: `deeplab` (image to features), `embedding_layer`
  (features to embeddings), `head` (features and maps to logits).

  >>> model = Feelvos(FeelvosOptions(ModelOptions('mobilenet_v2')))
  >>> features, embedding = model.extract(tf.zeros([1, 65, 97, 3]))
  >>> features.shape, embedding.shape
  (TensorShape([1, 17, 25, 256]), TensorShape([1, 17, 25, 100]))
  """

  def __init__(
    self,
    options: FeelvosOptions | dict[str, Any] | None = None,
    name: str = 'feelvos',
    **kwargs: Any,
  ) -> None:
    """Creates the network with initial weights.

    Args:
      options: `FeelvosOptions` (or its dict); None takes the defaults.
      name: str.
      **kwargs: of keras.Model, for example dtype='mixed_bfloat16'.
    """
    super().__init__(name=name, **kwargs)
    if isinstance(options, dict):
      options = FeelvosOptions.from_dict(options)
    self.options = options = options or FeelvosOptions()
    self.deeplab = DeepLabV3Plus(options.model, logits_scope='semantic_logits')
    self.embedding_layer = EmbeddingLayer(options.embedding_dimension)
    self.head = SegmentationHead(
      object_channels=options.object_channels,
      dimension=options.head_dimension,
      num_layers=options.head_layers,
      kernel_size=options.head_kernel_size,
      atrous_rates=options.head_atrous_rates,
      guidance_channels=4 * options.embedding_dimension if options.object_gates else 0,
      joint=options.joint_head,
    )
    self.built = True

  def extract(self, images: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
    """Features and embeddings of images.

    Args:
      images: [batch, height, width, 3], RGB 0..255, uint8 or float32.
      training: bool, turns dropout (and batch statistics, if fine-tuned) on.

    Returns:
      (features [batch, h4, w4, 256] float32,
      embedding [batch, h4, w4, embedding_dimension] float32).
    """
    features = self.deeplab(tf.cast(images, tf.float32), training=training)['features']
    return features, tf.cast(self.embedding_layer(features), tf.float32)

  def prepare_reference(
    self,
    embedding: tf.Tensor,
    labels: tf.Tensor,
    num_objects: int | tf.Tensor,
    max_pixels_per_object: int | tf.Tensor | None = None,
    seed: int | tf.Tensor | None = None,
    mode: Mode = Mode.TRAINING,
  ) -> matching.ReferenceBank:
    """Global matching's view of a reference frame; done once per reference.

    Args:
      embedding: float32 [..., h4, w4, embedding_dimension], of one frame or several.
      labels: int32 [..., h4, w4], object index; indices outside 0..num_objects - 1 are ignored.
      num_objects: int32 scalar, background included.
      max_pixels_per_object: int, int32 scalar, or None for all; training takes 1,024 (section 4).
      seed: int or int32 [2], seed of a random choice; None chooses evenly, without chance.
      mode: `Mode`; INFERENCE also chooses pixels as the option `reference_choice` says.

    Returns:
      `matching.ReferenceBank`.
    """
    by_border = mode is Mode.INFERENCE and self.options.reference_choice == 'border'
    return matching.prepare_reference(
      embedding,
      labels,
      num_objects,
      max_pixels_per_object=max_pixels_per_object,
      seed=seed,
      weights=matching.border_weights(labels) if by_border else None,
      compute_dtype=self.matching_dtype(mode),
    )

  def matching_dtype(self, mode: Mode) -> tf.DType:
    """Type of the factors whose products matching adds up in float32, a tf.DType.

    float32 in training, whatever the policy; at inference bfloat16 if the model computes in it.
    """
    in_bfloat16 = mode is Mode.INFERENCE and self.compute_dtype == 'bfloat16'
    return tf.bfloat16 if in_bfloat16 else tf.float32

  def match(
    self,
    embedding: tf.Tensor,
    reference: matching.ReferenceBank,
    previous: PreviousFrame,
    num_objects: int | tf.Tensor,
    mode: Mode = Mode.TRAINING,
  ) -> Maps:
    """The maps of the current frame.

    Args:
      embedding: float32 [h4, w4, embedding_dimension] of the current frame.
      reference: `matching.ReferenceBank` of the reference frame.
      previous: `PreviousFrame`.
      num_objects: int32 scalar, background included.
      mode: `Mode`.

    Returns:
      `Maps`.
    """
    far = self.match_reference(embedding, reference, num_objects, mode)
    near, windows = self.match_previous(embedding, previous, num_objects, mode)
    has_prediction = self.options.previous_prediction != 'none'
    return Maps(far, previous.probabilities if has_prediction else None, near, windows)

  def match_reference(
    self,
    embedding: tf.Tensor,
    reference: matching.ReferenceBank,
    num_objects: int | tf.Tensor,
    mode: Mode = Mode.TRAINING,
  ) -> tf.Tensor | None:
    """`global_distance` of `match`; None without first-frame matching."""
    if not self.options.use_first_frame_matching:
      return None
    return matching.global_matching(
      embedding,
      reference,
      num_objects,
      k=self.options.k_nearest_neighbors,
      skip_constant_channels=mode is Mode.INFERENCE,
    )

  def match_previous(
    self,
    embedding: tf.Tensor,
    previous: PreviousFrame,
    num_objects: int | tf.Tensor,
    mode: Mode = Mode.TRAINING,
  ) -> tuple[tf.Tensor | None, tuple[tf.Tensor, ...]]:
    """`local_distance` and `window_distances` of `match`, float32 [objects, h4, w4] each."""
    options, near = self.options, None
    if options.previous_frame_matching != 'none':
      near = self._match_previous(embedding, previous, num_objects, mode)
    windows = tuple(
      self._match_window(embedding, previous, num_objects, radius, mode)
      for radius in options.local_window_radii
    )
    return near, windows

  def _match_previous(
    self, embedding: tf.Tensor, previous: PreviousFrame, num_objects: int | tf.Tensor, mode: Mode
  ) -> tf.Tensor:
    options = self.options
    if options.previous_frame_matching == 'local':
      return self._match_window(embedding, previous, num_objects, options.window_radius, mode)
    bank = self.prepare_reference(previous.embedding, previous.labels, num_objects, mode=mode)
    return matching.global_matching(
      embedding,
      bank,
      num_objects,
      k=options.k_nearest_neighbors,
      skip_constant_channels=mode is Mode.INFERENCE,
    )

  def _match_window(
    self,
    embedding: tf.Tensor,
    previous: PreviousFrame,
    num_objects: int | tf.Tensor,
    radius: int,
    mode: Mode,
  ) -> tf.Tensor:
    return matching.local_matching(
      embedding,
      previous.embedding,
      previous.labels,
      num_objects,
      window_radius=radius,
      skip_constant_channels=mode is Mode.INFERENCE,
      compute_dtype=self.matching_dtype(mode),
    )

  def guidance(
    self, reference: matching.ReferenceBank, previous: PreviousFrame, num_objects: int | tf.Tensor
  ) -> tf.Tensor | None:
    """Mean embeddings that set the gates of the head.

    Args:
      reference: `matching.ReferenceBank` of the reference frame.
      previous: `PreviousFrame`.
      num_objects: int32 scalar, background included.

    Returns:
      float32 [objects, 4 * embedding_dimension]: means over the object's reference pixels, all
      other reference pixels, and the same two of the previous frame; None without the option
      `object_gates`.
    """
    if not self.options.object_gates:
      return None
    far = matching.means_of_bank(reference, num_objects)
    near = matching.means_of_frame(previous.embedding, previous.labels, num_objects)
    return tf.concat([far, near], axis=-1)

  def segment(
    self, features: tf.Tensor, maps: Maps, training: bool = False, guidance: tf.Tensor | None = None
  ) -> tf.Tensor:
    """Logits of the current frame.

    Args:
      features: float32 [h4, w4, 256] of the current frame.
      maps: `Maps`.
      training: bool; all objects at once, for gradients.
      guidance: what the method `guidance` returns; needed with the option `object_gates`.

    Returns:
      float32 [objects, h4, w4].
    """
    inputs = [getattr(maps, name) for name in self.options.object_inputs]
    if self.options.other_object_distances:
      inputs += [
        matching.distance_to_others(getattr(maps, name)) for name in self.options.matched_inputs
      ]
    inputs += maps.window_distances
    if self.options.global_distance_square is not None:
      averaged = matching.mean_of_squares(maps.global_distance, self.options.patch_side)
      inputs.append(averaged)
      if self.options.other_object_distances:
        inputs.append(matching.distance_to_others(averaged))
    return self.head(
      features[tf.newaxis], tf.stack(inputs, axis=-1), training=training, guidance=guidance
    )

  def previous_frame(
    self,
    embedding: tf.Tensor,
    labels: tf.Tensor,
    num_objects: int | tf.Tensor,
    probabilities: tf.Tensor | None = None,
  ) -> PreviousFrame:
    """Packs what the next frame has to know of this one.

    Args:
      embedding: float32 [h4, w4, embedding_dimension].
      labels: int32 [h4, w4], object index.
      num_objects: int32 scalar, background included.
      probabilities: float32 [objects, h4, w4]; used if the option `previous_prediction` is
        'probabilities', else the labels' one-hot map is. None takes the one-hot map.

    Returns:
      `PreviousFrame`.
    """
    if probabilities is None or self.options.previous_prediction != 'probabilities':
      probabilities = one_hot(labels, num_objects)
    return PreviousFrame(embedding, labels, probabilities)

  def get_config(self) -> dict[str, Any]:
    return {'options': self.options.to_dict(), 'name': self.name}

  @classmethod
  def from_config(
    cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
  ) -> 'Feelvos':
    del custom_objects  # Everything needed is in the options.
    return cls(**config)


def one_hot(labels: tf.Tensor, num_objects: int | tf.Tensor) -> tf.Tensor:
  """One-hot map [objects, h4, w4] float32 of int32 labels [h4, w4]; other labels give zeros."""
  return tf.cast(labels[tf.newaxis] == tf.range(num_objects)[:, tf.newaxis, tf.newaxis], tf.float32)
