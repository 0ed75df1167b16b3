"""Models and versions in folders. Without TensorFlow: a wrong folder is reported at once."""

from collections.abc import Callable, Collection
import dataclasses
import os
import pathlib

from feelvos_tf.datasets import names as names_lib

_LARGEST_VERSION = 2**63 - 1


@dataclasses.dataclass(frozen=True)
class ServedModel:
  """A model to serve, and which of its versions.

  Attributes:
    name: name in requests.
    folder: where its <version>/ folders are.
    latest: number of newest versions to serve; 0 serves `versions`.
    versions: numbers to serve where they exist; with `latest` 0 and none of them, all are served.
    labels: (label, number) pairs, names for versions.
  """

  name: str
  folder: pathlib.Path
  latest: int = 1
  versions: tuple[int, ...] = ()
  labels: tuple[tuple[str, int], ...] = ()

  def candidates(self, numbers: Collection[int]) -> list[int]:
    """The versions that may be served, newest first, of those that exist."""
    wanted = numbers if self.latest or not self.versions else set(numbers) & set(self.versions)
    return sorted(wanted, reverse=True)


def find_models(
  model_dir: str | os.PathLike,
  on_unread: Callable[[pathlib.Path, OSError], object] = lambda folder, error: None,
) -> list[ServedModel]:
  """Models below a folder, of each the newest version; folders that cannot be read are no models.

  Args:
    model_dir: folder of <name>/<version>/saved_model.pb, or one <name> folder.
    on_unread: called with each folder that cannot be read, and why.

  Raises:
    ValueError: there is no such folder, or no version in it.
  """
  root = pathlib.Path(model_dir).resolve()
  if not root.is_dir():
    raise ValueError(names_lib.missing(model_dir, 'folder', 'write one with feelvos export.'))
  if versions_in(root):
    return [ServedModel(root.name, root)]
  folders, unread = [], []
  for folder in sorted(root.iterdir()):
    try:
      if versions_in(folder):
        folders.append(folder)
    except OSError as error:  # As the `lost+found` of a disk.
      unread.append(folder.name)
      on_unread(folder, error)
  if not folders:
    others = f' ({", ".join(unread)} cannot be read)' if unread else ''
    raise ValueError(
      f'{model_dir}: no <name>/<version>/saved_model.pb in it{others}; write one with '
      'feelvos export --output_dir.'
    )
  return [ServedModel(folder.name, folder) for folder in folders]


def versions_in(folder: pathlib.Path) -> dict[int, pathlib.Path]:
  """Path of every version of a model by its number; empty if there is no such folder."""
  if not folder.is_dir():
    return {}
  return {
    int(path.name): path
    for path in folder.iterdir()
    if path.name.isascii()
    and path.name.isdecimal()
    and int(path.name) <= _LARGEST_VERSION
    and (path / 'saved_model.pb').is_file()
  }


def fingerprint(folder: pathlib.Path) -> tuple:
  """Names, sizes and times of all files of a version: another one when it has changed."""
  found = []
  for path in sorted(folder.rglob('*')):
    try:
      status = path.stat()
    except OSError:  # Gone meanwhile.
      continue
    found.append((str(path.relative_to(folder)), status.st_size, status.st_mtime_ns))
  return tuple(found)
