"""Scoring folders: what is missing or broken, grey files, processes, resuming."""

import errno
import os
import pathlib
import unicodedata

import numpy as np
from PIL import Image
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.data_warning import DataWarning
from feelvos_tf.evaluation import scoring
from feelvos_tf.evaluation import sequences as sequences_lib
from feelvos_tf.evaluation import summary as summary_lib
from feelvos_tf.evaluation import tables

SHAPE = (40, 50)


def rectangle(y, x, object_id=1, size=10):
  ids = np.zeros(SHAPE, np.uint8)
  ids[y : y + size, x : x + size] = object_id
  return ids


@pytest.fixture
def data(tmp_path):
  """A DAVIS root with the sequences 'right' (5 frames) and 'shifted' (4), and their results."""
  root, results = tmp_path / 'DAVIS', tmp_path / 'results'
  (root / 'JPEGImages' / '480p').mkdir(parents=True)
  lists = root / 'ImageSets' / '2017'
  lists.mkdir(parents=True)
  (lists / 'val.txt').write_text('right\nshifted\n')
  for name, count, shift in (('right', 5, 0), ('shifted', 4, 5)):
    for folder, x in ((root / 'Annotations' / '480p' / name, 5), (results / name, 5 + shift)):
      folder.mkdir(parents=True)
      for index in range(count):
        masks.write_mask(folder / f'{index:05d}.png', rectangle(5, x))
  return root, results


def score(data, **options):
  """{name: Outcome} of the made-up data."""
  sequences = sequences_lib.davis_sequences(*data)
  options = {'num_workers': 1, **options}
  found = scoring.score_all(sequences, scoring.EvaluationOptions(**options))
  return {outcome.name: outcome for outcome in found}


def error_of(data, **options):
  """The message of the one sequence that is left out; the other must still be scored."""
  found = score(data, on_error='skip', **options)
  bad = [outcome.error for outcome in found.values() if outcome.error]
  assert len(bad) == 1 and sum(outcome.scores is not None for outcome in found.values()) == 1
  with pytest.raises((ValueError, OSError)) as raised:
    score(data, **options)
  assert str(raised.value) == bad[0]
  return bad[0]


def test_too_many_open_files_are_no_fault_of_a_sequence(data, monkeypatch):
  read = pathlib.Path.read_bytes

  def full(path):
    if path.parent == data[1] / 'right':
      raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))
    return read(path)

  monkeypatch.setattr(pathlib.Path, 'read_bytes', full)
  with pytest.raises(OSError, match='Too many open files'):
    score(data, on_error='skip')


def test_scores_of_files(data):
  found = score(data)
  assert found['right'].scores.j.tolist() == [[1, 1, 1]]
  np.testing.assert_allclose(found['shifted'].scores.j, [[50 / 150] * 2])


def test_processes_give_the_same(data):
  one, two = score(data), score(data, num_workers=2)
  for name in one:
    np.testing.assert_array_equal(one[name].scores.j, two[name].scores.j)
    np.testing.assert_array_equal(one[name].scores.f, two[name].scores.f)


def test_error_in_a_process_reaches_the_caller(data):
  (data[1] / 'right' / '00002.png').unlink()
  with pytest.raises(FileNotFoundError, match='00002.png: no such mask'):
    score(data, num_workers=2)


def test_missing_sequence(data):
  for file in (data[1] / 'right').iterdir():
    file.unlink()
  (data[1] / 'right').rmdir()
  message = error_of(data)
  assert f'{data[1] / "right"}: no results for the sequence' in message


def test_missing_frame(data):
  (data[1] / 'right' / '00002.png').unlink()
  assert f'{data[1] / "right" / "00002.png"}: no such mask' in error_of(data)
  scores = score(data, missing_frames='empty')['right'].scores
  assert scores.j.tolist() == [[1, 0, 1]]
  assert scores.notes == ('1 missing frame(s) counted as empty, the first is 00002.png',)


def test_first_and_last_results_are_not_needed(data):
  for name in ('00000.png', '00004.png'):
    (data[1] / 'right' / name).unlink()
  assert score(data)['right'].scores.j.tolist() == [[1, 1, 1]]


def thin_objects(ids):
  """Objects of two pixels side by side."""
  mask = np.zeros(SHAPE, np.uint8)
  mask[5:25, 5 : 5 + 2 * len(ids)] = np.repeat(ids, 2)
  return mask


def test_predictions_of_thin_objects_are_scored(data):
  """A method may leave little of each; they were refused as antialiased."""
  for index in range(5):
    truth = np.zeros(SHAPE, np.uint8)
    truth[5:25, 5:45] = np.repeat(np.arange(1, 9), 5)
    masks.write_mask(data[0] / 'Annotations' / '480p' / 'right' / f'{index:05d}.png', truth)
    masks.write_mask(data[1] / 'right' / f'{index:05d}.png', thin_objects(np.arange(1, 9)))
  scores = score(data)['right'].scores
  assert scores.object_ids == tuple(range(1, 9))
  np.testing.assert_allclose(scores.j[:, 0], [2 / 5, *[0] * 7])


