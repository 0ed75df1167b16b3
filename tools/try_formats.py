r"""Tries containers, codecs and pixel formats, and compares each frame with ffmpeg's own decoding.

  python -m feelvos_tf.tools.try_formats --output=docs/formats_table.md

Needs the program ffmpeg, which encodes 24 frames of a test picture for each line of the table and
decodes them again. A line says how many frames there are, whether the reader's frames are those of
ffmpeg, and what the reader says of the file cut in half. It takes a few minutes on two cores.
"""

import dataclasses
import pathlib
import shlex
import shutil
import subprocess
import tempfile
import warnings

from absl import flags
import numpy as np

from feelvos_tf.datasets import picture
from feelvos_tf.datasets.film import reader
from feelvos_tf.files import whole_file
from feelvos_tf.runtime import command_line

FLAGS = flags.FLAGS

SIZE = (90, 160)
FRAMES = 24
_SOURCE = f'-f lavfi -i testsrc2=size={SIZE[1]}x{SIZE[0]}:rate=24:duration={FRAMES / 24}'


@dataclasses.dataclass(frozen=True)
class Trial:
  """A file to be made: its suffix says the container."""

  # File suffix.
  suffix: str
  # Name in the table, and arguments of ffmpeg that choose codec and pixel format.
  codec: str
  arguments: str
  # What is special about it.
  note: str = ''


# Container, codec in the table, encoder of ffmpeg with its options.
_OTHERS = (
  ('avi', 'Motion JPEG', 'mjpeg -pix_fmt yuvj420p -q:v 3'),
  ('mov', 'Motion JPEG', 'mjpeg -pix_fmt yuvj422p -q:v 3'),
  ('mov', 'ProRes 422', 'prores_ks -profile:v 2 -pix_fmt yuv422p10le'),
  ('mov', 'ProRes 4444', 'prores_ks -profile:v 4 -pix_fmt yuva444p10le'),
  ('mov', 'QuickTime Animation', 'qtrle -pix_fmt argb'),
  ('mov', 'PNG', 'png -pix_fmt rgba'),
  ('mov', 'JPEG 2000', 'jpeg2000 -pix_fmt yuv420p'),
  ('mkv', 'FFV1', 'ffv1 -pix_fmt yuv420p'),
  ('mkv', 'FFV1', 'ffv1 -pix_fmt yuv422p10le'),
  ('avi', 'HuffYUV', 'huffyuv -pix_fmt yuv422p'),
  ('avi', 'FFVHUFF', 'ffvhuff -pix_fmt yuv420p'),
  ('avi', 'Ut Video', 'utvideo -pix_fmt gbrp'),
  ('nut', 'raw', 'rawvideo -pix_fmt bgr24'),
  ('mov', 'raw', 'rawvideo -pix_fmt yuyv422'),
  ('mov', 'raw', 'v210 -pix_fmt yuv422p10le'),
  ('y4m', 'raw', 'wrapped_avframe -pix_fmt yuv420p'),
  ('avi', 'Cinepak', 'cinepak -s 160x96 -pix_fmt rgb24'),
  ('avi', 'raw', 'rawvideo -pix_fmt yuyv422'),
  ('avi', 'MS MPEG-4 v3', 'msmpeg4 -q:v 3'),
  ('wmv', 'WMV 2', 'wmv2 -q:v 3'),
  ('wmv', 'WMV 1', 'wmv1 -q:v 3'),
  ('flv', 'Sorenson H.263', 'flv1 -q:v 3'),
  ('ogv', 'Theora', 'libtheora -q:v 6'),
  ('avi', 'Dirac', 'vc2 -pix_fmt yuv420p -strict -1'),
  ('gif', 'GIF', 'gif'),
  ('apng', 'APNG', 'apng -pix_fmt rgb24'),
  ('apng', 'APNG', 'apng -pix_fmt rgba'),
)
# Of H.264 in mp4: options of ffmpeg, note in the table.
_SPECIAL = (
  ('-movflags frag_keyframe+empty_moov', 'fragments'),
  ('-movflags faststart', 'index in front'),
  ('-vf setsar=4/3', 'pixels 4:3'),
  ('-vf "select=not(mod(n\\,3))+gt(n\\,15)" -vsync vfr', 'variable rate'),
  ('-metadata:s:v rotate=90', 'turned'),
)


