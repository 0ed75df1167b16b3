r"""What masks at both ends of a gap give its frames: forward, backward, and both merged.

  python -m tools.measure_directions --davis_root=DAVIS --year=2016 --output_dir=runs/directions

Segments every gap from both ends and keeps what the model says of every frame in
`<sequence>.npz`; so another rule in `inference/merging.py` is scored in a minute by the same
command. It goes on after an interruption. Prints J&F of the frames at a quarter, in the middle and
at three quarters of the gaps, of their middle fifths, and of all frames between the masks: means
over gaps, then over sequences. Writes directions.json. The results are in docs/masks.md, "Both
directions".
"""

from collections.abc import Sequence
import json
from typing import Any, TYPE_CHECKING

from absl import flags
import numpy as np

from feelvos_tf.datasets.video import Video
from feelvos_tf.evaluation import directions
from feelvos_tf.evaluation import methods
from feelvos_tf.evaluation import segmenting
from feelvos_tf.evaluation import sequence_scores
from feelvos_tf.evaluation import sequences as sequences_lib
from feelvos_tf.inference import speed
from feelvos_tf.runtime import command_line
from feelvos_tf.runtime import result_folder
from feelvos_tf.tools import davis_runs

if TYPE_CHECKING:
  from feelvos_tf.inference.segmenter import VideoSegmenter

FLAGS = flags.FLAGS
_JOB, FILE = 'directions', 'directions.json'
PLACES = {'a quarter': 0.25, 'the middle': 0.5, 'three quarters': 0.75}


def define_flags() -> None:
  """Defines the flags; only when run as a program, so that mains can be imported together."""
  davis_runs.define_flags(f'Folder for {FILE} and what the model said.')
  flags.DEFINE_integer(
    'every', 0, 'Frames from a mask to the next; 0: the first and the last frame.', lower_bound=0
  )
  flags.DEFINE_enum('speed', speed.DEFAULT_SPEED, list(speed.SPEEDS), 'Preset.')


def main() -> None:
  """Measures one sequence after another, then prints the table."""
  davis = davis_runs.begin()
  run = methods.ModelRun(
    str(davis.model),
    speed.segmenter_options(FLAGS.speed),
    davis.precision,
    tuple(speed.model_overrides(FLAGS.speed).items()),
  )
  made_by = f'{run.fingerprint()} {FLAGS.every} {davis.rules.name}'
  with result_folder.ResultFolder(FLAGS.output_dir, run.fingerprint(), overwrite=True) as output:
    scores = _measure_all(run, made_by, davis.rules, davis.sequences, output)
    output.write(_JOB, FILE, f'{json.dumps(_to_json(scores))}\n'.encode())
  print(table(scores))


def _measure_all(
  run: methods.ModelRun,
  made_by: str,
  rules: sequence_scores.Protocol,
  sequences: Sequence[sequences_lib.SequenceFiles],
  output: result_folder.ResultFolder,
) -> dict[str, list[np.ndarray]]:
  """{sequence: scores of every gap, float [ways, frames]}; runs the model where a file lacks."""
  output.check_free(_JOB, [FILE, *(f'{files.name}.npz' for files in sequences)])
  segmenters: methods.Segmenters | None = None
  scores = {}
  for files in sequences:
    video, path = (
      sequences_lib.open_video(files, rules.foreground_only),
      output.path / f'{files.name}.npz',
    )
    made_of = f'{made_by} {segmenting.data_of(video)}'
    gaps = directions.from_bytes(path.read_bytes(), made_of) if path.exists() else None
    if gaps is None:
      segmenters = segmenters or methods.Segmenters(run)
      gaps = _run(video, segmenters.of_model())
      output.write(_JOB, path.name, directions.to_bytes(gaps, made_of))
    scores[files.name] = [directions.score(video, gap) for gap in gaps]
    print(_line(files.name, scores[files.name]), flush=True)
  return scores


def _run(video: Video, segmenter: 'VideoSegmenter') -> list[directions.Gap]:
  ends = directions.ends(video.num_frames or 0, FLAGS.every)
  return [directions.run(video, segmenter, *pair) for pair in ends]


def table(scores: dict[str, list[np.ndarray]]) -> str:
  """Lines of a Markdown table: J&F of every way by place in the gap.

  Args:
    scores: {sequence: `directions.score` of every gap}.
  """
  rows = [f'| frame between the masks | {" | ".join(directions.WAYS)} |', '|---|--:|--:|--:|']
  for name, place in PLACES.items():
    rows.append(_row(f'at {name}', [_at(gaps, place) for gaps in scores.values()]))
  fifth = [[_middle_fifth(gap) for gap in gaps] for gaps in scores.values()]
  rows.append(_row('the middle fifth', [_mean(gaps) for gaps in fifth]))
  rows.append(_row('all', [_mean(gaps) for gaps in scores.values()]))
  return '\n'.join(rows)


def _at(gaps: Sequence[np.ndarray], place: float) -> np.ndarray:
  """Mean scores [ways] of the frame at a place of the gaps, 0 to 1."""
  return np.mean([gap[:, round(place * (gap.shape[1] - 1))] for gap in gaps], axis=0)


def _middle_fifth(gap: np.ndarray) -> np.ndarray:
  """Scores [ways, frames] of the frames between 40 and 60 % of the gap, one at least."""
  frames = gap.shape[1]
  first = min(round(0.4 * frames), frames - 1)
  return gap[:, first : max(first + 1, round(0.6 * frames))]


def _mean(gaps: Sequence[np.ndarray]) -> np.ndarray:
  return np.concatenate(gaps, axis=1).mean(axis=1)


def _row(name: str, values: Sequence[np.ndarray]) -> str:
  return f'| {name} | {" | ".join(f"{v:.3f}" for v in np.mean(values, axis=0))} |'


def _line(name: str, gaps: Sequence[np.ndarray]) -> str:
  middle, mean = _at(gaps, 0.5), _mean(gaps)
  text = ', '.join(f'{way} {m:.3f}' for way, m in zip(directions.WAYS, middle))
  all_of_it = ', '.join(f'{m:.3f}' for m in mean)
  return f'{name}: {len(gaps)} gaps; middle: {text}; all frames: {all_of_it}'


def _to_json(scores: dict[str, list[np.ndarray]]) -> dict[str, Any]:
  return {name: [gap.tolist() for gap in gaps] for name, gaps in scores.items()}


if __name__ == '__main__':
  command_line.run(main, define_flags)