def test_smoothed_predictions_are_refused(data):
  """Their ids are not those of the ground truth."""
  path = data[1] / 'right' / '00002.png'
  masks.write_mask(path, thin_objects(np.arange(1, 9)))
  assert f'{path}: an antialiased image given (8 values' in error_of(data)


@pytest.mark.parametrize('form, other', [('NFD', 'NFC'), ('NFC', 'NFD')])
def test_results_whose_letters_are_composed_in_another_way(data, form, other):
  """They are there: none of them is missing, and none counts as empty."""
  root, results = data
  truth = root / 'Annotations' / '480p' / 'right'
  for folder, way in ((truth, form), (results / 'right', other)):
    for path in list(folder.iterdir()):
      path.rename(path.with_name(unicodedata.normalize(way, f'Bär {path.name}')))
  for missing in ('error', 'empty'):
    scores = score(data, missing_frames=missing)['right'].scores
    assert scores.notes == () and (scores.j == 1).all()
  frames = root / 'JPEGImages' / '480p' / 'right'
  frames.mkdir()
  for path in (results / 'right').iterdir():
    masks.write_mask(frames / path.name, rectangle(5, 5))
  files = sequences_lib.davis_sequences(*data)[0]
  assert sequences_lib.open_video(files).masked_frames == (0, 1, 2, 3, 4)


@pytest.mark.parametrize('form, other', [('NFD', 'NFC'), ('NFC', 'NFD')])
@pytest.mark.parametrize('is_typed', [False, True])
def test_sequences_whose_letters_are_composed_in_another_way(data, form, other, is_typed):
  """The list, the truth and the results of one sequence; or what is typed, and its files."""
  root, results = data
  truth = root / 'Annotations' / '480p'
  one, two = (unicodedata.normalize(way, 'Bär') for way in (form, other))
  (root / 'ImageSets' / '2017' / 'val.txt').write_text(one, encoding='utf-8')
  (root / 'JPEGImages' / '480p' / one).mkdir()
  (truth / 'right').rename(truth / two)
  (results / 'right').rename(results / one)
  sequences = sequences_lib.davis_sequences(root, results, names=[one] if is_typed else None)
  (outcome,) = scoring.score_all(sequences, scoring.EvaluationOptions(num_workers=1))
  assert outcome.name == two and (outcome.scores.j == 1).all()
  assert sequences[0].frames.is_dir()


def test_other_resolution(data):
  masks.write_mask(data[1] / 'right' / '00001.png', np.zeros((20, 25), np.uint8))
  message = error_of(data)
  assert str(data[1] / 'right' / '00001.png') in message
  assert '25x20 pixels given, 50x40 (the ground truth) expected' in message


def test_rgb_result(data):
  path = data[1] / 'right' / '00003.png'
  Image.fromarray(np.full((*SHAPE, 3), (200, 30, 0), np.uint8)).save(path)
  message = error_of(data)
  assert str(path) in message and 'RGB' in message


def test_truncated_result(data):
  path = data[1] / 'right' / '00003.png'
  path.write_bytes(path.read_bytes()[:60])
  assert str(path) in error_of(data)


def test_empty_ground_truth(data):
  folder = data[0] / 'Annotations' / '480p' / 'right'
  for file in folder.iterdir():
    masks.write_mask(file, np.zeros(SHAPE, np.uint8))
  assert f'{folder}: the ground truth of the first frame (00000) is empty' in error_of(data)


def test_sequence_with_one_frame(data):
  folder = data[0] / 'Annotations' / '480p' / 'right'
  for index in range(1, 5):
    (folder / f'{index:05d}.png').unlink()
  assert f'{folder}: 1 annotated frame(s) given' in error_of(data)


def test_no_ground_truth(data):
  for file in (data[0] / 'Annotations' / '480p' / 'right').iterdir():
    file.unlink()
  assert 'no ground-truth masks found' in error_of(data)


def test_a_folder_of_ground_truth_that_is_refused(data):
  (data[0] / 'Annotations' / '480p' / 'right' / 'thumbnail.jpg').touch()
  found = sequences_lib.with_ground_truth(sequences_lib.davis_sequences(*data))
  assert [files.name for files in found] == ['right', 'shifted']
  assert 'thumbnail.jpg: a mask as .jpg given, expected PNG' in error_of(data)


def grey(path, ids):
  Image.fromarray(ids).save(path)


