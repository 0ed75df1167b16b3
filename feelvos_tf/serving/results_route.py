"""Masks in the forms that other tools read, as a zip: what `convert-masks` writes."""

from collections.abc import Iterator, Sequence
import dataclasses
import io
import pathlib
import re
import tempfile
from typing import TYPE_CHECKING
import zipfile

import fastapi
from starlette.datastructures import FormData
from starlette.datastructures import UploadFile

from feelvos_tf.datasets.result_files import writing
from feelvos_tf.datasets.result_files.target import ResultFrame
from feelvos_tf.datasets.result_files.target import Target
from feelvos_tf.serving import calls
from feelvos_tf.serving import described
from feelvos_tf.serving import errors
from feelvos_tf.serving import forms
from feelvos_tf.serving.images import ImageDecoder

if TYPE_CHECKING:
  from feelvos_tf.serving.services import Services

_MOST_MASKS = 20000
_MOST_FIELDS = 300
_MOST_NAME_BYTES = 200  # A name and a suffix fit into the 255 bytes of a file's name.
_MOST_FIELD_BYTES = 20 * _MOST_MASKS  # Each mask as `123456789-123456789,`.
_INDICES = re.compile(r'\d{1,9}(-\d{1,9})?(,\d{1,9}(-\d{1,9})?)*', re.ASCII)
_SUFFIX = re.compile(r'\.\w{1,10}')
_FORMATS = [name for name, writer in writing.FORMATS.items() if not writer.needs_frames]
_FORM = described.form(
  ['masks'],
  {
    'format': {'enum': _FORMATS},
    'goes_on': {'enum': ['0', '1']},
    **dict.fromkeys(['name', 'label', 'suffix', 'frame_indices']),
  },
  ['masks', 'label', 'suffix'],
  ['masks', 'format'],
)


def build_router(services: 'Services') -> fastapi.APIRouter:
  """The route; `services` is the server's `Services`."""
  router = fastapi.APIRouter()

  @router.post('/v1/results', openapi_extra=_FORM)
  async def results(request: fastapi.Request) -> fastapi.Response:
    """Form with `masks` (PNG files named like their frames, in the order of time) and `format`.

    Further fields: `name` of the video, `label` (ID:NAME, repeated), `suffix` of the frames' files
    (.jpg; repeated, `.png:3,7-9` is that of some frames), `frame_indices` of the masks in the video
    where they are not 0, 1, 2: `10-29,50`, `goes_on` (1: the video has frames behind the last mask;
    tracks of CVAT end there).
    """
    async with request.form(
      max_files=_MOST_MASKS, max_fields=_MOST_FIELDS, max_part_size=_MOST_FIELD_BYTES
    ) as form:
      problem = 'masks: missing; send the masks as files named like their frames.'
      given = forms.files(form, 'masks', problem)
      if not given:
        raise errors.invalid(problem)
      target, indices = _target(form), _indices(form, len(given))
      target = dataclasses.replace(target, suffixes=_suffixes(form, given, indices))
      async with calls.of_http(request) as call:
        data = await services.workers.run(
          _zip, services.decoder, given, indices, form.get('format'), target, call, call=call
        )
    return fastapi.Response(data, media_type='application/zip')

  return router


def _target(form: FormData) -> Target:
  """`Target` of a form, without folder and size; refuses what is no file name."""
  if form.get('format') not in _FORMATS:
    raise errors.invalid(f'format: expected one of {", ".join(_FORMATS)}.')
  problem = 'name, label and suffix: expected text.'
  name = forms.text(form, 'name', problem) or 'video'
  suffixes = [t for t in forms.texts(form, 'suffix', problem) if t and ':' not in t] or ['.jpg']
  labels = forms.texts(form, 'label', problem)
  is_name = _is_file_name(name) and re.fullmatch(r'[\w. -]+', name)
  if len(suffixes) > 1:
    raise errors.invalid(
      f'suffix: {suffixes[0][:20]!r} and {suffixes[1][:20]!r} given, expected one for all frames, '
      'and others with indices of masks, such as .png:3,7-9.'
    )
  if not is_name or not _SUFFIX.fullmatch(suffixes[0]):
    raise errors.invalid(
      'name, suffix: expected a file name without a folder, such as clip and .jpg, of at most '
      f'{_MOST_NAME_BYTES} bytes.'
    )
  try:
    ids = writing.parse_labels(labels)
  except ValueError as error:
    raise errors.invalid(str(error)) from None
  goes_on = forms.text(form, 'goes_on', 'goes_on: expected text.') or '0'
  if goes_on not in ('0', '1'):
    raise errors.invalid('goes_on: expected 0 or 1.')
  return Target(pathlib.Path(), name, (0, 0), None, ids, suffixes[0], goes_on=goes_on == '1')


