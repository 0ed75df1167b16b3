r"""How well the confidence and the repair list work, and what one correction gains.

  python -m tools.measure_repairs --davis_root=DAVIS --year=2016 --output_dir=runs/repairs

Segments every sequence, gives the ground truth to the frame at the top of its repair list, and
segments the frames after it again. Prints a table, the AUROC of the confidence (J below .5), how
often the list finds a wrong mask, and the gain in J&F. Writes repairs.json. Run the command again
after an interruption: finished sequences are kept. One run at a time writes to a folder, and only
files that a run wrote are replaced. The results are in docs/notes/confidence.md.
"""

from collections.abc import Sequence
import dataclasses
import json
import pathlib

from absl import flags
import numpy as np

from feelvos_tf.datasets.video import Video
from feelvos_tf.evaluation import confidence_score
from feelvos_tf.evaluation import methods
from feelvos_tf.evaluation import repairs
from feelvos_tf.evaluation import segmenting
from feelvos_tf.evaluation import sequence_scores
from feelvos_tf.evaluation import sequences as sequences_lib
from feelvos_tf.runtime import command_line
from feelvos_tf.runtime import result_folder
from feelvos_tf.tools import davis_runs

FLAGS = flags.FLAGS
_JOB, FILE = 'repairs', 'repairs.json'


def define_flags() -> None:
  """Defines the flags; only when run as a program, so that mains can be imported together."""
  davis_runs.define_flags(f'Folder for {FILE}.')


def main() -> None:
  """Measures one sequence after another, then prints the table."""
  davis = davis_runs.begin()
  run = methods.ModelRun(str(davis.model), precision=davis.precision)
  with result_folder.ResultFolder(FLAGS.output_dir, run.fingerprint(), overwrite=True) as output:
    _measure_all(run, davis.rules, davis.sequences, output)


def _measure_all(
  run: methods.ModelRun,
  protocol: sequence_scores.Protocol,
  sequences: Sequence[sequences_lib.SequenceFiles],
  output: result_folder.ResultFolder,
) -> None:
  """Measures what an earlier run of the same model has not; prints a line each, then the table."""
  videos = {files.name: _video(files, protocol) for files in sequences}
  data = {n: f'{protocol.name} {segmenting.data_of(video)}' for n, video in videos.items()}
  done = _read(output.path / FILE, run.fingerprint(), data)
  if any(files.name not in done for files in sequences):
    output.check_free(_JOB, [FILE])
    segmenters = methods.Segmenters(run)
  for files in sequences:
    if files.name not in done:
      video = videos[files.name]
      done[files.name] = repairs.measure(video, segmenters.of_model(), protocol)
      _write(output, run.fingerprint(), data, done)
    print(_line(done[files.name]), flush=True)
  print(summary([done[files.name] for files in sequences]))


def summary(results: Sequence[repairs.Repair]) -> str:
  """Lines about several videos.

  Args:
    results: list of `repairs.Repair`.
  """
  pairs = [
    (confidence, j < confidence_score.WRONG_J)
    for result in results
    for confidences, row in zip(result.confidences, result.j)
    for confidence, j in zip(confidences, row)
    if j is not None
  ]
  wrong = [is_wrong for _, is_wrong in pairs]
  bad = [result for result in results if result.has_wrong]
  mean = lambda field: np.mean([getattr(result, field) for result in results])
  others = mean('after_of_others') - mean('before_of_others')
  return '\n'.join(
    [
      f'AUROC of J below {confidence_score.WRONG_J}: '
      f'{confidence_score.auroc([c for c, _ in pairs], wrong):.3f} '
      f'({sum(wrong)} of {len(wrong)} masks)',
      f'videos with such a mask: {len(bad)}; one is named by the first {repairs.FIRST} entries in '
      f'{sum(result.is_found for result in bad)}',
      f'mean J&F {mean("before"):.3f}; after one correction {mean("after"):.3f} '
      f'({mean("after") - mean("before"):+.3f}; {others:+.3f} on the other frames)',
    ]
  )


def _line(result: repairs.Repair) -> str:
  listed = ', '.join(
    f'{index} (object {object_id}, {confidence:.2f}, {"-" if j is None else f"J {j:.2f}"})'
    for index, object_id, confidence, j in result.entries[: repairs.FIRST]
  )
  wrong = sum(j is not None and j < confidence_score.WRONG_J for row in result.j for j in row)
  return (
    f'{result.name}: {wrong} wrong masks; {result.before:.3f} -> {result.after:.3f}; '
    f'list: {listed or "empty"}'
  )


def _video(files: sequences_lib.SequenceFiles, protocol: sequence_scores.Protocol) -> Video:
  video = sequences_lib.open_video(files, protocol.foreground_only)
  masks, frames = len(video.masked_frames), video.num_frames
  if frames is None or masks < frames:
    raise ValueError(
      f'{files.truth}: {masks} masks for {frames} frames given, expected one for each'
    )
  return video


def _read(path: pathlib.Path, fingerprint: str, data: dict[str, str]) -> dict[str, repairs.Repair]:
  """{name: Repair} of an earlier run of the same model on the same data {name: hash of it}."""
  try:
    known = json.loads(path.read_text(encoding='utf-8'))
    if known['fingerprint'] != fingerprint:
      return {}
    found = {one['name']: repairs.Repair(**one) for one in known['videos']}
    return {name: one for name, one in found.items() if known['data'][name] == data.get(name)}
  except (OSError, ValueError, KeyError, TypeError):
    return {}


def _write(
  output: result_folder.ResultFolder,
  fingerprint: str,
  data: dict[str, str],
  done: dict[str, repairs.Repair],
) -> None:
  content = {
    'fingerprint': fingerprint,
    'data': {name: data[name] for name in done},
    'videos': [dataclasses.asdict(one) for one in done.values()],
  }
  output.write(_JOB, FILE, f'{json.dumps(content)}\n'.encode())


if __name__ == '__main__':
  command_line.run(main, define_flags)