def test_black_and_white_files(data):
  """DAVIS 2016 as published: grey 0 and 255; results of either kind compare with it."""
  for file in (data[0] / 'Annotations' / '480p' / 'right').iterdir():
    grey(file, rectangle(5, 5, 255))
  for protocol in ('davis2016', 'davis2017'):
    assert score(data, protocol=protocol)['right'].scores.j.tolist() == [[1, 1, 1]]
  for file in (data[1] / 'right').iterdir():
    grey(file, rectangle(5, 5, 255))
  assert score(data)['right'].scores.j.tolist() == [[1, 1, 1]]
  for file in (data[1] / 'right').iterdir():
    masks.write_mask(file, rectangle(5, 5, 255))  # a palette file that keeps the user's id 255
  assert score(data)['right'].scores.j.tolist() == [[1, 1, 1]]


def test_white_is_void_where_the_first_mask_has_ids(data):
  """A grey ground truth with ids, and a frame with nothing but background and void."""
  for file in (data[0] / 'Annotations' / '480p' / 'right').iterdir():
    grey(file, rectangle(5, 5, 255 if file.stem == '00002' else 1))
  assert score(data)['right'].scores.j.tolist() == [[1, 1, 1]]


def test_white_is_an_object_that_appears_late(data):
  """A black first mask says nothing of white; the first mask with an object does."""
  for folder in (data[0] / 'Annotations' / '480p' / 'right', data[1] / 'right'):
    for file in folder.iterdir():
      grey(file, rectangle(5, 5, 0 if file.stem == '00000' else 255))
  scores = score(data, protocol='youtube_vos')['right'].scores
  assert scores.object_ids == (1,)
  np.testing.assert_array_equal(scores.j, [[np.nan, 1, 1, 1]])


def test_resumes_what_has_not_changed(data, tmp_path, monkeypatch):
  sequences = sequences_lib.davis_sequences(*data)
  options = scoring.EvaluationOptions(num_workers=1)
  state = tmp_path / 'state'

  def run(options=options):
    return {o.name: o for o in scoring.score_all(sequences, options, state)}

  first = run()
  assert not any(outcome.resumed for outcome in first.values())
  again = run()
  assert all(outcome.resumed for outcome in again.values())
  for name in first:
    np.testing.assert_array_equal(first[name].scores.j, again[name].scores.j)
    assert first[name].scores.frame_names == again[name].scores.frame_names
  masks.write_mask(data[1] / 'right' / '00001.png', rectangle(20, 20))
  changed = run()
  assert not changed['right'].resumed and changed['shifted'].resumed
  assert changed['right'].scores.j.tolist() == [[0, 1, 1]]
  # As unpacked from an archive: another mask of the same size and time.
  path = data[1] / 'right' / '00001.png'
  stat, before = path.stat(), path.read_bytes()
  moved = next(
    content
    for x in range(5, 30)
    if (content := masks.encode_mask(rectangle(x, 9))) != before and len(content) == len(before)
  )
  path.write_bytes(moved)
  os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
  assert not run()['right'].resumed
  (state / 'right.json').write_text('{"fingerprint":')
  assert not run()['right'].resumed
  other = run(scoring.EvaluationOptions('davis2016', num_workers=1))
  assert not any(outcome.resumed for outcome in other.values())


def test_finished_sequences_survive_a_failure(data, tmp_path):
  (data[1] / 'shifted' / '00002.png').unlink()
  sequences = sequences_lib.davis_sequences(*data)
  options = scoring.EvaluationOptions(num_workers=1)
  with pytest.raises(FileNotFoundError):
    list(scoring.score_all(sequences, options, tmp_path / 'state'))
  assert (tmp_path / 'state' / 'right.json').is_file()


def test_late_objects_survive_the_state_file(data, tmp_path):
  truth = data[0] / 'Annotations' / '480p' / 'right' / '00002.png'
  masks.write_mask(truth, rectangle(5, 5) + rectangle(25, 25, 2))
  files = sequences_lib.davis_sequences(*data, names=['right'])
  options = scoring.EvaluationOptions('youtube_vos', num_workers=1)
  (first,) = scoring.score_all(files, options, tmp_path)
  (again,) = scoring.score_all(files, options, tmp_path)
  assert again.resumed and np.isnan(first.scores.j[1, 0])
  np.testing.assert_array_equal(first.scores.j, again.scores.j)


def test_lists_of_sequences(data, tmp_path):
  found = sequences_lib.davis_sequences(*data, names=['shifted', 'shifted'])
  assert [files.name for files in found] == ['shifted']
  with pytest.raises(FileNotFoundError, match='--davis_root'):
    sequences_lib.davis_sequences(tmp_path / 'nowhere', data[1])
  with pytest.raises(FileNotFoundError, match='no such split'):
    sequences_lib.davis_sequences(*data, split='test')
  with pytest.raises(FileNotFoundError, match='--youtube_vos_root'):
    sequences_lib.youtube_vos_sequences(tmp_path / 'nowhere', data[1])


