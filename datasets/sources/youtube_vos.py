"""YouTube-VOS 2018 and 2019 as they are downloaded.

Layout: `<split>/JPEGImages/<video>/00000.jpg`, `<split>/Annotations/<video>/00000.png` and
`<split>/meta.json`. Both years look the same; 2019 has other videos and mended masks. Masks exist
on every fifth frame; `<split>_all_frames/JPEGImages` has the frames between. Objects may appear
later than the first frame: meta.json lists the frames of every object, and in the valid and test
splits the masks of an object's first frame are all that is given.
"""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import functools
import json
import os
import pathlib
from typing import Any

from feelvos_tf.datasets import data_warning
from feelvos_tf.datasets import masks as masks_lib
from feelvos_tf.datasets import names as names_lib
from feelvos_tf.datasets import object_ids
from feelvos_tf.datasets.sources.folder import FolderVideo
from feelvos_tf.datasets.sources.folder import masks_of_data_set
from feelvos_tf.datasets.video import list_images
from feelvos_tf.datasets.video import Video
from feelvos_tf.datasets.video import VideoSource

YEARS = ('2018', '2019')


@dataclasses.dataclass(frozen=True)
class VosObject:
  """One object of a video in meta.json.

  Attributes:
    object_id: the id in the masks; 255 is void.
    category: name such as 'penguin'; '' if the split does not say.
    frames: names of the frames that show it, in order of time.
  """

  object_id: int
  category: str
  frames: tuple[str, ...]


class YoutubeVosVideo(FolderVideo):
  """A FolderVideo that knows its objects; `object_first_frames` is set."""

  def __init__(
    self,
    name: str,
    frame_paths: Iterable[str | os.PathLike],
    mask_paths: Mapping[int, str | os.PathLike],
    objects: Sequence[VosObject],
  ) -> None:
    """Args: see FolderVideo; `objects` is a list of VosObject.

    Raises:
      ValueError: an object is never shown, or meta.json and files disagree.
    """
    super().__init__(name, frame_paths, mask_paths)
    self.objects = tuple(objects)
    index_of = {n: i for i, n in enumerate(self.frame_names)}
    self.object_first_frames = {}
    self._has_warned = False
    for item in self.objects:
      if not item.frames or item.frames[0] not in index_of:
        frame = item.frames[0] if item.frames else 'no frame'
        raise ValueError(
          f'{name}: meta.json introduces object {item.object_id} on {frame}, which '
          'is not among the frames; check that the download is complete'
        )
      first = index_of[item.frames[0]]
      if first not in self.mask_paths:
        raise ValueError(
          f'{name}: no mask for frame {item.frames[0]}, expected one since '
          f'meta.json introduces object {item.object_id} there'
        )
      self.object_first_frames[item.object_id] = first

  def mask(self, index: int) -> masks_lib.Mask | None:
    """As of FolderVideo; warns once of an object that meta.json does not list."""
    mask = super().mask(index)
    known = {item.object_id for item in self.objects}
    unknown = set(mask.object_ids if mask else ()) - known
    if unknown and not self._has_warned:
      self._has_warned = True
      listed = ', '.join(map(str, sorted(known)))
      data_warning.warn(
        f'{self.mask_paths[index]}: object {min(unknown)}, which meta.json does not list among those '
        f'of {self.name} ({listed}); taken as an object, from the first mask that holds it'
      )
    return mask


def youtube_vos_videos(
  root: str | os.PathLike,
  split: str = 'train',
  all_frames: bool = False,
  sequences: Sequence[str] | None = None,
) -> list[Video]:
  """The videos of a split; arguments and errors as for `youtube_vos_sources`."""
  return [s.opener() for s in youtube_vos_sources(root, split, all_frames, sequences)]


def youtube_vos_sources(
  root: str | os.PathLike,
  split: str = 'train',
  all_frames: bool = False,
  sequences: Sequence[str] | None = None,
) -> list[VideoSource]:
  """The videos of a YouTube-VOS split, in the order of their names.

  Args:
    root: folder that holds `<split>/meta.json`.
    split: train, valid or test.
    all_frames: take the frames of `<split>_all_frames`, most of which have no mask.
    sequences: names to keep; None for all.

  Returns:
    A list of VideoSource that open YoutubeVosVideo.

  Raises:
    FileNotFoundError: no such split or no meta.json.
    ValueError: meta.json cannot be understood, the split is empty, or a sequence is unknown.
  """
  folder = pathlib.Path(root) / split
  videos = read_meta(folder / 'meta.json')
  asked = sorted(videos) if sequences is None else list(sequences)
  known = names_lib.spelled(asked, videos)
  unknown = [n for n in asked if n not in known]
  if unknown:
    raise ValueError(
      f'sequence {unknown[0]!r} given, expected one of the {len(videos)} of {folder / "meta.json"}'
    )
  names = [known[n] for n in asked]
  if not names:
    raise ValueError(f'{folder / "meta.json"}: an empty split given, expected videos')
  frames = pathlib.Path(root) / f'{split}_all_frames' if all_frames else folder
  return [
    VideoSource(
      name,
      functools.partial(_open, folder, frames, name, videos[name]),
      'some',
      names_lib.place_of(frames / 'JPEGImages', name),
      names_lib.place_of(folder / 'Annotations', name),
      listed=json.dumps([(o.object_id, o.frames[:1]) for o in videos[name]]),
    )
    for name in names
  ]


def read_meta(path: str | os.PathLike) -> dict[str, tuple[VosObject, ...]]:
  """Reads meta.json: dict from video name to its VosObjects, sorted by id.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is not a meta.json of YouTube-VOS, or an id is no object id.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(
      f'{path}: no such file; expected the root of YouTube-VOS with '
      '<split>/meta.json, <split>/JPEGImages and <split>/Annotations'
    )
  try:
    content = names_lib.parse_json(names_lib.read_text(path))['videos']
    videos = {
      name: tuple(
        sorted(
          (_parse_object(*item) for item in video['objects'].items()), key=lambda o: o.object_id
        )
      )
      for name, video in content.items()
    }
  except (KeyError, TypeError, AttributeError, ValueError) as error:
    raise ValueError(
      f'{path}: not a meta.json of YouTube-VOS ({error!r}), expected '
      '{"videos": {name: {"objects": {id: {"category", "frames"}}}}}'
    ) from error
  for name, objects in videos.items():
    names_lib.check_name(name, str(path))
    bad = [
      o.object_id
      for o in objects
      if o.object_id == object_ids.VOID_ID or not object_ids.is_object_id(o.object_id)
    ]
    if bad:
      raise ValueError(
        f'{path}: video {name} has an object id {bad[0]}, expected {object_ids.DATA_SET_IDS}'
      )
  return videos


def _parse_object(object_id: str, entry: dict[str, Any]) -> VosObject:
  frames = tuple(sorted((str(f) for f in entry['frames']), key=names_lib.natural_key))
  return VosObject(int(object_id), str(entry.get('category', '')), frames)


def _open(
  folder: pathlib.Path, frame_folder: pathlib.Path, name: str, objects: Sequence[VosObject]
) -> YoutubeVosVideo:
  frames = list_images(names_lib.place_of(frame_folder / 'JPEGImages', name))
  if not frames:
    raise ValueError(f'{frame_folder / "JPEGImages" / name}: a video of 0 frames given')
  annotations = names_lib.place_of(folder / 'Annotations', name)
  if not annotations.is_dir():
    raise FileNotFoundError(f'{annotations}: no such folder; expected the masks of {name}')
  masks = masks_of_data_set(frames, annotations)
  return YoutubeVosVideo(name, frames, masks, objects)
