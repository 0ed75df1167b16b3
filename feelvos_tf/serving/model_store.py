"""Models and their versions: found in a folder, loaded, handed out, replaced, let go."""

import collections
from collections.abc import Callable, Collection, Iterator
import contextlib
import gc
import logging
import os
import pathlib
import threading
import time

import grpc

from feelvos_tf.saved_model import exported_model
from feelvos_tf.saved_model import version_folder
from feelvos_tf.serving import errors
from feelvos_tf.serving import version_folders
from feelvos_tf.serving import warmup

# States of a version, named as TensorFlow Serving names them.
LOADING, AVAILABLE, UNLOADING, END = 'LOADING', 'AVAILABLE', 'UNLOADING', 'END'
_log = logging.getLogger(__name__)


class Version:
  """One version of a model.

  Attributes:
    name: str. number: int. folder: path.
    state: one of the constants above. UNLOADING is served to those who still hold a lease.
    error: str, why it could not be loaded; '' otherwise.
    model: `ExportedModel`; None unless it is loaded.
    tries: how often loading was tried.
    speed: preset of `inference.speed` that it was exported for; None if it does not say.
  """

  def __init__(self, name: str, number: int, folder: pathlib.Path, tries: int = 0) -> None:
    self.name, self.number, self.folder = name, number, folder
    self.state, self.error = LOADING, ''
    self.model: exported_model.ExportedModel | None = None
    self.speed = version_folder.read_description(folder).get('speed')
    self.leases, self.tries = 0, tries + 1
    self.next_try = 0.0
    # Of its files before the last try, and when they were last looked at.
    self.tried = self.seen = version_folders.fingerprint(folder)

  @property
  def loaded(self) -> exported_model.ExportedModel:
    """The model of a version that somebody holds a lease of.

    Raises:
      RequestError: UNAVAILABLE, it is not loaded.
    """
    if self.model is None:
      raise errors.RequestError(
        grpc.StatusCode.UNAVAILABLE, f'{self.name} version {self.number} is not loaded.'
      )
    return self.model


class Lease:
  """The right to use a version; it stays loaded until `release`, which may be called twice."""

  def __init__(self, version: Version, release: Callable[[], None]) -> None:
    self.version = version
    self._release: Callable[[], None] | None = release

  def release(self) -> None:
    """Gives the version back; the last one of an old version unloads it."""
    release, self._release = self._release, None
    if release is not None:
      release()