def _trials() -> list[Trial]:
  """The lines of the table."""
  x264, x265 = '-c:v libx264 -g 8 -bf 2', '-c:v libx265 -x265-params log-level=none'
  trials = []
  for suffix in ('mp4', 'mov', 'm4v', '3gp', 'mkv', 'ts', 'm2ts', 'flv', 'avi', 'h264', 'nut'):
    trials.append(Trial(suffix, 'H.264', f'{x264} -pix_fmt yuv420p'))
  for pixels in ('yuvj420p', 'yuv422p', 'yuv444p', 'yuv420p10le', 'yuv422p10le', 'gray', 'nv12'):
    trials.append(Trial('mp4', 'H.264', f'{x264} -pix_fmt {pixels}', pixels))
  trials.append(Trial('mp4', 'H.264 RGB', '-c:v libx264rgb -pix_fmt rgb24', 'gbrp'))
  for suffix in ('mp4', 'mkv', 'ts', 'mov'):
    trials.append(Trial(suffix, 'HEVC', f'{x265} -pix_fmt yuv420p'))
  for pixels in ('yuv420p10le', 'yuv422p10le', 'yuv444p', 'yuv444p12le', 'gray10le'):
    trials.append(Trial('mp4', 'HEVC', f'{x265} -pix_fmt {pixels}', pixels))
  for suffix in ('mp4', 'mkv', 'webm'):
    trials.append(Trial(suffix, 'AV1', '-c:v libaom-av1 -cpu-used 8 -b:v 300k -pix_fmt yuv420p'))
  trials.append(
    Trial('mp4', 'AV1', '-c:v libsvtav1 -preset 10 -pix_fmt yuv420p10le', 'yuv420p10le')
  )
  for suffix in ('webm', 'mkv', 'mp4', 'ivf'):
    trials.append(Trial(suffix, 'VP9', '-c:v libvpx-vp9 -b:v 300k -cpu-used 8 -pix_fmt yuv420p'))
  trials.append(Trial('webm', 'VP9', '-c:v libvpx-vp9 -b:v 300k -pix_fmt yuv444p', 'yuv444p'))
  for suffix in ('webm', 'mkv', 'ivf'):
    trials.append(Trial(suffix, 'VP8', '-c:v libvpx -b:v 300k -pix_fmt yuv420p'))
  for suffix in ('avi', 'mp4', 'mkv', '3gp'):
    trials.append(Trial(suffix, 'MPEG-4', '-c:v mpeg4 -bf 2 -q:v 3'))
  for suffix in ('mpg', 'ts', 'mkv', 'mxf', 'vob'):
    trials.append(Trial(suffix, 'MPEG-2', '-c:v mpeg2video -q:v 3'))
  trials.append(Trial('mpg', 'MPEG-1', '-c:v mpeg1video -q:v 3 -r 24'))
  for suffix, codec, encoder in _OTHERS:
    trials.append(Trial(suffix, codec, f'-c:v {encoder}'))
  trials.append(Trial('3gp', 'H.263', '-c:v h263 -s 176x144 -q:v 3'))
  trials.append(Trial('avi', 'DV', '-c:v dvvideo -s 720x576 -r 25 -pix_fmt yuv420p'))
  trials.append(Trial('mov', 'DNxHD', '-c:v dnxhd -s 1280x720 -b:v 60M -pix_fmt yuv422p -r 24'))
  for arguments, note in _SPECIAL:
    trials.append(Trial('mp4', 'H.264', f'{x264} -pix_fmt yuv420p {arguments}', note))
  return trials


def define_flags() -> None:
  """Defines the flags."""
  flags.DEFINE_string('output', None, 'Markdown file to write; default: standard output.')
  flags.DEFINE_string('only', '', 'Only lines that contain this text.')


