"""Converts videos to shards of TFRecords: in parallel, resumable, with a manifest.

Every shard is a job of its own. A worker writes it under a temporary name, renames it, and leaves
a note `.<shard>.done.json` with counts and checksum; when all shards are done the notes become an
entry of manifest.json. So a run that was killed goes on with the shards that have no note, and
ends with the bytes of an undisturbed run: a shard depends on its list of videos only.
"""

from collections.abc import Callable
import hashlib
import json
import multiprocessing.queues
import os
import pathlib
import threading
from typing import Any

from feelvos_tf.datasets import worker_processes
from feelvos_tf.datasets.names import IMAGE_SUFFIXES
from feelvos_tf.datasets.tfrecord import shards as shards_lib
from feelvos_tf.datasets.tfrecord.planning import ConversionOptions
from feelvos_tf.datasets.tfrecord.planning import Shard
from feelvos_tf.datasets.video import VideoSource
from feelvos_tf.files import whole_file


class BadVideo(ValueError):
  """A video that cannot be converted; the message names it."""


def convert(
  shards: list[Shard],
  on_video: Callable[[int, str], None] = lambda frames, name: None,
  prepare: Callable[[], None] | None = None,
  todo: list[Shard] | None = None,
) -> dict:
  """Converts what is not converted yet and writes the manifest.

  Args:
    shards: what `planning.plan` returned.
    on_video: called in this process with (number of frames, name) for every video.
    prepare: called once in every process that converts; can be pickled.
    todo: what `pending` returned, which reads every finished shard and its sources; None asks it.

  Returns:
    The manifest's entry of the split.

  Raises:
    ValueError: a bad video with on_error 'fail', every video bad, or a folder that holds another
      conversion of this split.
    OSError: the folder cannot be written.
  """
  todo = pending(shards) if todo is None else todo
  workers = min(shards[0].options.num_workers or os.cpu_count() or 1, max(1, len(todo)))
  if workers == 1:
    if prepare is not None and todo:
      prepare()
    for shard in todo:
      convert_shard(shard, on_video)
  else:
    _convert_parallel(todo, workers, on_video, prepare)
  return finish(shards)


def pending(shards: list[Shard]) -> list[Shard]:
  """Prepares the output folder; returns the shards that still have to be written.

  A shard from which videos were skipped is written again, since they may have been mended; so is
  one whose files have other contents than those it was made of, or of whose videos a list says
  something else. A note next to each says that this conversion writes it, so that a file of another
  origin is told apart.

  Raises:
    ValueError: the folder holds another conversion of this split, or a file that no conversion of
      it wrote has the name of a shard.
  """
  options, folder = shards[0].options, pathlib.Path(shards[0].options.output_dir)
  folder.mkdir(parents=True, exist_ok=True)
  entry = shards_lib.read_manifest(folder).get('splits', {}).get(options.split)
  known = {p.name for shard in shards for p in (shard.path, shard.note_path)}
  pattern = f'{options.split}-?????-of-?????.tfrecord'
  strangers = [
    p.name
    for pattern in (pattern, shards_lib.note_name(pattern))
    for p in folder.glob(pattern)
    if p.name not in known
  ]
  done = {s: _read_note(s) for s in shards}
  others = [n for n in done.values() if n and n['fingerprint'] != shards[0].fingerprint]
  if strangers or others or (entry and entry['fingerprint'] != shards[0].fingerprint):
    raise ValueError(
      f'{folder}: holds another conversion of split {options.split!r} (other data '
      'or settings), expected an empty folder or the same conversion; choose '
      'another output folder or remove it'
    )
  for stale in folder.glob(f'{options.split}-?????-of-?????.tfrecord.*tmp'):  # Of version 0.1.
    stale.unlink()
  if entry:
    done = {s: n or _note_from_manifest(entry, s) for s, n in done.items()}
  todo = [s for s, note in done.items() if not _is_complete(s, note)]
  foreign = [
    s for s in todo if done[s] is None and os.path.lexists(s.path) and not s.note_path.is_file()
  ]
  if foreign:
    raise ValueError(
      f'{foreign[0].path}: a file that no conversion of this data wrote lies where a shard has to go; '
      'move it away or choose another output folder'
    )
  for shard in todo:
    if done[shard] is None:
      _write_json(shard.note_path, {'fingerprint': shard.fingerprint})
  return todo


