"""A kept frame that another thread replaces by the next one whenever it was set."""

from feelvos_tf.datasets.sources.last_frame import LastFrame


class InterleavedFrame(LastFrame):
  _kept_by_other = None

  def __init__(self, make):
    self._make = make
    super().__init__()

  @property
  def _kept(self):
    return self._kept_by_other

  @_kept.setter
  def _kept(self, value):
    self._kept_by_other = value if value is None else (value[0] + 1, self._make(value[0] + 1))