def test_a_video_without_annotations_is_not_left_out_silently(tmp_path):
  for folder in ('JPEGImages/a', 'JPEGImages/b', 'Annotations/a'):
    (tmp_path / folder).mkdir(parents=True)
  with pytest.warns(DataWarning, match='JPEGImages/b: left out, as .*Annotations has no masks'):
    (files,) = sequences_lib.youtube_vos_sequences(tmp_path, tmp_path / 'results')
  assert files.name == 'a'


def test_options_are_checked():
  with pytest.raises(ValueError, match="protocol is 'davis'; expected one of davis2016"):
    scoring.EvaluationOptions(protocol='davis')
  with pytest.raises(ValueError, match='num_workers is -1; expected at least 0'):
    scoring.EvaluationOptions(num_workers=-1)


def test_sequences_without_ground_truth(data):
  for index in range(1, 5):
    (data[0] / 'Annotations' / '480p' / 'right' / f'{index:05d}.png').unlink()
  found = sequences_lib.with_ground_truth(sequences_lib.davis_sequences(*data))
  assert [files.name for files in found] == ['shifted']


def test_sparse_masks_that_go_on_are_ground_truth(tmp_path):
  """Masks on every fifth frame, an object that appears late: the second mask introduces it."""
  truth, frames = tmp_path / 'truth', tmp_path / 'frames'
  for folder in (truth, frames):
    folder.mkdir()
  for index in range(11):
    (frames / f'{index:05d}.jpg').touch()
  files = sequences_lib.SequenceFiles('clip', truth, tmp_path / 'results', frames)
  # An empty mask tells nothing: an object may be too small for the size of the masks.
  for index, ids in ((0, rectangle(5, 5)), (5, rectangle(20, 20, 2)), (10, rectangle(5, 5, 0))):
    masks.write_mask(truth / f'{index:05d}.png', ids)
  assert not sequences_lib.with_ground_truth([files], sparse_masks_given=True)
  masks.write_mask(truth / '00010.png', rectangle(20, 20, 2))
  assert sequences_lib.with_ground_truth([files], sparse_masks_given=True) == [files]


def test_tables(data):
  found = score(data)
  sequences = [found[name].scores for name in ('right', 'shifted')]
  # The contours are rings of 40 pixels, 5 apart: 7 pixels of the upper and of the lower side
  # and 2 of one upright side come within a pixel of the other ring: F = 16/40.
  assert tables.per_sequence_csv(sequences).splitlines() == [
    'Sequence,J-Mean,F-Mean',
    'right_1,1.000,1.000',
    'shifted_1,0.333,0.400',
  ]
  summary = summary_lib.summarise(sequences)
  assert tables.global_csv(summary).splitlines()[0] == (
    'J&F-Mean,J-Mean,J-Recall,J-Decay,F-Mean,F-Recall,F-Decay'
  )
  assert tables.global_csv(summary).splitlines()[1].startswith('0.683,0.667,0.500,0.000')


def test_summary_round_trip(data, tmp_path):
  found = score(data)
  sequences = [found[name].scores for name in ('right', 'shifted')]
  summary = tables.to_summary(sequences, {'gone': 'not there'}, {'split': 'val'})
  for name, content in tables.to_files('val', sequences, summary).items():
    (tmp_path / name).write_bytes(content)
  assert tables.read_summary(tmp_path) == summary
  assert summary['complete'] is False
  assert summary['sequences']['right']['objects']['1']['J']['per_frame'] == [1, 1, 1]
  text = '\n'.join(tables.format_lines(summary))
  assert 'LEFT OUT: 1 of 3 sequences' in text and 'gone: not there' in text
  with pytest.raises(FileNotFoundError, match='earlier evaluation'):
    tables.read_summary(tmp_path / 'nowhere')
  (tmp_path / 'summary.json').write_text('{}')
  with pytest.raises(ValueError, match='not the summary of an evaluation'):
    tables.read_summary(tmp_path)


def test_frames_that_are_missing_are_no_shorter_video(data):
  """Without its first frame a video would begin with a mask that is scored."""
  root, results = data
  frames = root / 'JPEGImages' / '480p' / 'right'
  frames.mkdir()
  for index in range(1, 5):
    Image.fromarray(np.zeros((*SHAPE, 3), np.uint8)).save(frames / f'{index:05d}.png')
  files, _ = sequences_lib.davis_sequences(root, results)
  with pytest.raises(ValueError, match=r'right/00000\.png: a mask without a frame given'):
    sequences_lib.open_video(files)
