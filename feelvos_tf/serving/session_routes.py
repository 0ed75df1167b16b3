"""Sessions over HTTP: open, send frames, correct, look, save, close."""

from collections.abc import Awaitable, Callable
import contextlib
import re
from typing import Any, TYPE_CHECKING

import fastapi
from starlette.datastructures import FormData
from starlette.datastructures import UploadFile

from feelvos_tf.inference.kept_references import MAX_REFERENCES
from feelvos_tf.serving import calls
from feelvos_tf.serving import described
from feelvos_tf.serving import errors
from feelvos_tf.serving import forms
from feelvos_tf.serving import sessions
from feelvos_tf.serving.model_store import ModelStore
from feelvos_tf.serving.session import confidence_text
from feelvos_tf.serving.session import SegmentedReply
from feelvos_tf.serving.session import Session

if TYPE_CHECKING:
  from feelvos_tf.serving.services import Services


_MOST_FIELD_BYTES = 4096
_MOST_PARTS = 8
_NUMBER = {'type': 'integer'}
_OPENING = described.form(
  ['frame', 'mask', 'state', 'other_frame', 'other_mask'],
  {'model': None, 'version': _NUMBER, 'speed': None, 'frame_index': _NUMBER},
  ['other_frame', 'other_mask'],
)
_CORRECTION = described.form(
  ['frame', 'mask'],
  {'frame_index': _NUMBER, 'remove': None, 'only_adds': _NUMBER},
  required=['frame', 'mask'],
)
_REMEMBERING = described.form(
  ['frame', 'mask'], {'frame_index': _NUMBER}, required=['frame', 'mask']
)
_MERGING = described.form(
  ['before', 'behind'],
  {
    'share': {'type': 'number', 'exclusiveMinimum': 0, 'exclusiveMaximum': 1},
    'before_trust': None,
    'behind_trust': None,
  },
  required=['before', 'behind', 'share'],
)


def build_router(services: 'Services') -> fastapi.APIRouter:
  """The routes below /v1/sessions; `services` is the server's `Services`."""
  router = fastapi.APIRouter(prefix='/v1/sessions')
  _add_life(router, services.sessions, services.models, services.options.speed)
  _add_frames(router, services.sessions)
  _add_both_directions(router, services.sessions)
  return router


def _add_life(
  router: fastapi.APIRouter, store: sessions.SessionStore, models: ModelStore, speed: str
) -> None:
  """Opening, looking at, saving and closing sessions."""

  @router.post('', status_code=201, response_model=None, openapi_extra=_OPENING)
  async def open_session(request: fastapi.Request) -> dict[str, Any]:
    """Opens a session: form with `frame` and `mask`, or with `state`.

    `other_frame` and `other_mask`, up to three of each: frames to compare with in addition.
    """
    async with request.form(
      max_files=_MOST_PARTS, max_fields=_MOST_PARTS, max_part_size=_MOST_FIELD_BYTES
    ) as form:
      opened = await _opening(form, store, *_model_of(form, models, speed))
    async with calls.of_http(request) as call:
      session = await opened(call)
      if call.over:  # Nobody gets its id.
        await store.close(session)
      return session.describe()

  @router.get('/{session_id}', response_model=None)
  async def describe(session_id: str) -> dict[str, Any]:
    """What the session is, and how long nobody has used it."""
    idle = store.idle_seconds(session_id)
    return {**store.get(session_id).describe(), 'idle_seconds': round(idle, 3)}

  @router.get('/{session_id}/state')
  async def state(session_id: str, request: fastapi.Request) -> fastapi.Response:
    """State bytes to go on from, here or elsewhere."""
    async with calls.of_http(request) as call:
      data = await store.state(store.get(session_id), call)
    return fastapi.Response(data, media_type='application/octet-stream')

  @router.delete('/{session_id}', status_code=204)
  async def close(session_id: str) -> None:
    """Closes the session."""
    await store.close(store.get(session_id))