def convert_shard(
  shard: Shard, on_video: Callable[[int, str], None] = lambda frames, name: None
) -> dict:
  """Writes one shard and its note; see `convert` for the errors. Returns the note."""
  import tensorflow as tf  # Here, so that planning and refusing start quickly.

  videos, skipped = [], []
  data = _data_of(shard)
  with whole_file.appearing(shard.path) as temporary:
    with tf.io.TFRecordWriter(str(temporary)) as writer:
      for source in shard.sources:
        try:
          record, summary = _encode(source, shard.options)
        except BadVideo as error:
          if shard.options.on_error == 'fail':
            raise
          skipped.append({'name': source.name, 'reason': str(error)})
          on_video(0, source.name)
          continue
        writer.write(record)
        videos.append(summary)
        on_video(summary['frames'], source.name)
    note = {
      'fingerprint': shard.fingerprint,
      'shard': {
        'name': shard.path.name,
        'bytes': temporary.stat().st_size,
        'sha256': shards_lib.file_sha256(temporary),
        'videos': len(videos),
        'frames': sum(v['frames'] for v in videos),
        'data': data,
      },
      'videos': videos,
      'skipped': skipped,
    }
  _write_json(shard.note_path, note)
  return note


def leave_error(shard: Shard, error: BadVideo) -> None:
  """Lets `finish` say why a shard is missing, for workers on other machines."""
  _write_json(shard.note_path, {'fingerprint': shard.fingerprint, 'error': str(error)})


def finish(shards: list[Shard]) -> dict:
  """Turns the notes of all shards into an entry of manifest.json; returns the entry.

  Raises:
    ValueError: a shard is not done, or every video was bad.
  """
  options, folder = shards[0].options, pathlib.Path(shards[0].options.output_dir)
  manifest = shards_lib.read_manifest(folder)
  old = manifest.get('splits', {}).get(options.split)
  notes = [_read_note(s) or (old and _note_from_manifest(old, s)) for s in shards]
  for shard, note in zip(shards, notes, strict=True):
    if note and 'error' in note:
      shard.note_path.unlink()
      raise BadVideo(note['error'])
  done = [note for note in notes if note and 'shard' in note]
  missing = len(notes) - len(done)
  if missing:
    raise ValueError(f'{folder}: {missing} shards are not written; run the conversion again')
  videos = [v for n in done for v in n['videos']]
  skipped = [v for n in done for v in n['skipped']]
  if not videos:
    raise ValueError(
      f'split {options.split!r}: all {len(skipped)} videos are bad; the first: '
      f'{skipped[0]["reason"]}'
    )
  entry = {
    'fingerprint': shards[0].fingerprint,
    'dataset': options.dataset,
    'num_videos': len(videos),
    'num_frames': sum(v['frames'] for v in videos),
    'num_masks': sum(v['masks'] for v in videos),
    'num_objects': sum(len(v['objects']) for v in videos),
    'shards': [n['shard'] for n in done],
    'videos': videos,
    'skipped': skipped,
  }
  manifest['format'] = shards_lib.MANIFEST_FORMAT
  manifest.setdefault('splits', {})[options.split] = entry
  manifest['splits'] = dict(sorted(manifest['splits'].items()))
  _write_json(folder / shards_lib.MANIFEST, manifest)
  for shard in shards:
    shard.note_path.unlink(missing_ok=True)
  return entry


