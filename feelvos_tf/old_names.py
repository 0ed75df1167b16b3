"""Module names of version 0.1, before the modules moved into rooms.

`import feelvos_tf.segmenter` still works and gives `feelvos_tf.inference.segmenter`, with a
DeprecationWarning that names the new place.
"""

import importlib
import importlib.abc
import importlib.machinery
import warnings

# Old name -> new name, both below `feelvos_tf.`.
MOVED = {
  'baselines': 'evaluation.baselines',
  'calibration': 'training.calibration',
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
  'state_bytes': 'saved_model.state_bytes',
  'submission': 'evaluation.submission',
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


class OldNames(importlib.abc.MetaPathFinder, importlib.abc.Loader):
  """Finder and loader of old names; the module found is the one of the new name."""

  def find_spec(self, fullname, path=None, target=None):
    """A spec for an old name; None for every other name."""
    if fullname.removeprefix(_PACKAGE) not in MOVED or not fullname.startswith(_PACKAGE):
      return None
    return importlib.machinery.ModuleSpec(fullname, self)

  def create_module(self, spec):
    """The module of the new name."""
    new = _PACKAGE + MOVED[spec.name.removeprefix(_PACKAGE)]
    warnings.warn(f'{spec.name} is now {new}', DeprecationWarning, stacklevel=2)
    module = importlib.import_module(new)
    spec.loader_state = module.__spec__
    return module

  def exec_module(self, module):
    """Gives the module its own spec back; the import of the old name has replaced it."""
    module.__spec__ = module.__spec__.loader_state
