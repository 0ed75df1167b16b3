"""The report: what is shown, that it stands alone, that it stays small."""

import base64
from html import parser
import re

import cv2
import numpy as np
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.evaluation import pictures as pictures_lib
from feelvos_tf.evaluation import report
from feelvos_tf.evaluation import scoring
from feelvos_tf.evaluation import sequences as sequences_lib
from feelvos_tf.evaluation import tables

SHAPE = (40, 60)
FRAMES = 12


def square(x, object_id=1):
  ids = np.zeros(SHAPE, np.uint8)
  ids[10:30, x : x + 20] = object_id
  return ids


@pytest.fixture
def make_run(tmp_path):
  """Scores made-up results of two sequences; returns (summary, sequences)."""
  root = tmp_path / 'DAVIS'
  for name in ('dog', 'a<b&c'):
    for kind in ('JPEGImages', 'Annotations'):
      (root / kind / '480p' / name).mkdir(parents=True)
    for index in range(FRAMES):
      cv2.imwrite(
        str(root / 'JPEGImages' / '480p' / name / f'{index:05d}.jpg'),
        np.full((*SHAPE, 3), 128, np.uint8),
      )
      masks.write_mask(root / 'Annotations' / '480p' / name / f'{index:05d}.png', square(20))

  def make(run_name, shift_of_frame):
    results = tmp_path / run_name
    for name in ('dog', 'a<b&c'):
      (results / name).mkdir(parents=True)
      for index in range(FRAMES):
        ids = square(20 + (shift_of_frame(index) if name == 'dog' else 0))
        masks.write_mask(results / name / f'{index:05d}.png', ids)
    sequences = sequences_lib.davis_sequences(root, results, names=['dog', 'a<b&c'])
    options = scoring.EvaluationOptions(num_workers=1)
    scored = [o.scores for o in scoring.score_all(sequences, options)]
    settings = {'run': run_name, 'results_dir': str(results), 'protocol': 'davis2017'}
    return tables.to_summary(scored, {}, settings), sequences

  return make


class Tags(parser.HTMLParser):
  """Checks that tags are closed in order, and keeps addresses."""

  def __init__(self):
    super().__init__()
    self.open, self.addresses = [], []

  def handle_starttag(self, tag, attrs):
    self.addresses += [v for k, v in attrs if k in ('src', 'href')]
    if tag not in ('meta', 'img', 'br'):
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    pass  # <line/>, <path/>

  def handle_endtag(self, tag):
    assert self.open.pop() == tag


def written(path, *args, **kwargs):
  """Writes a report, checks its form, returns the text."""
  path.write_bytes(report.to_html(*args, **kwargs))
  text = path.read_text(encoding='utf-8')
  tags = Tags()
  tags.feed(text)
  assert not tags.open
  assert all(address.startswith('data:image/jpeg;base64,') for address in tags.addresses)
  assert 'http' not in text
  return text


def pictures(text):
  """The embedded pictures, decoded."""
  found = re.findall(r'base64,([^"]+)"', text)
  return [cv2.imdecode(np.frombuffer(base64.b64decode(d), np.uint8), 1) for d in found]


def bad_at(*frames):
  return lambda index: 15 if index in frames else 0


def test_report_of_one_run(make_run, tmp_path):
  summary, sequences = make_run('mine', bad_at(3, 8))
  text = written(tmp_path / 'report.html', summary, sequences)
  assert 'Evaluation of mine' in text and 'dog_1' in text
  assert 'a&lt;b&amp;c' in text and 'a<b&c' not in text
  assert 'frame 00003, object 1: J 0.143' in text  # 5 of 35 columns
  assert 'frame 00008, object 1: J 0.143' in text
  assert all(picture.shape == (320, 480, 3) for picture in pictures(text))
  assert text.index('<h3>dog</h3>') < text.index('<h3>a&lt;b&amp;c</h3>')  # the worst first


def test_comparison_of_two_runs(make_run, tmp_path):
  summary, sequences = make_run('mine', bad_at(3))
  other, _ = make_run('theirs', bad_at(9))
  text = written(
    tmp_path / 'report.html',
    summary,
    sequences,
    other=other,
    options=pictures_lib.PictureOptions(per_sequence=1),
  )
  assert 'this run: mine' in text and 'other run: theirs' in text
  assert text.count('class="theirs"') == 2
  assert 'frame 00003, object 1: J 0.143' in text and 'other run: J 1.000' in text
  assert 'not over the same objects' not in text
  del other['sequences']['dog']
  text = written(tmp_path / 'report.html', summary, sequences, other=other)
  assert 'not over the same objects' in text
  assert '<td>this run, 1 common objects</td><td>1.000</td>' in text


def test_masks_of_the_other_run_are_gone(make_run, tmp_path):
  summary, sequences = make_run('mine', bad_at(3))
  other, _ = make_run('theirs', bad_at(9))
  other['settings']['results_dir'] = str(tmp_path / 'gone')
  text = written(tmp_path / 'report.html', summary, sequences, other=other)
  assert 'other run: J' not in text and 'class="theirs"' in text


def test_a_file_that_only_pictures_need_does_not_end_an_evaluation(make_run, tmp_path):
  """A damaged frame, and a mask of another size in the run compared with."""
  summary, sequences = make_run('new', bad_at(6))
  other, _ = make_run('old', bad_at(2))
  (sequences[0].frames / '00006.jpg').write_bytes(b'no picture')
  masks.write_mask(tmp_path / 'old' / 'dog' / '00002.png', np.ones((4, 4), np.uint8))
  text = written(tmp_path / 'a.html', summary, sequences, other=other)
  assert re.search('<p class="warning">[^<]*dog/00006.jpg: ', text)
  assert re.search('<p class="warning">[^<]*old/dog/00002.png: a mask of 4x4', text)
  assert 'frame 00002, object 1' in text