def _encode(source: VideoSource, options: ConversionOptions) -> tuple[bytes, dict[str, Any]]:
  """(record, summary); every reason why a video is bad becomes a BadVideo with its name."""
  from feelvos_tf.datasets.tfrecord import (
    schema,  # Imports TensorFlow, which planning can do without.
  )

  try:
    video = source.opener()
    return schema.encode_video(
      video, source.required_masks, options.allow_void, options.jpeg_quality
    )
  except (ValueError, OSError) as error:
    if whole_file.is_no_room(error):
      raise
    raise BadVideo(f'video {source.name}: {error}') from error


def _convert_parallel(
  shards: list[Shard],
  workers: int,
  on_video: Callable[[int, str], None],
  prepare: Callable[[], None] | None,
) -> None:
  reports = worker_processes.CONTEXT.Queue()
  listener = threading.Thread(target=_listen, args=(reports, on_video), daemon=True)
  listener.start()
  try:
    # An end in between leaves no shard half written, only temporary files.
    for _ in worker_processes.finished(
      _work,
      shards,
      workers,
      'run again with fewer (--num_workers): finished shards are kept',
      _start_worker,
      (reports, prepare),
    ):
      pass
  finally:
    reports.put(None)
    listener.join(timeout=5)


def _listen(reports: multiprocessing.queues.Queue, on_video: Callable[[int, str], None]) -> None:
  for frames, name in iter(reports.get, None):
    on_video(frames, name)


_REPORTS: multiprocessing.queues.Queue | None = None  # The queue of a worker process.


def _start_worker(
  reports: multiprocessing.queues.Queue, prepare: Callable[[], None] | None
) -> None:
  global _REPORTS
  _REPORTS = reports
  if prepare is not None:
    prepare()


def _work(shard: Shard) -> None:
  convert_shard(shard, _report)


def _report(frames: int, name: str) -> None:
  if _REPORTS is not None:
    _REPORTS.put((frames, name))


def _read_note(shard: Shard) -> dict[str, Any] | None:
  try:
    note = json.loads(shard.note_path.read_text())
  except (OSError, ValueError):
    return None  # Not there, or cut off by a crash: the shard is written again.
  return note if isinstance(note, dict) and 'fingerprint' in note else None


def _note_from_manifest(entry: dict[str, Any], shard: Shard) -> dict[str, Any] | None:
  """The note that `finish` has merged into the manifest."""
  names = {s.name for s in shard.sources}
  return {
    'fingerprint': entry['fingerprint'],
    'shard': entry['shards'][shard.index],
    'videos': [v for v in entry['videos'] if v['name'] in names],
    'skipped': [v for v in entry['skipped'] if v['name'] in names],
  }


def _is_complete(shard: Shard, note: dict[str, Any] | None) -> bool:
  return bool(
    note
    and not note.get('skipped')
    and 'shard' in note
    and shard.path.is_file()
    and shard.path.stat().st_size == note['shard']['bytes']
    and shards_lib.file_sha256(shard.path) == note['shard']['sha256']
    # Versions before 0.2 did not note it.
    and ('data' not in note['shard'] or note['shard']['data'] == _data_of(shard))
  )


def _data_of(shard: Shard) -> str:
  """Hash of the names and contents of all files that a shard is made of, and of what lists say."""
  found = []
  for source in shard.sources:
    found += [[source.name, source.listed]] if source.listed else []
    for path in (source.frames, source.masks, *source.files):
      if path is None or not path.exists():
        continue
      inside = [path]
      if path.is_dir():
        inside = [p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
      for file in sorted(p for p in inside if not p.name.startswith('.')):
        found.append([source.name, file.name, _sha256(file)])
  return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def _sha256(path: pathlib.Path) -> str:
  """Hash of a file's content; '' if it cannot be read: encoding the video says so."""
  try:
    return shards_lib.file_sha256(path)
  except OSError as error:
    if whole_file.is_no_room(error):
      raise
    return ''


def _write_json(path: pathlib.Path, value: Any) -> None:
  whole_file.write_text(path, json.dumps(value, indent=1) + '\n')