async def _opening(
  form: FormData, store: sessions.SessionStore, name: str, number: int | None
) -> Callable[[calls.Call], Awaitable[Session]]:
  """Function that opens the session a form asks for, once the form is closed."""
  if 'state' in form:
    if 'frame' in form or 'mask' in form:
      raise errors.invalid('give either state, or frame and mask.')
    state, index = await _file(form, 'state'), _number(form, 'frame_index') or 0
    return lambda call: store.resume(name, number, state, index, call)
  frame, mask = await _file(form, 'frame'), await _file(form, 'mask')
  others = await _pairs(form, 'other_frame', 'other_mask')
  return lambda call: store.create(name, number, frame, mask, call, others)


def _add_frames(router: fastapi.APIRouter, store: sessions.SessionStore) -> None:
  """Frames and corrections."""

  @router.post('/{session_id}/frames', openapi_extra=described.picture())
  async def send_frame(session_id: str, request: fastapi.Request) -> fastapi.Response:
    """Segments the next frame; the body is the encoded frame, the answer the mask PNG."""
    session = store.get(session_id)
    frame = await request.body()
    if not frame:
      raise errors.invalid('the body is empty; send the bytes of a JPEG or PNG frame.')
    async with calls.of_http(request) as call:
      return _mask(await store.step(session, frame, call))

  @router.post('/{session_id}/mask', response_model=None, openapi_extra=_CORRECTION)
  async def correct(session_id: str, request: fastapi.Request) -> dict[str, Any]:
    """Takes the right mask of a frame; new ids become new objects.

    Field `remove`: ids of objects that are followed no longer, separated by commas. Field
    `only_adds`, 1: the mask is what `frames` just answered of this frame, with new objects in it.
    """
    session = store.get(session_id)
    async with request.form(
      max_files=_MOST_PARTS, max_fields=_MOST_PARTS, max_part_size=_MOST_FIELD_BYTES
    ) as form:
      given = await _file(form, 'frame'), await _file(form, 'mask'), _number(form, 'frame_index')
      more = _ids(form, 'remove'), bool(_number(form, 'only_adds'))
    async with calls.of_http(request) as call:
      return await store.correct(session, *given, *more, call)

  @router.post('/{session_id}/remember', response_model=None, openapi_extra=_REMEMBERING)
  async def remember(session_id: str, request: fastapi.Request) -> dict[str, Any]:
    """Goes on after a frame whose mask this or another session of the video predicted.

    Form as of `mask`, without `remove` and `only_adds`. The references are not changed: the session
    has to have those that the frame was predicted with.
    """
    session = store.get(session_id)
    async with request.form(
      max_files=_MOST_PARTS, max_fields=_MOST_PARTS, max_part_size=_MOST_FIELD_BYTES
    ) as form:
      given = await _file(form, 'frame'), await _file(form, 'mask'), _number(form, 'frame_index')
    async with calls.of_http(request) as call:
      return await store.remember(session, *given, call)


def _add_both_directions(router: fastapi.APIRouter, store: sessions.SessionStore) -> None:
  """Frames between two masks: the sessions from both give opinions, which are merged."""

  @router.post('/{session_id}/opinions', openapi_extra=described.picture())
  async def give_opinion(session_id: str, request: fastapi.Request) -> fastapi.Response:
    """Segments the next frame; answers with what the model thinks of it, for `merged`."""
    session = store.get(session_id)
    frame = await request.body()
    if not frame:
      raise errors.invalid('the body is empty; send the bytes of a JPEG or PNG frame.')
    async with calls.of_http(request) as call:
      opinion = await store.opinion(session, frame, call)
    return fastapi.Response(opinion, media_type='application/octet-stream')

  @router.post('/{session_id}/merged', openapi_extra=_MERGING)
  async def merge(session_id: str, request: fastapi.Request) -> fastapi.Response:
    """Merges two opinions on a frame: form with `before`, `behind`, `share` and the trust in both.

    `share`: place of the frame between the masks, from 0 (the one before) to 1 (the one behind).
    `before_trust`, `behind_trust`: of every object, as `3:0.91,7:0.5`; see `merging.trusts`.
    """
    session = store.get(session_id)
    async with request.form(
      max_files=_MOST_PARTS, max_fields=_MOST_PARTS, max_part_size=_MOST_FIELD_BYTES
    ) as form:
      given = await _file(form, 'before'), await _file(form, 'behind')
      share = _share(form)
      trust = _trust(form, 'before_trust'), _trust(form, 'behind_trust')
    async with calls.of_http(request) as call:
      return _mask(await store.merge(session, given, share, trust, call))


