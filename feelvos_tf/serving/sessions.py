"""Sessions: videos whose state stays on the server between two requests."""

import asyncio
import collections
from collections.abc import Callable, Collection, Coroutine, Sequence
import copy
import time
from typing import Any

import grpc
import numpy as np

from feelvos_tf.datasets import masks
from feelvos_tf.inference import merging
from feelvos_tf.inference.segmenter import SegmentedFrame
from feelvos_tf.inference.segmenter import VideoSegmenter
from feelvos_tf.saved_model import png_in_graph
from feelvos_tf.saved_model.exported_model import ExportedModel
from feelvos_tf.serving import errors
from feelvos_tf.serving import opinions
from feelvos_tf.serving import tracing
from feelvos_tf.serving.calls import Call
from feelvos_tf.serving.images import ImageDecoder
from feelvos_tf.serving.metrics import Metrics
from feelvos_tf.serving.model_store import ModelStore
from feelvos_tf.serving.options import ServingOptions
from feelvos_tf.serving.session import missing
from feelvos_tf.serving.session import SegmentedReply
from feelvos_tf.serving.session import Session
from feelvos_tf.serving.worker_pool import WorkerPool

_COMPRESS_LEVEL = 1  # A client waits for the mask.
_REMEMBERED = 10000  # Ids of expired sessions, to tell "expired" from "unknown".


