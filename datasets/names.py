"""Names in lists and of files: one way to read them, and to tell a name from a path."""

from collections.abc import Callable, Iterable, Mapping
import json
import os
import pathlib
import re
import sys
from typing import Any, TypeVar
import unicodedata

Item = TypeVar('Item')

IMAGE_SUFFIXES = (
  *('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.bmp', '.webp', '.tif', '.tiff'),
  *('.ppm', '.pgm', '.pbm', '.pnm'),
)
# Pictures that are not read: among frames they are refused, or they would be missing silently.
OTHER_IMAGE_SUFFIXES = (
  *('.heic', '.heif', '.avif', '.jxl', '.jp2', '.j2k', '.tga', '.gif', '.exr', '.hdr'),
  *('.dng', '.cr2', '.cr3', '.nef', '.arw', '.psd'),
)
# Containers and streams that FFmpeg reads: what a folder of clips takes for one. A file that is
# given by itself may have any name.
VIDEO_SUFFIXES = (
  *('.264', '.265', '.266', '.3g2', '.3gp', '.amv', '.apng', '.asf', '.avc', '.avi'),
  *('.divx', '.dv', '.evo', '.f4v', '.flv', '.gif', '.gxf', '.h261', '.h263', '.h264', '.h265'),
  *('.h266', '.hevc', '.ismv', '.ivf', '.m1v', '.m2t', '.m2ts', '.m2v', '.m4v', '.mj2'),
  *('.mjpeg', '.mjpg', '.mk3d', '.mkv', '.mov', '.mp4', '.mpe', '.mpeg', '.mpg', '.mpv', '.mts'),
  *('.mxf', '.nut', '.obu', '.ogm', '.ogv', '.qt', '.rm', '.rmvb', '.tod', '.ts', '.vc1', '.vob'),
  *('.webm', '.wmv', '.wtv', '.y4m'),
)


def natural_key(name: str) -> tuple:
  """Sort key that puts frame2 before frame10."""
  parts = re.split(r'(\d+)', str(name))
  return tuple((0, int(p), p) if p.isdecimal() else (1, p) for p in parts if p)


def composed(name: str) -> str:
  """A name as most systems write it, for comparing; macOS takes letters and accents apart."""
  return unicodedata.normalize('NFC', name)


def paired(names: Iterable[str], items: Mapping[str, Item]) -> dict[str, Item]:
  """{name: its item} of those that have one, whose letters may be composed in another way.

  Args:
    names: for example of frames.
    items: {name: item}, for example of masks; one whose name is among `names` as it is goes to no
      other.
  """
  asked = dict.fromkeys(names)
  others = {composed(name): item for name, item in items.items() if name not in asked}
  found = {name: items.get(name, others.get(composed(name))) for name in asked}
  return {name: item for name, item in found.items() if item is not None}


def spelled(asked: Iterable[str], names: Iterable[str]) -> dict[str, str]:
  """{name asked for: the one of `names` that it is}, see `paired`; without those that are none."""
  return paired(asked, {name: name for name in names})


def place_of(folder: str | os.PathLike, name: str) -> pathlib.Path:
  """What has this name in a folder, its letters composed in any way; `name` as it is goes first.

  Args:
    folder: any folder.
    name: for example of a sequence.

  Returns:
    Its path; that of the name as it is if nothing is there.
  """
  forms = dict.fromkeys((name, *(unicodedata.normalize(form, name) for form in ('NFC', 'NFD'))))
  paths = [pathlib.Path(folder, form) for form in forms]
  # Letters apart can be more bytes than a name may have; pathlib raises an error there.
  return next((path for path in paths if os.path.exists(path)), paths[0])


def check_name(name: str, where: str) -> str:
  """Returns a name that may be a folder or file of its own, below the one it is put into.

  Args:
    name: for example of a sequence, from a flag, a list or a record.
    where: what messages call its origin.

  Raises:
    ValueError: empty, `.` or `..`, or with a slash or a zero byte: results would be read or
      written elsewhere.
  """
  if name in ('', '.', '..') or '/' in name or '\0' in name:
    raise ValueError(
      f'{where}: {name!r} given, expected the name of a folder without slashes, for example bear'
    )
  return name


