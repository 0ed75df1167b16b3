"""Frames and their masks to a video for people: POST /v1/overlay."""

import contextlib
import pathlib
import tempfile

import fastapi
from starlette.datastructures import UploadFile

from feelvos_tf.datasets import masks
from feelvos_tf.datasets import writers
from feelvos_tf.serving import calls
from feelvos_tf.serving import errors

_MOST_FRAMES = 10000
_MOST_FIELD_BYTES = 4096
_MOST_FRAMES_PER_SECOND = 240.0


def build_router(services):
  """The route; `services` is the server's `Services`."""
  router = fastapi.APIRouter()

  @router.post('/v1/overlay')
  async def overlay(request: fastapi.Request):
    """Form with `frames` and `masks`, as many of one as of the other: an mp4 with H.264 or VP9."""
    async with request.form(
      max_files=2 * _MOST_FRAMES, max_fields=8, max_part_size=_MOST_FIELD_BYTES
    ) as form:
      rate = read_rate(form.get('frames_per_second'))
      frames, given = form.getlist('frames'), form.getlist('masks')
      if not frames or len(frames) != len(given):
        raise errors.invalid(
          f'{len(frames)} frames and {len(given)} masks given; expected one mask for every frame.'
        )
      if not all(isinstance(part, UploadFile) for part in [*frames, *given]):
        raise errors.invalid('frames and masks have to be files.')
      async with calls.of_http(request) as call:
        video = await services.workers.run(
          _write, services.decoder, frames, given, rate, call, call=call
        )
    return fastapi.Response(video, media_type='video/mp4')

  return router


def read_rate(value):
  """Frames per second of a request: a number, its text, or None for the default.

  Raises:
    RequestError: no number, or none that makes sense.
  """
  with contextlib.suppress(TypeError, ValueError):
    rate = float(value) if value else writers.DEFAULT_FPS
    if 0 < rate <= _MOST_FRAMES_PER_SECOND:
      return rate
  raise errors.invalid(
    f'frames_per_second: expected a number above 0, at most {_MOST_FRAMES_PER_SECOND:g}.'
  )


def draw(decoder, frame, mask):
  """Draws a mask over its frame.

  Args:
    decoder: `ImageDecoder`.
    frame: bytes of a JPEG or PNG.
    mask: bytes of a palette or grey PNG of the same size.

  Returns:
    uint8 [height, width, 3] RGB.

  Raises:
    RequestError, ValueError, tf.errors.InvalidArgumentError: wrong input.
  """
  decoded = decoder.mask(mask)
  image = decoder.frame(frame)
  if image.shape[:2] != decoded.ids.shape:
    raise errors.invalid(
      f'mask: {decoded.ids.shape} pixels given for a frame of {image.shape[:2]}.'
    )
  palette = decoded.palette if decoded.palette is not None else masks.DAVIS_PALETTE
  return masks.overlay(image, decoded.ids, palette, void_id=None)


def _write(decoder, frames, given, rate, call):
  """Bytes of the video; runs in a worker, which reads the spooled files directly."""
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / 'overlay.mp4'
    with writers.OverlayVideoWriter(path, rate) as writer:
      for frame, mask in zip(frames, given):
        call.check()
        writer.write_picture(draw(decoder, frame.file.read(), mask.file.read()))
    return path.read_bytes()