class SessionStore:
  """All sessions of a server.

  Not for threads: its coroutines belong to one event loop, models run in the worker pool. A
  session is reached by its id only, and nothing of one is kept elsewhere: no reply can hold what
  belongs to another session.
  """

  def __init__(
    self,
    options: ServingOptions,
    models: ModelStore,
    workers: WorkerPool,
    decoder: ImageDecoder,
    metrics: Metrics,
    clock: Callable[[], float] = time.monotonic,
  ) -> None:
    """Args: `ServingOptions`, `ModelStore`, `WorkerPool`, `ImageDecoder`, `Metrics`, seconds."""
    self._options, self._models, self._workers = options, models, workers
    self._decoder, self._metrics, self._clock = decoder, metrics, clock
    self._sessions: dict[str, Session] = {}
    self._opening = 0
    self._expired: collections.OrderedDict[str, None] = collections.OrderedDict()
    self._running: set[asyncio.Future] = set()  # Tasks, so that they are not collected.
    metrics.watch_sessions(lambda: len(self._sessions), self.memory_bytes)

  def __len__(self) -> int:
    return len(self._sessions)

  def memory_bytes(self) -> int:
    """Bytes of the states of all sessions."""
    return sum(session.segmenter.memory_bytes for session in list(self._sessions.values()))

  async def create(
    self,
    name: str,
    number: int | None,
    frame: bytes,
    mask: bytes,
    call: Call | None = None,
    others: Sequence[tuple[bytes, bytes]] = (),
  ) -> Session:
    """Opens a session.

    Args:
      name: name of the model.
      number: its version; None: the newest.
      frame: bytes of a JPEG or PNG. mask: bytes of a PNG.
      others: (frame, mask) of further reference frames, see `VideoSegmenter.start`.
      call: `Call`; no session is left if that is over before it is open.

    Returns:
      `Session`.

    Raises:
      RequestError: unknown model, too many sessions, or why the call is over.
      ValueError, tf.errors.InvalidArgumentError: frame or mask are wrong.
    """

    def start(segmenter: VideoSegmenter, model: ExportedModel) -> np.ndarray:
      del model
      with tracing.span('decode'):
        given, image = self._decoder.mask(mask), self._decoder.frame(frame)
        palette = masks.DAVIS_PALETTE if given.palette is None else given.palette
        shown, known = [], set(given.object_ids)
        for other, its_mask in others:
          read = self._decoder.mask(its_mask, palette, known)
          shown.append((self._decoder.frame(other), read.ids))
          known.update(read.object_ids)
          if masks.holds_colours(its_mask) and read.palette is not None:
            palette = read.palette  # With the colours of its new objects.
      with tracing.span('model'):
        segmenter.start(image, given.ids, shown)
      self._check_objects(segmenter.object_ids or ())
      return palette

    return await self._shielded(self._open(name, number, start, 0, call))

  async def resume(
    self,
    name: str,
    number: int | None,
    state_bytes: bytes,
    frame_index: int = 0,
    call: Call | None = None,
  ) -> Session:
    """Opens a session with the state of another one or of `track_resume`; see `create`."""

    def start(segmenter: VideoSegmenter, model: ExportedModel) -> np.ndarray:
      self._decoder.check_state(state_bytes)
      snapshot, chunk = model.restore(state_bytes)
      # Again, for states of a version that only their model knows.
      self._decoder.check_size(*snapshot.size, 'state')
      segmenter.restore(snapshot)
      self._check_objects(segmenter.object_ids or ())
      return png_in_graph.palette_of_chunk(chunk)

    return await self._shielded(self._open(name, number, start, frame_index, call))

  def get(self, session_id: str) -> Session:
    """The session of an id; it counts as used.

    Raises:
      RequestError: 410 if it expired, 404 if there never was one or it was closed.
    """
    session = self._sessions.get(session_id)
    if session is not None:
      session.last_used = self._clock()
      return session
    raise missing(session_id, session_id in self._expired, self._options)

  def idle_seconds(self, session_id: str) -> float:
    """Seconds since a session was used; does not count as use."""
    session = self._sessions.get(session_id)
    return 0.0 if session is None else self._clock() - session.last_used

  async def step(self, session: Session, frame: bytes, call: Call | None = None) -> SegmentedReply:
    """Segments the next frame of a session.

    Args:
      session: `Session`.
      frame: bytes of a JPEG or PNG.
      call: `Call`; the frame is not taken if that is over before it begins.

    Returns:
      `SegmentedReply`.
    """

    return await self._use(session, lambda: self._reply(session, frame), call)

  async def opinion(self, session: Session, frame: bytes, call: Call | None = None) -> bytes:
    """Segments the next frame; `opinions.pack` of what the model says of it, and no mask."""

    def run() -> bytes:
      result = self._segment(session, self._decoder.frame(frame))
      return opinions.pack(merging.opinion_of(result))

    return await self._use(session, run, call)

  async def merge(
    self,
    session: Session,
    given: tuple[bytes, bytes],
    share: float,
    trust: tuple[dict[int, float], dict[int, float]],
    call: Call | None = None,
  ) -> SegmentedReply:
    """Merges the opinions of two runs on a frame, see `merging.merge`; the model is not run.

    Args:
      session: `Session` of frames of the same size.
      given: bytes of `opinion` on this frame, by sessions that come from the mask before and from
        the mask behind.
      share: float, place of the frame between the masks.
      trust: in these sessions, see `merging.trusts`.
      call: `Call`, as of `step`.

    Returns:
      `SegmentedReply`.
    """

    def run() -> SegmentedReply:
      before, behind = (opinions.unpack(d, n) for d, n in zip(given, ('before', 'behind')))
      if before.logs.shape[1:] != behind.logs.shape[1:]:
        raise errors.invalid('before and behind are of frames of different sizes.')
      self._check_objects({*before.object_ids, *behind.object_ids})
      size = session.segmenter.size or (0, 0)
      result = merging.merge(size, before, behind, share, trust)
      return self._encoded(session, result)

    return await self._use(session, run, call)

  def _reply(self, session: Session, frame: bytes) -> SegmentedReply:
    """`SegmentedReply` of the next frame."""
    with self._metrics.frame_seconds.time():
      with tracing.span('decode'):
        image = self._decoder.frame(frame)
      return self._encoded(session, self._segment(session, image))

  def _encoded(self, session: Session, result: SegmentedFrame) -> SegmentedReply:
    with tracing.span('encode'):
      png = masks.encode_mask(result.mask, session.palette, _COMPRESS_LEVEL)
    return SegmentedReply(png, session.frame_index, result.object_ids, result.confidence)

  def _segment(self, session: Session, image: np.ndarray) -> SegmentedFrame:
    with self._metrics.segment_seconds.time(), tracing.span('model'):
      result = session.segmenter.step(image)
    session.frame_index += 1
    return result

  def _decoded(
    self, session: Session, frame: bytes, mask: bytes, own: bool
  ) -> tuple[np.ndarray, masks.Mask]:
    """(image, mask) of a frame of a session: colours that it knows are its objects.

    `own`: a session predicted the mask.
    """
    known = session.segmenter.object_ids or ()
    given = self._decoder.mask(mask, session.palette, known, own)
    return self._decoder.frame(frame), given

  def _check_objects(self, ids: Collection[int]) -> None:
    if len(ids) - 1 > self._options.max_objects:
      raise errors.invalid(
        f'{len(ids) - 1} objects with those of all masks, at most {self._options.max_objects} are '
        'taken.'
      )

  async def correct(
    self,
    session: Session,
    frame: bytes,
    mask: bytes,
    frame_index: int | None = None,
    remove: Sequence[int] = (),
    only_adds: bool = False,
    call: Call | None = None,
  ) -> dict[str, Any]:
    """Takes the right mask of a frame (both bytes), see `VideoSegmenter.correct` and `step`.

    `remove`: ids of objects that are followed no longer. `only_adds`: the mask is that of `step`
    with new objects.

    Returns:
      `Session.describe()` after it.
    """

    def run() -> dict[str, Any]:
      with tracing.span('decode'):
        image, given = self._decoded(session, frame, mask, own=only_adds)
      known = session.segmenter.object_ids or ()
      self._check_objects({*known, *given.object_ids} - set(remove))
      segmenter = copy.copy(session.segmenter)  # The session's, if there is room for its state.
      with tracing.span('model'):
        segmenter.correct(image, given.ids, remove, only_adds)
      self._check_memory(segmenter.memory_bytes, session.segmenter.memory_bytes)
      session.segmenter = segmenter
      if given.palette is not None:
        session.palette = given.palette
      if frame_index is not None:
        session.frame_index = frame_index
      return session.describe()

    return await self._use(session, run, call)

  async def remember(
    self,
    session: Session,
    frame: bytes,
    mask: bytes,
    frame_index: int | None = None,
    call: Call | None = None,
  ) -> dict[str, Any]:
    """Goes on after a frame as if it had just been predicted so, see `VideoSegmenter.remember`.

    Args as of `correct`; returns `Session.describe()` after it.
    """
    if not session.segmenter.remembers_masks:
      raise errors.invalid('the model remembers more of a frame than its mask.')

    def run() -> dict[str, Any]:
      with tracing.span('decode'):
        image, given = self._decoded(session, frame, mask, own=True)
      with tracing.span('model'):
        session.segmenter.remember(image, given.ids)
      if frame_index is not None:
        session.frame_index = frame_index
      return session.describe()

    return await self._use(session, run, call)

  async def state(self, session: Session, call: Call | None = None) -> bytes:
    """State bytes of a session; `call` as of `step`."""
    return await self._use(
      session,
      lambda: session.lease.version.loaded.save(
        session.segmenter.snapshot(), png_in_graph.palette_chunk(session.palette)
      ),
      call,
    )

  async def close(self, session: Session) -> None:
    """Closes a session after what runs in it."""
    async with session.lock:
      self._forget(session)

  def evict_idle(self) -> int:
    """Closes sessions that were not used for too long; returns their number."""
    oldest = self._clock() - self._options.idle_seconds
    idle = [
      session
      for session in self._sessions.values()
      if session.last_used < oldest and not session.lock.locked()
    ]
    for session in idle:
      self._forget(session)
      self._expired[session.id] = None
      while len(self._expired) > _REMEMBERED:
        self._expired.popitem(last=False)
    self._metrics.sessions_expired.inc(len(idle))
    return len(idle)

  async def close_all(self) -> None:
    """Closes all sessions, each after what runs in it."""
    for session in list(self._sessions.values()):
      await self.close(session)

  async def _open(
    self,
    name: str,
    number: int | None,
    start: Callable[[VideoSegmenter, ExportedModel], np.ndarray],
    frame_index: int,
    call: Call | None,
  ) -> Session:
    self._check_room()
    lease = self._models.lease(name, number)
    self._opening += 1
    try:
      model = lease.version.loaded
      if not model.keeps_state:
        raise errors.invalid(
          f'model {name} has no signatures for sessions; write it with feelvos export.'
        )
      segmenter = VideoSegmenter(model)
      palette = await self._workers.run(start, segmenter, model, call=call)
      if call is not None:
        call.check()
      self._check_memory(segmenter.memory_bytes)
    except BaseException:
      lease.release()
      raise
    finally:
      self._opening -= 1
    session = Session(lease, segmenter, palette, frame_index, self._clock(), self._options.replica)
    self._sessions[session.id] = session
    self._metrics.sessions_opened.inc()
    return session

  def _check_memory(self, needed: int, held: int = 0) -> None:
    """Refuses a state of `needed` bytes in the place of one of `held`."""
    used = self.memory_bytes() + needed - held
    if needed > held and used > self._options.max_state_bytes:
      raise errors.RequestError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f'the states of {len(self)} sessions take {used} bytes with this request, at most '
        f'{self._options.max_state_bytes} are allowed; close one, or send smaller frames.',
      )

  def _check_room(self) -> None:
    if len(self._sessions) + self._opening >= self._options.max_sessions:
      self.evict_idle()
    if len(self._sessions) + self._opening >= self._options.max_sessions:
      raise errors.RequestError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f'{self._options.max_sessions} sessions are open, no more are allowed; close one, or '
        'wait until an unused one expires.',
      )

  async def _use(self, session: Session, function: Callable[[], Any], call: Call | None) -> Any:
    """Result of a function that runs in the pool while nothing else uses the session."""

    async def run() -> Any:
      async with session.lock:
        if not session.open:
          self.get(session.id)  # Raises.
        try:
          return await self._workers.run(function, call=call)
        finally:
          session.last_used = self._clock()

    return await self._shielded(run())

  async def _shielded(self, coroutine: Coroutine) -> Any:
    """Awaits it; it goes on to its end, and lets go of locks, if the caller is cancelled."""
    task = asyncio.ensure_future(coroutine)
    self._running.add(task)
    task.add_done_callback(self._running.discard)
    return await asyncio.shield(task)

  def _forget(self, session: Session) -> None:
    if self._sessions.pop(session.id, None) is not None:
      session.open = False
      session.lease.release()
