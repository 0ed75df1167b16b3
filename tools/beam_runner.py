"""Runs a conversion as an Apache Beam pipeline: one element per shard.

The package apache-beam is an extra (`pip install 'feelvos-tf[beam]'`); only this module imports it.
The workers write shards and notes into the output folder, so it must be one that all of them share.
"""

from collections.abc import Sequence

from feelvos_tf.datasets.tfrecord import conversion
from feelvos_tf.datasets.tfrecord import planning
from feelvos_tf.runtime import command_line

# What DirectRunner ends up with. Asked for by its short name, Beam first tries to download a Go
# program ("prism") and runs that if it can.
_DIRECT_RUNNER = 'apache_beam.runners.portability.fn_api_runner.FnApiRunner'


def convert(shards: list[planning.Shard], runner: str, arguments: Sequence[str] = ()) -> dict:
  """Converts what is not converted yet, as `conversion.convert` does, on a Beam runner.

  Args:
    shards: what `planning.plan` returned.
    runner: name of a Beam runner; DirectRunner is the embedded one.
    arguments: list of str, further arguments of Beam such as '--direct_num_workers=2'.

  Returns:
    The manifest's entry of the split.

  Raises:
    UsageError: apache-beam is not installed, or does not know the runner.
    ValueError: a bad video with on_error 'fail', or every video is bad.
  """
  try:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
  except ImportError as error:
    raise command_line.UsageError(
      f'--runner={runner} given, but apache-beam cannot be imported '
      f"({error}); pip install 'feelvos-tf[beam]'"
    ) from error
  todo = conversion.pending(shards)
  if not todo:
    return conversion.finish(shards)
  chosen = _DIRECT_RUNNER if runner == 'DirectRunner' else runner
  try:
    pipeline = beam.Pipeline(options=PipelineOptions([f'--runner={chosen}', *arguments]))
  except (ValueError, ImportError, AttributeError) as error:
    raise command_line.UsageError(f'--runner={runner} given: {error}') from error
  # Without the reshuffle a runner may fuse everything into one worker.
  _ = (
    pipeline
    | 'Shards' >> beam.Create(todo)
    | beam.Reshuffle()
    | 'Convert' >> beam.Map(_convert_shard)
  )
  pipeline.run().wait_until_finish()
  return conversion.finish(shards)


def _convert_shard(shard: planning.Shard) -> None:
  """A failure is left next to the shard, since every runner wraps exceptions in its own way."""
  try:
    conversion.convert_shard(shard)
  except conversion.BadVideo as error:
    conversion.leave_error(shard, error)
