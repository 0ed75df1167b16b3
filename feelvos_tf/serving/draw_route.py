"""A mask out of a box, points, a scribble or a polygon on a frame, before there is a session.

Colours decide (`cv2.grabCut`); the command line also compares the model's embeddings.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import fastapi
from starlette.datastructures import UploadFile

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.mask_files import drawn
from feelvos_tf.inference import first_mask
from feelvos_tf.serving import calls
from feelvos_tf.serving import errors
from feelvos_tf.serving.images import ImageDecoder

if TYPE_CHECKING:
  from feelvos_tf.serving.services import Services


_MOST_SHAPES = 64
_MOST_FIELD_BYTES = 65536


def build_router(services: 'Services') -> fastapi.APIRouter:
  """The route; `services` is the server's `Services`."""
  router = fastapi.APIRouter()

  @router.post('/v1/draw')
  async def draw(request: fastapi.Request) -> fastapi.Response:
    """Form with `frame` and `box`, `points`, `scribble`, `polygon` as flags have them: a PNG."""
    async with request.form(
      max_files=1, max_fields=_MOST_SHAPES, max_part_size=_MOST_FIELD_BYTES
    ) as form:
      if not isinstance(form.get('frame'), UploadFile):
        raise errors.invalid('frame: missing; send a JPEG or PNG in the field frame.')
      data = await form['frame'].read()
      texts = [(kind, text) for kind in drawn.KINDS for text in form.getlist(kind)]
      if not texts or not all(isinstance(text, str) for _, text in texts):
        raise errors.invalid(f'expected one of the fields {", ".join(drawn.KINDS)} with numbers.')
      async with calls.of_http(request) as call:
        png = await services.workers.run(_draw, services.decoder, data, texts, call=call)
    return fastapi.Response(png, media_type='image/png')

  return router


def _draw(decoder: ImageDecoder, data: bytes, texts: Sequence[tuple[str, str]]) -> bytes:
  frame = decoder.frame(data)
  try:
    hints = drawn.hints_of([drawn.parse(kind, text) for kind, text in texts], frame.shape[:2])
    return masks.encode_mask(first_mask.masks_of(frame, hints), compress_level=1)
  except ValueError as error:
    raise errors.invalid(str(error)) from None
