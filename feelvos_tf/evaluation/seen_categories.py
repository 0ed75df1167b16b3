"""Which objects of YouTube-VOS are of categories that its training split has: "seen"."""

from collections.abc import Callable
import os
import pathlib
from typing import Any

from feelvos_tf.datasets import names as names_lib


def load_seen(
  root: str | os.PathLike, train_meta: str | os.PathLike | None = None
) -> Callable[[str, int], bool] | None:
  """Which objects of a YouTube-VOS split are of categories seen in training.

  An object's entry in `meta.json` may say so itself (`"seen": true`); else its `"category"` is
  looked up among the categories of the training split.

  Args:
    root: folder of the split, with meta.json.
    train_meta: meta.json of the training split; by default `../train/meta.json` if it exists.

  Returns:
    Function (sequence name, object id) -> bool, which raises a ValueError for an object that
    meta.json does not list; None when the files do not say it for every listed object.

  Raises:
    ValueError: a meta.json that is damaged or not of YouTube-VOS.
  """
  meta = pathlib.Path(root) / 'meta.json'
  if not meta.is_file():
    return None
  train_meta = pathlib.Path(train_meta or pathlib.Path(root).parent / 'train' / 'meta.json')
  trained = set()
  if train_meta.is_file():
    trained = {entry.get('category') for _, _, entry in _meta_objects(train_meta)} - {None}
  table = {}
  for video, object_id, entry in _meta_objects(meta):
    if 'seen' in entry:
      table[video, object_id] = bool(entry['seen'])
    elif trained and 'category' in entry:
      table[video, object_id] = entry['category'] in trained
    else:
      return None
  own = {names_lib.composed(video): video for video, _ in table}

  def seen(video: str, object_id: int) -> bool:
    listed = (video, object_id) in table
    name = video if listed else own.get(names_lib.composed(video), video)
    if (name, object_id) not in table:
      raise ValueError(
        f'{meta}: object {object_id} of {video!r} is not listed, every object of '
        'the annotations expected'
      )
    return table[name, object_id]

  return seen


def _meta_objects(path: str | os.PathLike) -> list[tuple[str, int, dict[str, Any]]]:
  """(video, object id, entry) of a YouTube-VOS meta.json."""
  try:
    videos = names_lib.parse_json(names_lib.read_text(path))['videos']
    found = [
      (video, int(object_id), entry)
      for video, content in videos.items()
      for object_id, entry in content['objects'].items()
    ]
  except (ValueError, KeyError, TypeError, AttributeError):
    raise ValueError(
      f'{path}: not a YouTube-VOS meta file, {{"videos": {{name: {{"objects": {{id: ...}}}}}}}} '
      'expected'
    ) from None
  return found