def main() -> int:
  """Makes, reads, compares; exit code 1 if a line differs from ffmpeg."""
  if shutil.which('ffmpeg') is None:
    raise FileNotFoundError('ffmpeg: no such program; install it to make the files')
  lines, wrong = [], 0
  with tempfile.TemporaryDirectory() as folder:
    for number, trial in enumerate(_trials()):
      path = pathlib.Path(folder) / f'{number}.{trial.suffix}'
      cells = _try(trial, path)
      wrong += cells[-1].startswith('!')
      line = f'| {" | ".join(cells)} |'
      if FLAGS.only in line:
        lines.append(line)
        print(line, flush=True)
      path.unlink(missing_ok=True)
  head = '| container | codec | pixels | frames | against ffmpeg | cut in half |\n|---|---|---|---|---|---|\n'
  if FLAGS.output:
    whole_file.write_text(FLAGS.output, head + '\n'.join(lines) + '\n')
  return int(wrong > 0)


def _try(trial: Trial, path: pathlib.Path) -> list[str]:
  """Cells of a line of the table."""
  command = f'ffmpeg -v error -y {_SOURCE} {trial.arguments} -strict -2 -an'
  made = subprocess.run([*shlex.split(command), str(path)], capture_output=True, check=False)
  cells = [trial.suffix, trial.codec]
  if made.returncode or not path.is_file():
    return [*cells, trial.note, '-', 'this ffmpeg cannot write it', '-']
  pixels = _probe(path, 'pix_fmt')
  note = f', {trial.note}' if trial.note and trial.note not in pixels else ''
  try:
    ours = np.array([frame.image for frame in reader.Film(path).frames()])
  except ValueError as error:
    return [*cells, pixels + note, '0', 'refused: ' + str(error).split(': ', 1)[1][:70], '-']
  return [*cells, pixels + note, str(len(ours)), _compare(ours, path), _cut(path)]


def _probe(path: pathlib.Path, entry: str) -> str:
  command = ['ffprobe', '-v', 'error', '-select_streams', 'v:0', '-show_entries', f'stream={entry}']
  command += ['-of', 'csv=p=0', str(path)]
  out = subprocess.run(command, capture_output=True, text=True, check=False).stdout
  return out.split('\n')[0].strip(',')


def _compare(ours: np.ndarray, path: pathlib.Path) -> str:
  """How the frames differ from those of ffmpeg."""
  height, width = ours.shape[1:3]
  command = ['ffmpeg', '-v', 'error', '-i', str(path), '-vsync', '0', '-map', '0:v:0']
  command += ['-vf', f'scale={width}:{height}:flags=bicubic'] if _stretched(path) else []
  pixels = 'rgba' if _transparent(path) else 'rgb24'
  command += ['-f', 'rawvideo', '-pix_fmt', pixels, '-']
  raw = subprocess.run(command, capture_output=True, check=False).stdout
  theirs = np.frombuffer(raw, np.uint8).reshape(-1, height, width, len(pixels.strip('24')))
  if pixels == 'rgba':
    theirs = np.array([picture.on_black(frame) for frame in theirs])
  if theirs.shape != ours.shape:
    return f'! {len(theirs)} frames'
  difference = np.abs(ours.astype(int) - theirs)
  if not difference.any():
    return 'equal'
  return f'at most {difference.max()}, {difference.mean():.2f} on average'


def _stretched(path: pathlib.Path) -> bool:
  return _probe(path, 'sample_aspect_ratio') not in ('1:1', 'N/A', '0:1', '')


def _transparent(path: pathlib.Path) -> bool:
  pixels = _probe(path, 'pix_fmt')
  return 'a' in pixels.split('p')[0].replace('gray', '') or pixels == 'pal8'


def _cut(path: pathlib.Path) -> str:
  """What the reader says of the first half of the file."""
  data = path.read_bytes()
  half = path.with_name(f'half.{path.name}')
  half.write_bytes(data[: len(data) // 2])
  count = 0
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('error')
      for _ in reader.Film(half).frames():
        count += 1
  except ValueError as error:
    return 'refused' if 'no decodable' in str(error) else f'noticed after {count}'
  except UserWarning:
    return f'warning after {count}'
  finally:
    half.unlink()
  return f'not noticed, {count} frames'


if __name__ == '__main__':
  command_line.run(main, define_flags)