def test_left_out_sequences_are_announced(make_run, tmp_path):
  summary, sequences = make_run('mine', bad_at())
  summary['left_out'] = {'cat': 'no <results>'}
  text = written(tmp_path / 'report.html', summary, sequences)
  assert 'Not the whole split' in text and 'no &lt;results&gt;' in text


def test_pictures_that_do_not_fit_are_left_out(make_run, tmp_path, monkeypatch):
  summary, sequences = make_run('mine', bad_at(3, 8))
  full = written(tmp_path / 'report.html', summary, sequences)
  monkeypatch.setattr(report, 'MAX_BYTES', len(full) - 20_000)
  text = written(tmp_path / 'report.html', summary, sequences)
  assert len(text) < len(full) and 'Pictures of 1 sequences' in text
  assert '<h3>dog</h3>' in text and '<h3>a&lt;b&amp;c</h3>' not in text


def test_no_pictures_wanted(make_run, tmp_path):
  summary, sequences = make_run('mine', bad_at(3))
  options = pictures_lib.PictureOptions(per_sequence=0)
  assert not pictures(written(tmp_path / 'report.html', summary, sequences, options=options))


def test_colours_of_errors(make_run):
  summary, sequences = make_run('mine', bad_at(3))
  (moment,) = pictures_lib.worst_moments(summary['sequences']['dog'], 1)
  options = pictures_lib.PictureOptions(width=SHAPE[1], jpeg_quality=100)
  jpeg = pictures_lib.draw_moment(sequences[0], moment, 'davis2017', options)
  image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1)[..., ::-1].astype(int)

  def tinted(colour):
    return np.abs(image - (128 + np.array(colour)) / 2).max(-1) < 30

  missed, wrong = (tinted(c) for c in (pictures_lib.MISSED_COLOUR, pictures_lib.WRONG_COLOUR))
  assert missed[15:25, 24:31].mean() > 0.9  # the true square begins at 20, the predicted at 35
  assert wrong[15:25, 44:51].mean() > 0.9
  assert not missed[:8].any() and not wrong[:8].any()


@pytest.mark.parametrize(
  'name, beside',
  [
    ('00003', [f'00003.{end}' for end in ('json', 'txt', 'xml', 'xmp', 'npy', 'aae', 'csv', 'md')]),
    ('3', ['3.1.png']),
    ('3[a]', []),
  ],
)
def test_the_frame_itself_is_drawn(tmp_path, name, beside):
  """Not what lies beside it with a longer name: annotations, a frame with a dot."""
  truth, results, frames = (tmp_path / part for part in ('truth', 'results', 'frames'))
  for folder in (truth, results):
    folder.mkdir()
    masks.write_mask(folder / f'{name}.png', square(0))
  frames.mkdir()
  for other in beside:
    (frames / other).write_text('{}')
  cv2.imwrite(str(frames / f'{name}.png'), np.full((*SHAPE, 3), 200, np.uint8))
  files = sequences_lib.SequenceFiles('dog', truth, results, frames)
  options = pictures_lib.PictureOptions(width=SHAPE[1])
  moment = pictures_lib.Moment(name, 1, 1.0)
  jpeg = pictures_lib.draw_moment(files, moment, 'davis2017', options)
  picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
  assert abs(int(picture[-1, -1, 0]) - 200) < 4


def test_a_missing_frame_is_drawn_grey_and_a_missing_result_empty(make_run):
  _summary, sequences = make_run('mine', bad_at(3))
  (sequences[0].frames / '00003.jpg').unlink()
  (sequences[0].results / '00003.png').unlink()
  moment = pictures_lib.Moment('00003', 1, 0.0)
  jpeg = pictures_lib.draw_moment(sequences[0], moment, 'davis2016')
  assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1).shape == (320, 480, 3)


def entry(*rows):
  """A sequence of a summary with J of its objects 1, 2, ..."""
  objects = {str(i): {'J': {'per_frame': list(row)}} for i, row in enumerate(rows, 1)}
  return {'frames': [f'{i:05d}' for i in range(1, len(rows[0]) + 1)], 'objects': objects}


def test_worst_moments_are_spread_over_the_sequence():
  values = [0.9] * 40
  values[10:13], values[30] = [0.3, 0.1, 0.2], 0.5
  moments = pictures_lib.worst_moments(entry(values), 2)
  assert [(m.frame, m.j) for m in moments] == [('00012', 0.1), ('00031', 0.5)]


def test_worst_moment_names_the_worst_object():
  (moment,) = pictures_lib.worst_moments(entry([0.9, 0.8, 0.9], [None, None, 0.2]), 1)
  assert (moment.frame, moment.object_id) == ('00003', 2)


def test_the_largest_difference_is_shown_as_well():
  mine, theirs = entry([0.9, 0.5, 0.8, 0.8]), entry([0.9, 0.5, 0.1, 0.8])
  moments = pictures_lib.worst_moments(mine, 1, theirs)
  assert [(m.frame, m.j, m.other_j) for m in moments] == [('00002', 0.5, 0.5), ('00003', 0.8, 0.1)]


def test_sparkline_keeps_failures_and_gaps():
  long = [0.9] * 1000
  long[500] = 0.0
  assert f'{report.sparkline(long)}'.count('L') < 130
  heights = re.findall(r'[LM][\d.]+ ([\d.]+)', report.sparkline(long))
  assert max(map(float, heights)) == 28  # the bottom line of the picture: J = 0
  assert report.sparkline([0.5, None, 0.5]).count('M') == 2
  assert 'class="ours"' not in report.sparkline([])
