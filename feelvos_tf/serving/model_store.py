"""Models and their versions: found in a folder, loaded, handed out, replaced, let go."""

import contextlib
import gc
import logging
import threading

import grpc

from feelvos_tf.saved_model import exported_model
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
  """

  def __init__(self, name, number, folder):
    self.name, self.number, self.folder = name, number, folder
    self.state, self.error, self.model = LOADING, '', None
    self.leases = 0


class Lease:
  """The right to use a version; it stays loaded until `release`, which may be called twice."""

  def __init__(self, version, release):
    self.version = version
    self._release = release

  def release(self):
    """Gives the version back; the last one of an old version unloads it."""
    release, self._release = self._release, None
    if release is not None:
      release()


class ModelStore:
  """Keeps the highest version of every model loaded.

  A new version is loaded beside the old one and takes over at once. The old one stays for those
  who hold a `Lease` (sessions, running requests) and is unloaded with the last of them. Versions
  that cannot be loaded are reported and left aside.
  """

  def __init__(self, model_dir, warm_up=True):
    """Args: see `find_versions`; whether to replay warm-up requests. Loads nothing yet."""
    self._model_dir = model_dir
    self._warm_up = warm_up
    self._lock = threading.Lock()
    self._refreshing = threading.Lock()
    self._versions = {}  # Name to dict of number to Version, those that ended as well.

  def load(self):
    """Loads the highest version of every model; call it once.

    Raises:
      ValueError: no model, or one that cannot be loaded.
    """
    for name, numbers in version_folders.find_versions(self._model_dir).items():
      version = self._load(name, max(numbers), numbers[max(numbers)])
      if version.error:
        raise ValueError(version.error)

  def refresh(self):
    """Looks for new versions and loads them; returns the versions that took over."""
    with self._refreshing:
      try:
        found = version_folders.find_versions(self._model_dir)
      except ValueError:  # Everything gone: what is loaded goes on.
        return []
      loaded = []
      for name, numbers in found.items():
        number = max((n for n in numbers if not self._is_broken(name, n)), default=None)
        current = self._current(name)
        if number is not None and (current is None or number != current.number):
          version = self._load(name, number, numbers[number])
          if not version.error:
            loaded.append(version)
      return loaded

  def names(self):
    """dict of model name to the number of the version that is served."""
    with self._lock:
      served = (self._current(name) for name in sorted(self._versions))
      return {version.name: version.number for version in served if version}

  def status(self, name, number=None):
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

  def lease(self, name, number=None):
    """`Lease` of the served version of a model.

    Args:
      name: str.
      number: int, if it has to be this one.

    Raises:
      RequestError: NOT_FOUND, in the words of TensorFlow Serving.
    """
    with self._lock:
      version = self._current(name)
      if version is None or number not in (None, version.number):
        what = f'Latest({name})' if number is None else f'Specific({name}, {number})'
        raise errors.RequestError(
          grpc.StatusCode.NOT_FOUND, f'Servable not found for request: {what}'
        )
      version.leases += 1
    return Lease(version, lambda: self._give_back(version))

  @contextlib.contextmanager
  def leased(self, name, number=None):
    """`lease` for the time of a block; yields the `Version`."""
    lease = self.lease(name, number)
    try:
      yield lease.version
    finally:
      lease.release()

  def _current(self, name):
    return next(
      (version for version in self._versions.get(name, {}).values() if version.state == AVAILABLE),
      None,
    )

  def _is_broken(self, name, number):
    version = self._versions.get(name, {}).get(number)
    return version is not None and bool(version.error)

  def _load(self, name, number, folder):
    version = Version(name, number, folder)
    with self._lock:
      self._versions.setdefault(name, {})[number] = version
    try:
      version.model = exported_model.ExportedModel(folder)
      if self._warm_up:
        warmup.run(version.model, folder)
    except Exception as error:
      version.model, version.state, version.error = None, END, errors.one_line(error)
      _log.warning('%s version %d is not served: %s', name, number, version.error)
      return version
    with self._lock:
      old = self._current(name)
      version.state = AVAILABLE
      if old is not None:
        old.state = UNLOADING
    if old is not None:
      self._unload_if_free(old)
    return version

  def _give_back(self, version):
    with self._lock:
      version.leases -= 1
    self._unload_if_free(version)

  def _unload_if_free(self, version):
    with self._lock:
      if version.state != UNLOADING or version.leases:
        return
      version.state, version.model = END, None
    gc.collect()  # Graphs hold themselves in circles.
