"""Bodies of requests as the OpenAPI description has them; routes read them by themselves."""

from collections.abc import Collection, Mapping
from typing import Any

_TEXT = {'type': 'string'}
_FILE = {'type': 'string', 'format': 'binary'}


def form(
  files: Collection[str] = (),
  texts: Mapping[str, Any] | None = None,
  lists: Collection[str] = (),
  required: Collection[str] = (),
) -> dict[str, Any]:
  """`openapi_extra` of a route that takes a form.

  Args:
    files: fields that are files.
    texts: {field: schema, or None for any text}.
    lists: those of them that may be repeated.
    required: those that have to be there.
  """
  fields = {**dict.fromkeys(files, _FILE), **{k: v or _TEXT for k, v in (texts or {}).items()}}
  fields.update({name: {'type': 'array', 'items': fields[name]} for name in lists})
  schema: dict[str, Any] = {'type': 'object', 'properties': fields}
  if required:
    schema['required'] = list(required)
  return _body('multipart/form-data', schema)


def picture() -> dict[str, Any]:
  """`openapi_extra` of a route whose body is a frame: the bytes of a JPEG or PNG."""
  return _body('application/octet-stream', _FILE)


def _body(kind: str, schema: dict[str, Any]) -> dict[str, Any]:
  return {'requestBody': {'required': True, 'content': {kind: {'schema': schema}}}}