class ModelStore:
  """Keeps the wanted versions of every model loaded.

  A new version is loaded next to the old one, then takes over. The old one stays for those
  who hold a `Lease` (sessions, running requests) and is unloaded with the last of them. A version
  that cannot be loaded is reported, the newest that can is served, and loading is tried again: some
  times, and whenever the files of the version have changed.

  Attributes:
    load_attempts: number of tries to load, by (folder of the version, whether it succeeded).
    load_seconds: time that loading took, warm-up left out, by folder.
  """

  def __init__(
    self,
    model_dir: str | os.PathLike | None,
    warm_up: bool = True,
    retries: int = 5,
    retry_seconds: float = 60.0,
    clock: Callable[[], float] = time.monotonic,
    models: list[version_folders.ServedModel] | None = None,
  ) -> None:
    """Loads nothing yet.

    Args:
      model_dir: see `find_models`; looked at again in every `refresh`.
      warm_up: whether to replay warm-up requests.
      retries: how often loading a version is tried again.
      retry_seconds: time between two tries.
      clock: function that gives seconds.
      models: list of `ServedModel` to serve instead of those in `model_dir`.
    """
    self._model_dir, self._configured = model_dir, models
    self._warm_up = warm_up
    self._retries, self._retry_seconds, self._clock = retries, retry_seconds, clock
    self.load_attempts: collections.Counter[tuple[str, bool]] = collections.Counter()
    self.load_seconds: dict[str, float] = collections.defaultdict(float)
    self._lock = threading.Lock()
    self._refreshing = threading.Lock()
    # By name and number, with those that ended.
    self._versions: dict[str, dict[int, Version]] = {}
    self._labels: dict[str, dict[str, int]] = {}  # Numbers by name and label.
    self._unread: dict[pathlib.Path, str] = {}  # Why, of folders that could not be read.

  def load(self) -> None:
    """Loads what is wanted; call it once.

    Raises:
      ValueError: no model, or none that can be loaded.
    """
    with self._refreshing:
      wanted = self._wanted()
      self._update(wanted)
    for model in wanted:
      if model.name not in self._versions:
        _log.warning('%s is not served: no version in %s', model.name, model.folder)
    if not self.names():
      reasons = [v.error for numbers in self._versions.values() for v in numbers.values()]
      reasons += [f'{folder}: {reason}' for folder, reason in self._unread.items()]
      raise ValueError('; '.join(reasons) or 'no version of any model was found.')

  def refresh(self) -> list[Version]:
    """Looks for new versions and loads them; returns the versions that took over."""
    with self._refreshing:
      try:
        return self._update(self._wanted())
      except ValueError:  # Everything gone: what is loaded goes on.
        return []

  def configure(self, models: list[version_folders.ServedModel]) -> list[Version]:
    """Serves a list of `ServedModel` from now on; returns the versions that were loaded for it."""
    with self._refreshing:
      self._configured = models
      return self._update(models)

  def names(self) -> dict[str, int]:
    """dict of model name to the number of the newest version that is served."""
    return {name: numbers[0] for name, numbers in self.served().items()}

  def served(self) -> dict[str, list[int]]:
    """dict of model name to the numbers of the versions that are served, newest first."""
    with self._lock:
      found = {name: self._available(name) for name in sorted(self._versions)}
    return {name: [version.number for version in those] for name, those in found.items() if those}

  def speeds(self) -> dict[str, str | None]:
    """dict of model name to the preset its newest version was exported for; None: not stated."""
    with self._lock:
      newest = {name: self._available(name)[:1] for name in sorted(self._versions)}
    return {name: versions[0].speed for name, versions in newest.items() if versions}

  def choose(self, speed: str | None, default_speed: str) -> str:
    """Name of the model for a request that names none.

    Args:
      speed: preset it asks for, or None. default_speed: preset to take where there are several.

    Raises:
      RequestError: no model, or more than one, is the right one.
    """
    speeds = self.speeds()
    names = [name for name in speeds if speeds[name] == speed] if speed else list(speeds)
    if not names:
      known = sorted({s for s in speeds.values() if s})
      raise errors.invalid(
        f'speed: no model of this server was exported for {speed}; its models were exported for '
        f'{", ".join(known) or "no speed that they name"}.'
      )
    if len(names) > 1:
      names = [name for name in names if speeds[name] == default_speed]
    if len(names) != 1:
      raise errors.invalid(
        f'this server has the models {", ".join(speeds)}; say which with the field model.'
      )
    return names[0]

  def status(self, name: str, number: int | None = None) -> list[Version]:
    """Versions of a model, newest first.

    Raises:
      RequestError: NOT_FOUND, in the words of TensorFlow Serving.
    """
    with self._lock:
      versions = self._versions.get(name, {})
      if number is not None and number not in versions:
        raise errors.RequestError(
          grpc.StatusCode.NOT_FOUND, f'Could not find version {number} of model {name}'
        )
      if not versions:
        raise errors.RequestError(
          grpc.StatusCode.NOT_FOUND, f'Could not find any versions of model {name}'
        )
      chosen = versions if number is None else {number: versions[number]}
      return [chosen[key] for key in sorted(chosen, reverse=True)]

  def labelled(self, name: str, label: str) -> int:
    """Number of the version of a model that has a label.

    Raises:
      RequestError: INVALID_ARGUMENT, in the words of TensorFlow Serving.
    """
    number = self._labels.get(name, {}).get(label)
    if number is None:
      raise errors.invalid(f'Unrecognized servable version label: {label}')
    return number

  def lease(self, name: str, number: int | None = None) -> Lease:
    """`Lease` of the served version of a model.

    Args:
      name: str.
      number: int, if it has to be this one.

    Raises:
      RequestError: NOT_FOUND, in the words of TensorFlow Serving.
    """
    with self._lock:
      served = self._available(name)
      version = next((v for v in served if number in (None, v.number)), None)
      if version is None:
        what = f'Latest({name})' if number is None else f'Specific({name}, {number})'
        raise errors.RequestError(
          grpc.StatusCode.NOT_FOUND, f'Servable not found for request: {what}'
        )
      version.leases += 1
    return Lease(version, lambda: self._give_back(version))

  @contextlib.contextmanager
  def leased(self, name: str, number: int | None = None) -> Iterator[Version]:
    """`lease` for the time of a block; yields the `Version`."""
    lease = self.lease(name, number)
    try:
      yield lease.version
    finally:
      lease.release()

  def _wanted(self) -> list[version_folders.ServedModel]:
    if self._configured is not None:
      return self._configured
    if self._model_dir is None:
      raise ValueError('neither a folder of models nor models given, expected one of them')
    return version_folders.find_models(self._model_dir, self._warn_of_unread)

  def _warn_of_unread(self, folder: pathlib.Path, error: OSError) -> None:
    """Once for each reason: all folders are looked at again in every `refresh`."""
    if self._unread.get(folder) != str(error):
      _log.warning('nothing new is served from %s: %s', folder, error)
    self._unread[folder] = str(error)

  def _update(self, models: list[version_folders.ServedModel]) -> list[Version]:
    """Loads and unloads until what is wanted is served; returns the versions that were loaded."""
    loaded = []
    for model in models:
      try:
        loaded += self._update_model(model)
      except OSError as error:  # What is loaded of it goes on.
        self._warn_of_unread(model.folder, error)
      served = self.served().get(model.name, ())
      self._labels[model.name] = {label: n for label, n in model.labels if n in served}
    if self._configured is not None:
      for name in set(self._versions) - {model.name for model in models}:
        self._keep_only(name, ())
    return loaded

  def _update_model(self, model: version_folders.ServedModel) -> list[Version]:
    folders = version_folders.versions_in(model.folder)
    served, loaded = [], []
    for number in model.candidates(folders):
      version = self._versions.get(model.name, {}).get(number)
      if version is None or version.state != AVAILABLE:
        if not self._is_due(version):
          continue
        version = self._load(model.name, number, folders[number])
        if version.error:
          continue
        loaded.append(version)
      served.append(number)
      if len(served) == model.latest:
        break
    if served:  # Else what is loaded goes on.
      self._keep_only(model.name, served)
    return loaded

  def _available(self, name: str) -> list[Version]:
    """Versions that are served, newest first."""
    versions = self._versions.get(name, {})
    numbers = sorted(versions, reverse=True)
    return [versions[number] for number in numbers if versions[number].state == AVAILABLE]

  def _is_due(self, version: Version | None) -> bool:
    """Whether to try to load a version: None, one that was unloaded, or one that failed."""
    if version is None or not version.error:
      return True
    now = version_folders.fingerprint(version.folder)
    if now != version.tried:
      # It was copied, or still is: only when nothing changes any more.
      version.tries, version.seen, settled = 0, now, now == version.seen
      return settled
    return version.tries <= self._retries and self._clock() >= version.next_try

  def _load(self, name: str, number: int, folder: pathlib.Path) -> Version:
    before = self._versions.get(name, {}).get(number)
    version = Version(name, number, folder, before.tries if before and before.error else 0)
    with self._lock:
      self._versions.setdefault(name, {})[number] = version
    try:
      model = self._read(folder)
      if self._warm_up:
        warmup.run(model, folder)
    except Exception as error:
      version.state, version.error = END, errors.one_line(error)
      version.next_try = self._clock() + self._retry_seconds
      _log.warning('%s version %d is not served: %s', name, number, version.error)
      return version
    with self._lock:
      version.model, version.state = model, AVAILABLE
    return version

  def _read(self, folder: pathlib.Path) -> exported_model.ExportedModel:
    begun, is_read = time.perf_counter(), False
    try:
      model = exported_model.ExportedModel(folder)
      is_read = True
      return model
    finally:
      self.load_attempts[str(folder), is_read] += 1
      self.load_seconds[str(folder)] += time.perf_counter() - begun

  def _keep_only(self, name: str, numbers: Collection[int]) -> None:
    """Unloads the served versions of a model that are not among these."""
    with self._lock:
      old = [version for version in self._available(name) if version.number not in numbers]
      for version in old:
        version.state = UNLOADING
    for version in old:
      self._unload_if_free(version)

  def _give_back(self, version: Version) -> None:
    with self._lock:
      version.leases -= 1
    self._unload_if_free(version)

  def _unload_if_free(self, version: Version) -> None:
    with self._lock:
      if version.state != UNLOADING or version.leases:
        return
      version.state, version.model = END, None
    gc.collect()  # Graphs hold themselves in circles.
