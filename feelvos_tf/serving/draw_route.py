"""A mask out of a box, points, a scribble or a polygon on a frame, before there is a session.

The embeddings of the model decide, then colours (`cv2.grabCut`), as on the command line. Of several
models it is the one that a session would get; where that is none, colours decide alone.
"""

from collections.abc import Sequence
import contextlib
from typing import TYPE_CHECKING

import fastapi
from starlette.datastructures import FormData
from starlette.datastructures import UploadFile

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.mask_files import drawn
from feelvos_tf.inference import first_mask
from feelvos_tf.inference.contract import Graph
from feelvos_tf.serving import calls
from feelvos_tf.serving import described
from feelvos_tf.serving import errors
from feelvos_tf.serving import forms
from feelvos_tf.serving.images import ImageDecoder

if TYPE_CHECKING:
  from feelvos_tf.serving.services import Services


_MOST_SHAPES = 64
_MOST_FIELD_BYTES = 65536
_FORM = described.form(
  ['frame'], {'model': None, **dict.fromkeys(drawn.KINDS)}, drawn.KINDS, ['frame']
)


def build_router(services: 'Services') -> fastapi.APIRouter:
  """The route; `services` is the server's `Services`."""
  router = fastapi.APIRouter()

  @router.post('/v1/draw', openapi_extra=_FORM)
  async def draw(request: fastapi.Request) -> fastapi.Response:
    """Form with `frame` and `box`, `points`, `scribble`, `polygon` as flags have them: a PNG.

    Field `model`: whose embeddings are compared.
    """
    async with request.form(
      max_files=1, max_fields=_MOST_SHAPES, max_part_size=_MOST_FIELD_BYTES
    ) as form:
      frame = form.get('frame')
      if not isinstance(frame, UploadFile):
        raise errors.invalid('frame: missing; send a JPEG or PNG in the field frame.')
      data = await frame.read()
      problem = f'expected one of the fields {", ".join(drawn.KINDS)} with numbers.'
      texts = [(kind, text) for kind in drawn.KINDS for text in forms.texts(form, kind, problem)]
      if not texts:
        raise errors.invalid(problem)
      name = _model(form, services)
      async with calls.of_http(request) as call:
        with services.models.leased(name) if name else contextlib.nullcontext() as version:
          graph = version.loaded if version and version.loaded.keeps_state else None
          png = await services.workers.run(_draw, services.decoder, graph, data, texts, call=call)
    return fastapi.Response(png, media_type='image/png')

  return router


def _model(form: FormData, services: 'Services') -> str | None:
  """Name of the model of a form, of the only one, or None."""
  name = form.get('model')
  if name is not None and not isinstance(name, str):
    raise errors.invalid('model: a file given, expected a name.')
  if not name:
    with contextlib.suppress(errors.RequestError):
      name = services.models.choose(None, services.options.speed)
  return name


def _draw(
  decoder: ImageDecoder, graph: Graph | None, data: bytes, texts: Sequence[tuple[str, str]]
) -> bytes:
  frame = decoder.frame(data)
  try:
    hints = drawn.hints_of([drawn.parse(kind, text) for kind, text in texts], frame.shape[:2])
    embedding = None
    if graph is not None and any(one.exact is None for one in hints):
      embedding = first_mask.embedding_of(graph, frame)
    return masks.encode_mask(first_mask.masks_of(frame, hints, embedding), compress_level=1)
  except ValueError as error:
    raise errors.invalid(str(error)) from None