def check_local(path: str | os.PathLike, where: str) -> None:
  """Refuses an address.

  Args:
    path: value of a flag.
    where: its name.

  Raises:
    ValueError: it begins like an address, and there is no such file.
  """
  match = re.match(r'([a-zA-Z][a-zA-Z0-9+.-]+):/', str(path))
  if match and not os.path.exists(path):
    raise ValueError(
      f'{where}={path}: an address ({match[1]}:) given, expected a file or folder on this machine; '
      'mount it, or copy the files'
    )


def read_text(path: str | os.PathLike) -> str:
  """Text of a file in UTF-8 or UTF-16, with or without a byte order mark, as editors save it.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: neither UTF-8 nor marked as UTF-16.
  """
  data = pathlib.Path(path).read_bytes()
  if data[:2] not in (b'\xff\xfe', b'\xfe\xff') and b'\0' in data:
    raise ValueError(f'{path}: a file with zero bytes given, expected a text; save it as UTF-8')
  encoding = 'utf-16' if data[:2] in (b'\xff\xfe', b'\xfe\xff') else 'utf-8-sig'
  try:
    return data.decode(encoding)
  except UnicodeDecodeError:
    if encoding == 'utf-8-sig':  # Names of files may be any bytes; Python reads them so.
      return data.decode(encoding, 'surrogateescape')
    raise ValueError(f'{path}: a damaged UTF-16 text given, expected UTF-8') from None


def read_names(path: str | os.PathLike, exists: Callable[[str], bool] | None = None) -> list[str]:
  """Names of a list: one a line, each once, in the order of the list.

  Spaces inside a name belong to it. Blank lines, lines that begin with `#`, spaces around a name
  and slashes behind it are left out. A remark behind a name (` # ...`) is left out unless a folder
  has the whole line as its name.

  Args:
    path: a text file, see `read_text`.
    exists: says whether something of this name is there. It chooses between readings of a line:
      as it is, without a remark, with its letters composed or decomposed (macOS decomposes
      umlauts), and, for lists in one line, word by word. None takes every line as it is without
      remark.

  Returns:
    The names; those that do not exist are among them, as they stand in the list.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is no text.
  """
  found = []
  for line in read_text(path).splitlines():
    line = line.strip().rstrip('/')
    if line and not line.startswith('#'):
      found.extend(_names_of_line(line, exists))
    elif line and exists is not None and exists(line):
      found.append(line)  # A folder may be called #1.
  return list(dict.fromkeys(found))


def missing(path: str | os.PathLike, what: str, advice: str) -> str:
  """Message about a file or folder that is not there, or is the other of the two.

  Args:
    path: what was given.
    what: what it should be, as 'folder of frames'.
    advice: what to do.
  """
  found = 'a folder' if os.path.isdir(path) else 'a file' if os.path.exists(path) else None
  given = f'{found} given, expected a {what}' if found else f'no such {what}'
  return f'{path}: {given}; {advice}'


def parse_json(text: str | bytes) -> Any:
  """What a JSON text holds.

  Raises:
    ValueError: no JSON, or nested so deeply that nobody meant it.
  """
  try:
    return json.loads(text)
  except RecursionError:
    raise ValueError('nested too deeply') from None


def one_line(message: object) -> str:
  """A message on one line, without the addresses of objects that libraries put into theirs."""
  return re.sub(r'<[^<>]* at 0x[0-9a-fA-F]+>', 'the given data', ' '.join(str(message).split()))


def printable(text: object) -> str:
  """A name for messages and pictures: bytes of it that are not UTF-8 become question marks."""
  return os.fsencode(str(text)).decode('utf-8', 'replace').replace('\ufffd', '?')


def tell(line: object) -> None:
  """Prints a line at once; letters that standard output cannot take are written as `\\u725b`."""
  encoding = getattr(sys.stdout, 'encoding', None) or 'utf-8'
  text = printable(line).encode(encoding, 'backslashreplace').decode(encoding)
  print(text, flush=True)


def _names_of_line(line: str, exists: Callable[[str], bool] | None) -> list[str]:
  without_remark = line
  for mark in (' #', '\t#'):
    without_remark = without_remark.split(mark)[0]
  without_remark = without_remark.rstrip().rstrip('/')
  if exists is None:
    return [without_remark]
  for text in (line, without_remark):
    for form in (None, 'NFC', 'NFD'):
      name = text if form is None else unicodedata.normalize(form, text)
      if exists(name):
        return [name]
  words = without_remark.split()
  return words if len(words) > 1 and all(exists(word) for word in words) else [without_remark]