def _indices(form: FormData, count: int) -> Sequence[int]:
  """Frame indices of as many masks: a text such as `10-29,50`, or 0, 1, 2 without one."""
  text = forms.text(form, 'frame_indices', 'frame_indices: expected text.')
  if not text:
    return range(count)
  found = _numbers(text, count)
  if len(found) != count or found != sorted(set(found)):
    raise errors.invalid(
      f'frame_indices: expected {count} ascending numbers, one for each mask, such as 10-29,50.'
    )
  return found


def _suffixes(
  form: FormData, given: Sequence[UploadFile], indices: Sequence[int]
) -> dict[str, str]:
  """{name of a frame: suffix} of the fields that are of some frames, such as `.png:3,7-9`."""
  stems = dict(zip(indices, map(_stem, given), strict=True))
  found: dict[str, str] = {}
  for text in forms.texts(form, 'suffix', 'suffix: expected text.'):
    suffix, colon, places = text.partition(':')
    numbers = _numbers(places, len(given))
    if colon and not (_SUFFIX.fullmatch(suffix) and numbers and stems.keys() >= set(numbers)):
      raise errors.invalid(
        f'suffix: {text[:100]!r} given, expected .png or, for some frames, .png:3,7-9 with indices '
        'of masks.'
      )
    found.update((stems[number], suffix) for number in numbers)
  return found


def _numbers(text: str, most: int) -> list[int]:
  """Numbers of a text such as `10-29,50`; more than `most` if it has more, none if it is wrong."""
  found: list[int] = []
  for part in text.split(',') if _INDICES.fullmatch(text) else ():
    first, _, last = part.partition('-')
    found.extend(range(int(first), int(last or first) + 1)[: most + 1])
    if len(found) > most:
      break
  return found


def _zip(
  decoder: ImageDecoder,
  given: list[UploadFile],
  indices: Sequence[int],
  form: str,
  target: Target,
  call: calls.Call,
) -> bytes:
  """Bytes of the zip; runs in a worker, which reads the spooled files directly."""
  with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(temporary)
    frames = _frames(decoder, given, indices, call)
    first = next(frames)
    target = dataclasses.replace(target, folder=folder, size=first.ids.shape)
    try:
      writing.write(_of_one_size(first, frames), [form], target)
    except ValueError as error:
      raise errors.invalid(str(error)) from None
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w', zipfile.ZIP_DEFLATED) as archive:
      for path in sorted(p for p in (folder / form).rglob('*') if p.is_file()):
        archive.write(path, path.relative_to(folder / form))
    return stream.getvalue()


def _frames(
  decoder: ImageDecoder, given: list[UploadFile], indices: Sequence[int], call: calls.Call
) -> Iterator[ResultFrame]:
  """Every mask, without the picture."""
  seen = set()
  for part, index in zip(given, indices, strict=True):
    call.check()
    stem = _stem(part)
    if not _is_file_name(stem):
      raise errors.invalid(
        f'masks: {stem[:100]!r} given, expected the name of a frame, of at most {_MOST_NAME_BYTES} '
        'bytes, and .png.'
      )
    if stem in seen:
      raise errors.invalid(f'masks: {stem} given more than once; expected a mask a frame.')
    seen.add(stem)
    yield ResultFrame(stem, index, decoder.mask(part.file.read(), own=True).ids)


def _is_file_name(text: str) -> bool:
  """Whether a file can have this name and a suffix; its length counts in UTF-8."""
  length = len(text.encode())
  return (
    bool(re.fullmatch(r'[^/\\\0]+', text))
    and length <= _MOST_NAME_BYTES
    and text not in ('.', '..')
  )


def _stem(part: UploadFile) -> str:
  return pathlib.PurePosixPath(part.filename or '').stem


def _of_one_size(first: ResultFrame, rest: Iterator[ResultFrame]) -> Iterator[ResultFrame]:
  """All of them; raises RequestError at one of another size."""
  yield first
  for frame in rest:
    if frame.ids.shape != first.ids.shape:
      raise errors.invalid(
        f'masks: {frame.name} has {frame.ids.shape} pixels, {first.name} {first.ids.shape}; expected '
        'one size.'
      )
    yield frame