def _mask(reply: SegmentedReply) -> fastapi.Response:
  """The answer of `SegmentedReply`: the mask PNG."""
  return fastapi.Response(
    reply.png,
    media_type='image/png',
    headers={
      'X-Frame-Index': str(reply.frame_index),
      'X-Object-Ids': ','.join(map(str, reply.object_ids)),
      'X-Confidence': confidence_text(reply.confidence),
    },
  )


def _model_of(form: FormData, models: ModelStore, default_speed: str) -> tuple[str, int | None]:
  """(name, version or None) that a form asks for, see `ModelStore.choose`."""
  name, speed = form.get('model'), form.get('speed')
  if not isinstance(speed, str | None):
    raise errors.invalid('speed: a file given, expected a name.')
  if name is None:
    name = models.choose(speed, default_speed)
  if not isinstance(name, str):
    raise errors.invalid('model: a file given, expected a name.')
  return name, _number(form, 'version')


def _number(form: FormData, key: str) -> int | None:
  value = form.get(key)
  if value is None or value == '':
    return None
  if not isinstance(value, str) or not re.fullmatch('[0-9]{1,18}', value):
    raise errors.invalid(f'{key}: expected a number of at least 0.')
  return int(value)


def _share(form: FormData) -> float:
  with contextlib.suppress(TypeError, ValueError):
    share = float(forms.text(form, 'share', 'share: a file given, expected a number.'))
    if 0 < share < 1:
      return share
  raise errors.invalid('share: expected a number between 0 and 1, where the frame lies.')


def _trust(form: FormData, key: str) -> dict[int, float]:
  """{id: trust} of a field such as `3:0.91,7:0.5`."""
  text, found = form.get(key), {}
  try:
    for part in filter(None, str(text or '').split(',')):
      number, value = part.split(':')
      found[int(number)] = float(value)
  except ValueError:
    found = {-1: -1.0}
  if not all(0 < number < 256 and 0.0 <= value <= 1.0 for number, value in found.items()):
    raise errors.invalid(
      f'{key}: expected numbers between 0 and 1 of objects, for example 3:0.91,7:0.5.'
    )
  return found


async def _pairs(form: FormData, *keys: str) -> list[tuple[bytes, bytes]]:
  """List of the files under two keys, in pairs."""
  found = [form.getlist(key) for key in keys]
  if len(found[0]) != len(found[1]) or len(found[0]) >= MAX_REFERENCES:
    raise errors.invalid(
      f'{len(found[0])} {keys[0]} and {len(found[1])} {keys[1]} given; expected pairs, '
      f'{MAX_REFERENCES - 1} at most.'
    )
  if not all(isinstance(value, UploadFile) for values in found for value in values):
    raise errors.invalid(f'{keys[0]} and {keys[1]} have to be files.')
  return [(await frame.read(), await mask.read()) for frame, mask in zip(*found)]


def _ids(form: FormData, key: str) -> list[int]:
  """Object ids of a field such as `3,7`."""
  value = form.get(key) or ''
  parts = value.split(',') if isinstance(value, str) and value else []
  if not isinstance(value, str) or not all(p.strip().isdecimal() and len(p) < 9 for p in parts):
    raise errors.invalid(f'{key}: expected object ids separated by commas, for example 3,7.')
  return [int(part) for part in parts]


async def _file(form: FormData, key: str) -> bytes:
  value = form.get(key)
  if not isinstance(value, UploadFile):
    raise errors.invalid(
      f'{key}: missing; send multipart/form-data with the file in the field {key}.'
    )
  return await value.read()
