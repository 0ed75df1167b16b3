"""Functions, classes and constants of version 0.1 that stand in another module today.

`old_names` knows where a module went; this is about single names of one: `from
feelvos_tf.datasets.clip_source import record_clips` gives that of `datasets.tfrecord.clips`.
"""

from collections.abc import Callable
import importlib
from typing import Any

_KEYS = 'datasets.tfrecord.keys'
_MEASURES = (
  'BOUNDARY_TOLERANCE boundary_map boundary_radius contour_accuracy region_similarity score_frame'
)
_SEQUENCE_SCORES = (
  'DECAY_BINS FOREGROUND_ID PROTOCOLS Protocol RECALL_THRESHOLD SequenceScores Statistics '
  'as_protocol score_sequence statistics'
)
_VOID = 'datasets.masks:VOID_ID'

# Module of 0.1 -> {name: module of today, and `:name` where that is another one}.
MEMBERS = {
  'datasets.augment': {
    **dict.fromkeys(
      ('ColorChange', 'Look', 'random_color_change', 'random_look'), 'datasets.samples.appearance'
    ),
    'IGNORE_LABEL': _VOID,
  },
  'datasets.clip_source': {
    'IDS_KEY': f'{_KEYS}:OBJECT_IDS',
    'IMAGE_KEY': f'{_KEYS}:IMAGES',
    'LABEL_KEY': f'{_KEYS}:MASKS',
    'NAME_KEY': f'{_KEYS}:VIDEO_ID',
    'RecordClip': 'datasets.tfrecord.clips',
    'record_clips': 'datasets.tfrecord.clips',
  },
  'datasets.command_line': {'quiet_imports': 'runtime.tensorflow_start'},
  'datasets.conversion': dict.fromkeys(
    ('ConversionOptions', 'ON_ERROR', 'Shard', 'plan'), 'datasets.tfrecord.planning'
  ),
  'datasets.triplets': {
    **dict.fromkeys(('element_spec', 'error_message', 'make_dataset'), 'datasets.samples.batches'),
    'IGNORE_LABEL': _VOID,
  },
  'evaluation': {
    **dict.fromkeys(_MEASURES.split(), 'evaluation.measures'),
    **dict.fromkeys(_SEQUENCE_SCORES.split(), 'evaluation.sequence_scores'),
    'VOID_ID': 'datasets.masks',
  },
  'evaluation_model': {
    'Clip': 'evaluation.segmenting:SegmentedVideo',
    'read_maps': 'evaluation.kept_maps',
    'segment_video': 'evaluation.late_objects',
  },
  'evaluation_splits': {'load_seen': 'evaluation.seen_categories'},
  'export_files': {'LARGEST_ID': 'datasets.object_ids:LAST_ID'},
  'global_matching': {'prepare_reference': 'matching.reference_bank'},
  'inference': {
    'InferenceFunctions': 'inference.functions',
    'InferenceGraph': 'inference.graph',
    'References': 'inference.contract',
    'State': 'inference.contract',
    'most_reference_pixels': 'inference.functions',
    'shrink_object_labels': 'model.geometry',
    'to_full_probabilities': 'inference.segmented_frame',
  },
  'losses': {'IGNORE_LABEL': _VOID, 'shrink_labels': 'model.geometry'},
  'model': {
    'Feelvos': 'model.feelvos',
    'Maps': 'model.feelvos',
    'NO_DISTANCE': 'matching.scores',
    'NO_PREDICTION': 'inference.ablation',
    'PreviousFrame': 'model.feelvos',
    'enlarge_logits': 'model.geometry',
    'load_model': 'model.weights',
    'one_hot': 'model.feelvos',
    'save_model': 'model.weights',
    'seeded_model': 'model.weights',
    'shrink_labels': 'model.geometry',
  },
  'optimizer': {'LAST_LAYERS': 'training.options', 'LOGITS_ONLY': 'training.options'},
  'segmenter': {'MAX_REFERENCES': 'inference.kept_references'},
  'segmenter_options': dict.fromkeys(
    ('define_flags', 'from_flags', 'model_overrides'), 'runtime.segmenter_flags'
  ),
}

# Names of 0.1 that nothing of today stands for, and what does their work.
GONE = {
  'datasets.clip_source.Clip': 'datasets.clips.Clip has other fields',
  'evaluation_model.write_maps': 'evaluation.kept_maps',
  'evaluation_report.write_report': 'evaluation.report.to_html',
  'evaluation_splits.png_names': 'datasets.masks.list_masks',
  'evaluation_tables.write_tables': 'evaluation.tables.to_files',
  'frozen_graph.portable_depthwise_conv2d': 'deeplab.depthwise',
  'inference.PREVIOUS_NAMES': 'the state has names: inference.contract.State',
  'inference.STATE_NAMES': 'the state has names: inference.contract.State',
  'inference.mean_confidence': 'inference.confidence',
  'model.network_size': 'model.geometry.FrameGeometry',
  'model.stride_4_size': 'model.geometry.FrameGeometry',
  'options.NEUTRAL_INPUTS': 'the type of the field',
  'options.PREVIOUS_FRAME_MATCHING': 'the type of the field',
  'options.PREVIOUS_PREDICTION': 'the type of the field',
  'schedule.POLICIES': 'the type of the field',
  'schedule.SLOW_START_KINDS': 'the type of the field',
  'segment.Results': 'runtime.results.Results, with other arguments',
  'segment.segment': 'runtime.segment_run.segment, with other arguments; segment_video for users',
  'serving.overlay_stream_route': 'serving.overlay_routes',
  'serving.sessions.confidence_text': 'serving.session.confidence_text',
  'serving.sessions.replica_of': 'serving.session.replica_of',
  'serving.version_folders.find_versions': 'serving.version_folders.versions_in',
  'tools.convert_to_tfrecord.CONVERTERS': 'datasets.sources.registry',
  'tools.evaluate_options.evaluate': 'tools.command_runs.run',
  'tools.serving_clients.DEMO': 'runtime.packaged_files',
  'tools.serving_clients.ROOT': 'runtime.packaged_files',
  'trainer.OPTIMIZERS': 'the type of the field',
  'training_data.KINDS': 'datasets.sources.registry',
  'training_data.SYNTHETIC_VIDEOS': 'datasets.sources.registry',
  'training_step.CLASSIFICATION_LOSSES': 'the type of the field',
}


def find(module: str, name: str, own: Callable[[str], Any] | None = None) -> Any:
  """What a name of a module of 0.1 stands for now.

  Args:
    module: key of MEMBERS.
    name: what stood in it.
    own: what the module of today answers for other names.

  Raises:
    AttributeError: it had no such name, or that is gone.
  """
  place = MEMBERS.get(module, {}).get(name)
  if place is None and own is not None:
    return own(name)
  if place is None:
    gone = GONE.get(f'{module}.{name}')
    raise AttributeError(
      f'module {module!r} has no attribute {name!r}' + (f'; see {gone}' if gone else '')
    )
  home, _, other = place.partition(':')
  return getattr(importlib.import_module(f'feelvos_tf.{home}'), other or name)
