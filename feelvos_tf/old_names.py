"""Module names of version 0.1, before the modules moved into rooms.

`import feelvos_tf.segmenter` still works and gives `feelvos_tf.inference.segmenter`, with a
DeprecationWarning that names the new place. So do `datasets.folder` and `tools.figures` in a
checkout, where these two are packages of their own.
"""

from collections.abc import Sequence
import functools
import importlib
import importlib.machinery
import os
import sys
import types
from typing import Any, cast
import warnings

from feelvos_tf import old_members

# Old name -> new name, both below `feelvos_tf.`; those of `datasets` and `tools` stood at the top
# level.
MOVED = {
  'baselines': 'evaluation.baselines',
  'calibration': 'training.calibration',
  'datasets.augment': 'datasets.samples.crops',
  'datasets.background': 'runtime.background',
  'datasets.clip_source': 'datasets.clips',
  'datasets.command_line': 'runtime.command_line',
  'datasets.conversion': 'datasets.tfrecord.conversion',
  'datasets.davis': 'datasets.sources.davis',
  'datasets.folder': 'datasets.sources.folder',
  'datasets.mask_damaging': 'datasets.samples.mask_damaging',
  'datasets.progress': 'runtime.progress',
  'datasets.records': 'datasets.tfrecord.videos',
  'datasets.sequence_example': 'datasets.tfrecord.schema',
  'datasets.shards': 'datasets.tfrecord.shards',
  'datasets.static_images': 'datasets.sources.static_images',
  'datasets.synthetic': 'datasets.sources.synthetic',
  'datasets.triplet_options': 'datasets.samples.options',
  'datasets.triplets': 'datasets.samples.triplets',
  'datasets.whole_file': 'files.whole_file',
  'datasets.youtube_vos': 'datasets.sources.youtube_vos',
  'dead_channels': 'training.dead_channels',
  'distributed_step': 'training.distributed_step',
  'embedding': 'model.embedding',
  'evaluation_files': 'evaluation.scoring',
  'evaluation_methods': 'evaluation.methods',
  'evaluation_model': 'evaluation.segmenting',
  'evaluation_pictures': 'evaluation.pictures',
  'evaluation_report': 'evaluation.report',
  'evaluation_splits': 'evaluation.sequences',
  'evaluation_summary': 'evaluation.summary',
  'evaluation_tables': 'evaluation.tables',
  'export_files': 'saved_model.version_folder',
  'export_signatures': 'saved_model.signatures',
  'frozen_graph': 'inference.frozen_graph',
  'global_matching': 'matching.global_matching',
  'initialization': 'training.initial_weights',
  'local_matching': 'matching.local_matching',
  'loss_scale': 'training.loss_scale',
  'losses': 'training.losses',
  'matching_scores': 'matching.scores',
  'optimizer': 'training.optimizer',
  'options': 'model.options',
  'png_in_graph': 'saved_model.png_in_graph',
  'precision': 'model.precision',
  'pretrained': 'model.default_model',
  'run_directory': 'training.run_directory',
  'schedule': 'training.schedule',
  'segmentation_head': 'model.head',
  'segmenter': 'inference.segmenter',
  'segmenter_options': 'inference.options',
  'serving.exported_model': 'saved_model.exported_model',
  'serving.overlay_route': 'serving.overlay_routes',
  'state_bytes': 'saved_model.state_bytes',
  'submission': 'evaluation.submission',
  'tools.benchmark_cases': 'tools.benchmarks.cases',
  'tools.benchmark_curves': 'tools.benchmarks.curves',
  'tools.benchmark_measure': 'tools.benchmarks.measure',
  'tools.figures': 'tools.benchmarks.figures',
  'tools.reference_frame': 'tools.benchmarks.reference_frame',
  'tools.reference_matching': 'tools.benchmarks.reference_matching',
  'tools.serving_clients': 'tools.benchmarks.serving_clients',
  'tools.soak_serving': 'tools.benchmarks.soak_serving',
  'trainer': 'training.trainer',
  'training_data': 'training.data',
  'training_memory': 'training.memory',
  'training_run': 'training.run',
  'training_step': 'training.step',
  'training_strategy': 'training.strategy',
  'training_summaries': 'training.summaries',
  'training_validation': 'training.validation',
  'views': 'inference.views',
}
_PACKAGE = 'feelvos_tf.'


class OldNames:
  """Finder and loader of old names; the module found is the one of the new name."""

  def __init__(self, *tops: str) -> None:
    """Args: the packages at the top level whose old names it knows."""
    self._tops = tops

  def find_spec(
    self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
  ) -> importlib.machinery.ModuleSpec | None:
    """A spec for an old name; None for every other name."""
    loader: Any = self
    if fullname.partition('.')[0] not in self._tops or not _new_name(fullname):
      return None
    return importlib.machinery.ModuleSpec(fullname, loader)

  def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
    """The module of the new name."""
    new = cast(str, _new_name(spec.name))
    warnings.warn(f'{spec.name} is now {new}', DeprecationWarning, stacklevel=2)
    module = importlib.import_module(new)
    old = spec.name.removeprefix(_PACKAGE)
    if old in old_members.MEMBERS:
      own = vars(module).get('__getattr__')
      vars(module)['__getattr__'] = functools.partial(old_members.find, old, own=own)
    spec.loader_state = module.__spec__
    return module

  def exec_module(self, module: types.ModuleType) -> None:
    """Gives the module its own spec back; the import of the old name has replaced it."""
    module.__spec__ = cast(importlib.machinery.ModuleSpec, module.__spec__).loader_state


def _new_name(name: str) -> str | None:
  """New name of a module, or None if the name is not an old one."""
  top, _, rest = name.partition('.')
  if top == 'feelvos_tf':
    return _PACKAGE + MOVED[rest] if rest in MOVED else None
  if top not in ('datasets', 'tools') or not rest or not _is_ours(top):
    return None
  return _PACKAGE + MOVED.get(name, name)


def _is_ours(top: str) -> bool:
  """Whether a package at the top level is this project's folder and not somebody else's package."""
  place = getattr(sys.modules.get(top), '__file__', None)
  return place is not None and os.path.realpath(place) == os.path.realpath(
    os.path.join(os.path.dirname(os.path.dirname(__file__)), top, '__init__.py')
  )
