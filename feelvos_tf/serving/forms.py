"""Fields of a multipart form: files or text, and nothing else in their place."""

from starlette.datastructures import FormData
from starlette.datastructures import UploadFile

from feelvos_tf.serving import errors


def files(form: FormData, key: str, problem: str) -> list[UploadFile]:
  """The files of a field, in order.

  Args:
    form: the form. key: name of the field.
    problem: message if one of them is text.

  Raises:
    RequestError: INVALID_ARGUMENT with `problem`.
  """
  found = [part for part in form.getlist(key) if isinstance(part, UploadFile)]
  if len(found) < len(form.getlist(key)):
    raise errors.invalid(problem)
  return found


def texts(form: FormData, key: str, problem: str) -> list[str]:
  """The texts of a field, in order; arguments and errors as of `files`.

  Raises:
    RequestError: INVALID_ARGUMENT with `problem`, if one of them is a file.
  """
  found = [part for part in form.getlist(key) if isinstance(part, str)]
  if len(found) < len(form.getlist(key)):
    raise errors.invalid(problem)
  return found


def text(form: FormData, key: str, problem: str) -> str:
  """The first text of a field, '' without one; arguments as of `files`.

  Raises:
    RequestError: INVALID_ARGUMENT with `problem`, if the field has a file.
  """
  return next(iter(texts(form, key, problem)), '')
