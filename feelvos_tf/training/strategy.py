"""Where a training runs: one device, all devices of a machine, or several machines."""

from typing import NamedTuple

import tensorflow as tf

KINDS = ('one', 'mirrored', 'multi_worker')


class Placement(NamedTuple):
  """A strategy and this process's part in it.

  Attributes:
    strategy: tf.distribute.Strategy.
    num_workers: int, processes that train together.
    worker: int, number of this process; 0 is the chief, which writes checkpoints and logs.
  """

  strategy: tf.distribute.Strategy
  num_workers: int = 1
  worker: int = 0

  @property
  def is_chief(self) -> bool:
    """Whether this process writes checkpoints and logs."""
    return self.worker == 0


def place(kind: str) -> Placement:
  """Makes the strategy; call it before any other TensorFlow op.

  Args:
    kind: 'one': the first GPU or else the CPU; 'mirrored': all GPUs of this machine;
      'multi_worker': the processes that the environment variable TF_CONFIG lists.

  Returns:
    Placement.

  Raises:
    ValueError: an unknown kind, or TF_CONFIG is missing or wrong.
  """
  if kind not in KINDS:
    raise ValueError(f'strategy is {kind!r}; expected one of {", ".join(KINDS)}.')
  if kind == 'one':
    return Placement(tf.distribute.get_strategy())
  if kind == 'mirrored':
    return Placement(tf.distribute.MirroredStrategy())
  resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
  try:
    cluster = resolver.cluster_spec().as_dict()
    task_type, task_id = resolver.task_type, resolver.task_id
  except (KeyError, TypeError, ValueError) as error:
    raise ValueError(
      f'TF_CONFIG cannot be read ({error}); expected {{"cluster": {{"worker": '
      '["host:port", ...]}, "task": {"type": "worker", "index": 0}}.'
    ) from error
  members = [(kind, i) for kind in ('chief', 'worker') for i in range(len(cluster.get(kind, ())))]
  if (task_type, task_id) not in members:
    raise ValueError(
      f'TF_CONFIG: task {task_type!r} {task_id} is not in the cluster {cluster}; expected '
      '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}, with '
      'another index in every process.'
    )
  return Placement(
    tf.distribute.MultiWorkerMirroredStrategy(), len(members), members.index((task_type, task_id))
  )
