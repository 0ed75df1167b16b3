"""`track` for several videos in one request, for servers and clients that only know batches."""

import tensorflow as tf

from feelvos_tf.saved_model.checked import checked

_MOST_OBJECTS = 256  # Background included: a mask has 8 bits.
NO_OBJECT = -1


def build(track: tf.types.experimental.ConcreteFunction) -> tf.types.experimental.ConcreteFunction:
  """The signature `track_batch`, a concrete function.

  Inputs: `image_bytes` string [B, T], where videos that are shorter end with ''; `mask_bytes`
  string [B]. Outputs: `masks_bytes` string [B, T], '' where there is no frame; `object_ids` int32
  [B, objects], -1 beyond the objects of a video; `confidence` float32 [B, T, objects], 0 there.

  Args:
    track: the signature `track`; videos run one after the other.
  """

  def track_batch(image_bytes: tf.Tensor, mask_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
    batch, length = tf.shape(image_bytes)[0], tf.shape(image_bytes)[1]
    fits = (batch > 0) & tf.equal(batch, tf.shape(mask_bytes)[0])
    image_bytes = checked(
      image_bytes,
      fits,
      'image_bytes and mask_bytes have to be of as many videos, one at least; given:',
      tf.shape(image_bytes),
      tf.shape(mask_bytes),
    )
    is_frame = tf.strings.length(image_bytes) > 0
    image_bytes = checked(
      image_bytes,
      tf.reduce_all(is_frame[:, :-1] | ~is_frame[:, 1:]),
      'image_bytes: a frame after an empty string given, which stands for the end of a video; leave '
      'out frames that are missing.',
    )

    def body(i: tf.Tensor, most: tf.Tensor, *arrays: tf.TensorArray) -> tuple:
      frames = tf.boolean_mask(image_bytes[i], tf.strings.length(image_bytes[i]) > 0)
      result = track(image_bytes=frames, mask_bytes=mask_bytes[i])
      count = tf.size(result['object_ids'])
      rows, columns = length - tf.size(frames), _MOST_OBJECTS - count
      values = (
        tf.concat([result['masks_bytes'], tf.fill([rows], '')], axis=0),
        tf.pad(result['object_ids'], [[0, columns]], constant_values=NO_OBJECT),
        tf.pad(result['confidence'], [[0, rows], [0, columns]]),
      )
      written = [array.write(i, value) for array, value in zip(arrays, values)]
      return i + 1, tf.maximum(most, count), *written

    arrays = [
      tf.TensorArray(tf.string, batch, element_shape=[None]),
      tf.TensorArray(tf.int32, batch, element_shape=[_MOST_OBJECTS]),
      tf.TensorArray(tf.float32, batch, element_shape=[None, _MOST_OBJECTS]),
    ]
    _, most, masks, ids, confidence = tf.while_loop(
      lambda i, *_: i < batch, body, [0, 0, *arrays], parallel_iterations=1
    )
    return {
      'masks_bytes': masks.stack(),
      'object_ids': ids.stack()[:, :most],
      'confidence': confidence.stack()[:, :, :most],
    }

  return tf.function(track_batch, autograph=False).get_concrete_function(
    tf.TensorSpec([None, None], tf.string, 'image_bytes'),
    tf.TensorSpec([None], tf.string, 'mask_bytes'),
  )
