"""Folders of images and video files as a user has them."""

import unicodedata

import cv2
import numpy as np
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.datasets.data_warning import DataWarning
from feelvos_tf.datasets.sources import folder
from feelvos_tf.runtime import packaged_files

HEIGHT, WIDTH = 48, 64


def picture(i, height=HEIGHT, width=WIDTH):
  image = np.zeros((height, width, 3), np.uint8)
  image[..., 0] = 10 * i % 256
  cv2.circle(image, (20 + i, 20), 10, (0, 255, 0), -1)
  return image


def ids(value=1, size=(HEIGHT, WIDTH)):
  result = np.zeros(size, np.uint8)
  result[10:30, 10:30] = value
  return result


@pytest.fixture
def frames_folder(tmp_path):
  path = tmp_path / 'clip'
  path.mkdir()
  for i in range(12):  # f9 before f10 needs natural order.
    cv2.imwrite(str(path / f'f{i}.png'), picture(i)[..., ::-1])
  return path


@pytest.mark.parametrize('suffix', ['png', 'tiff'])
@pytest.mark.parametrize('most, is_dark', [(4095, True), (65535, False)])
def test_16_bits_that_are_not_all_used(tmp_path, suffix, most, is_dark, recwarn):
  """Sensors of 10 and 12 bits: such frames are nearly black in 8 bits."""
  values = np.linspace(0, most, 48).astype(np.uint16).reshape(6, 8)
  cv2.imwrite(str(tmp_path / f'0.{suffix}'), values)
  assert folder.open_video(tmp_path).frame_size == (6, 8)
  found = [str(one.message) for one in recwarn.list]
  assert is_dark == any('nearly black, with values up to 15 of 255' in text for text in found)
  assert len(found) == is_dark


def write_video(path, count=8, fourcc='mp4v', fps=12.0):
  writer = cv2.VideoWriter(
    str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*fourcc), fps, (WIDTH, HEIGHT)
  )
  for i in range(count):
    writer.write(picture(i)[..., ::-1])
  writer.release()
  return path


def test_folder_in_natural_order(frames_folder):
  video = folder.open_video(frames_folder)
  assert (video.name, video.num_frames, video.frame_size) == ('clip', 12, (HEIGHT, WIDTH))
  assert list(video.frame_names) == [f'f{i}' for i in range(12)]
  for i, frame in enumerate(video.frames()):
    np.testing.assert_array_equal(frame, picture(i))
  assert [f[0, 0, 0] for f in video.frames(start=10)] == [100, 110]
  np.testing.assert_array_equal(video.frame(3), picture(3))
  assert video.masked_frames == () and video.mask(0) is None
  with pytest.raises(IndexError, match='no frame 12'):
    video.frame(12)


def test_mask_of_the_first_frame(frames_folder, tmp_path):
  masks.write_mask(tmp_path / 'm.png', ids(9))
  video = folder.open_video(frames_folder, tmp_path / 'm.png')
  assert video.masked_frames == (0,)
  assert video.mask(0).object_ids == (9,) and video.mask(1) is None


def test_folder_of_masks_is_matched_by_name(frames_folder, tmp_path):
  for name in ('f2', 'f10', 'unrelated'):
    masks.write_mask(tmp_path / f'{name}.png', ids(9))
  assert folder.open_video(frames_folder, tmp_path).masked_frames == (2, 10)
  (tmp_path / 'other').mkdir()
  with pytest.raises(ValueError, match='none named like a frame'):
    folder.open_video(frames_folder, tmp_path / 'other')


def test_first_mask_decides_what_white_means(frames_folder, tmp_path):
  """Ids with void: a later mask with nothing but void must not turn into object 1."""
  cv2.imwrite(str(tmp_path / 'f0.png'), ids(0))
  cv2.imwrite(str(tmp_path / 'f1.png'), ids(2))
  cv2.imwrite(str(tmp_path / 'f2.png'), ids(255))
  assert folder.open_video(frames_folder, tmp_path).mask(2).object_ids == ()
  cv2.imwrite(str(tmp_path / 'f1.png'), ids(255))
  assert folder.open_video(frames_folder, tmp_path).mask(2).object_ids == (1,)


def test_single_object_keeps_void(frames_folder, tmp_path):
  values = ids(5)
  values[40:, :] = 3
  values[:5, :] = 255
  masks.write_mask(tmp_path / 'f0.png', values)
  video = folder.FolderVideo(
    'v', sorted(frames_folder.iterdir())[:1], {0: tmp_path / 'f0.png'}, single_object=True
  )
  np.testing.assert_array_equal(video.mask(0).ids, np.where(values == 255, 255, values > 0))


def test_unreadable_frame_in_the_middle(frames_folder):
  data = (frames_folder / 'f3.png').read_bytes()
  (frames_folder / 'f3.png').write_bytes(data[: len(data) // 2])
  seen = []
  with pytest.raises(ValueError, match=r'f3\.png: unreadable picture'):
    for frame in folder.open_video(frames_folder).frames():
      seen.append(frame)
  assert len(seen) == 3


def test_frame_of_another_size(frames_folder):
  cv2.imwrite(str(frames_folder / 'f2.png'), picture(2, height=50))
  seen = []
  with pytest.raises(ValueError, match=r'f2\.png: a frame of 50x64 .* expected 48x64'):
    seen.extend(folder.open_video(frames_folder).frames())
  assert len(seen) == 2


def test_mask_of_another_size(frames_folder, tmp_path):
  masks.write_mask(tmp_path / 'm.png', ids(1, (24, 32)))
  with pytest.raises(ValueError, match=r'm\.png: a mask of 24x32 .* expected 48x64'):
    folder.open_video(frames_folder, tmp_path / 'm.png').mask(0)


def test_video_file(tmp_path):
  path = write_video(tmp_path / 'v.mp4')
  masks.write_mask(tmp_path / 'm.png', ids(4))
  video = folder.open_video(path, tmp_path / 'm.png')
  assert (video.name, video.num_frames, video.frame_size) == ('v', 8, (HEIGHT, WIDTH))
  assert video.fps == pytest.approx(12.0) and list(video.frame_names)[7] == '00007'
  read = list(video.frames())
  assert len(read) == 8
  for i in range(8):  # RGB, in order: lossy, but the blue channel of BGR would be far off.
    np.testing.assert_allclose(read[i].astype(int).mean((0, 1)), picture(i).mean((0, 1)), atol=6)
  later = list(video.frames(start=5))
  assert len(later) == 3
  np.testing.assert_array_equal(later[0], read[5])
  np.testing.assert_array_equal(video.frame(5), read[5])
  assert video.mask(0).object_ids == (4,) and video.mask(1) is None


def test_video_file_is_read_lazily(tmp_path):
  frames = folder.open_video(write_video(tmp_path / 'v.mp4')).frames()
  assert next(frames).shape == (HEIGHT, WIDTH, 3)
  frames.close()


def test_video_that_breaks_off(tmp_path):
  path = write_video(tmp_path / 'v.avi', count=40, fourcc='MJPG')
  data = path.read_bytes()
  path.write_bytes(data[: len(data) // 2])
  video = folder.open_video(path)
  count = 0
  with pytest.raises(ValueError, match='breaks off after'):
    for _ in video.frames():
      count += 1
  assert 10 < count < 30


@pytest.mark.parametrize('content', [b'', b'no video at all' * 100])
def test_no_decodable_stream(tmp_path, content):
  (tmp_path / 'v.mp4').write_bytes(content)
  with pytest.raises(ValueError, match='no decodable video stream'):
    folder.open_video(tmp_path / 'v.mp4')


def test_truncated_mp4_has_no_decodable_stream(tmp_path):
  path = write_video(tmp_path / 'v.mp4')
  path.write_bytes(path.read_bytes()[:1500])
  with pytest.raises(ValueError, match='v.mp4: '):
    folder.open_video(path)


def test_zero_frames_and_missing_paths(tmp_path, frames_folder):
  empty = tmp_path / 'empty'
  empty.mkdir()
  with pytest.raises(ValueError, match='a folder with 0 frames'):
    folder.open_video(empty)
  with pytest.raises(ValueError, match='a single image given'):
    folder.open_video(frames_folder / 'f0.png')
  with pytest.raises(FileNotFoundError, match='no such video file'):
    folder.open_video(tmp_path / 'none.mp4')
  with pytest.raises(FileNotFoundError, match='no such mask'):
    folder.open_video(frames_folder, tmp_path / 'none.png')
  with pytest.raises(ValueError, match='0 frames'):
    folder.FolderVideo('v', [])
  with pytest.raises(ValueError, match='a mask for frame 1'):
    folder.FolderVideo('v', [frames_folder / 'f0.png'], {1: 'x.png'})


def test_demo_clip():
  """The bundled clip can be read with its mask, and stays small."""
  demo = packaged_files.DEMO_CLIP.parent
  video = folder.open_video(demo / 'clip.mp4', demo / 'mask.png')
  assert video.num_frames == 56 == sum(1 for _ in video.frames())
  assert video.frame_size == (360, 640) and video.mask(0).object_ids == (1, 2)
  for value in (1, 2):  # Each object is one piece, and large enough to be followed.
    pieces, _, stats, _ = cv2.connectedComponentsWithStats((video.mask(0).ids == value).view('u1'))
    assert pieces == 2 and stats[1, cv2.CC_STAT_AREA] > 5000
  assert sum(p.stat().st_size for p in demo.iterdir()) < 3_000_000


def test_mp4_that_breaks_off(tmp_path):
  """The demo clip has its index in front, so that half of the file still plays."""
  demo = packaged_files.DEMO_CLIP
  data = demo.read_bytes()
  (tmp_path / 'half.mp4').write_bytes(data[: len(data) // 2])
  seen = []
  with pytest.raises(ValueError, match=r'half\.mp4: the video breaks off after \d+ of 56 frames'):
    for frame in folder.open_video(tmp_path / 'half.mp4').frames():
      seen.append(frame.shape)
  assert 10 < len(seen) < 50


# ---- Masks among frames, names.


@pytest.mark.parametrize('how', ['itself', 'link', 'copy', 'other way'])
def test_the_mask_among_the_frames_is_no_frame(frames_folder, tmp_path, how):
  mask = frames_folder / 'first.png'
  masks.write_mask(mask, ids(9))
  given = mask
  if how == 'link':
    given = tmp_path / 'linked.png'
    given.symlink_to(mask)
  elif how == 'copy':
    given = tmp_path / 'copy.png'
    given.write_bytes(mask.read_bytes())
  elif how == 'other way':
    given = frames_folder / '..' / 'clip' / 'first.png'
  for video in (
    folder.open_video(frames_folder, given),
    folder.open_video(frames_folder, leave_out=[given]),
  ):
    assert video.num_frames == 12 and video.left_out == ('first.png',)
  # A mask named like a frame, with another suffix.
  masks.write_mask(frames_folder / 'f0.bmp.png', ids(9))
  mask.rename(tmp_path / 'm.png')
  (frames_folder / 'f0.bmp.png').rename(frames_folder / 'f0.PNG')
  assert folder.open_video(frames_folder, frames_folder / 'f0.PNG').num_frames == 12


def test_other_masks_among_the_frames_are_reported(frames_folder):
  masks.write_mask(frames_folder / 'f3_mask.png', ids(9))
  with pytest.warns(DataWarning, match='1 of 13 frames are palette pictures.*f3_mask.png'):
    assert folder.open_video(frames_folder).num_frames == 13


def data_set(tmp_path, *names, suffix='.png'):
  for name in names:
    for part in ('frames', 'masks'):
      (tmp_path / name / part).mkdir(parents=True)
    for i in range(3):
      cv2.imwrite(str(tmp_path / name / 'frames' / f'{i}.jpg'), picture(i))
      masks.write_mask(tmp_path / name / 'masks' / f'{i}{suffix if i == 1 else ".png"}', ids(2))
  return tmp_path


@pytest.mark.parametrize('sparse', [False, True])
def test_masks_with_upper_case_suffix_are_not_dropped(tmp_path, sparse):
  data_set(tmp_path, 'v', suffix='.PNG')
  (tmp_path / 'v' / 'masks' / '._1.png').write_bytes(b'x')
  (tmp_path / 'v' / 'masks' / '.DS_Store').write_bytes(b'x')
  (tmp_path / '.hidden' / 'frames').mkdir(parents=True)
  (source,) = folder.folder_sources(tmp_path, sparse_masks=sparse)
  assert source.opener().masked_frames == (0, 1, 2)
  (tmp_path / 'v' / 'masks' / '1.PNG').rename(tmp_path / 'v' / 'masks' / '1.bmp')
  with pytest.raises(ValueError, match='1.bmp: a mask as .bmp given, expected PNG'):
    source.opener()


@pytest.mark.parametrize('form, other', [('NFD', 'NFC'), ('NFC', 'NFD')])
def test_masks_whose_letters_are_composed_in_another_way(tmp_path, form, other):
  data_set(tmp_path, 'v')
  for part, name in (('frames', f'{form} ä.jpg'), ('masks', f'{form} ä.png')):
    old = tmp_path / 'v' / part / f'1{name[-4:]}'
    old.rename(old.with_name(unicodedata.normalize(form if part == 'frames' else other, name)))
  (source,) = folder.folder_sources(tmp_path)
  assert source.opener().masked_frames == (0, 1, 2)


@pytest.mark.parametrize('missing', ['NFC', 'NFD'])
def test_two_frames_whose_names_are_composed_in_different_ways(tmp_path, missing):
  """Each has its own mask; one that is too many is refused."""
  data_set(tmp_path, 'v')
  for old, form in (('1', 'NFC'), ('2', 'NFD')):
    for path in (tmp_path / 'v').glob(f'*/{old}.*'):
      path.rename(path.with_stem(unicodedata.normalize(form, 'ä')))
  (source,) = folder.folder_sources(tmp_path)
  assert source.opener().masked_frames == (0, 1, 2)
  stem = unicodedata.normalize(missing, 'ä')
  (tmp_path / 'v' / 'frames' / f'{stem}.jpg').unlink()
  with pytest.raises(ValueError, match=f'{stem}.png: a mask without a frame given'):
    source.opener()


@pytest.mark.parametrize(
  'text', ['my dog ü\r\ncat\r\n', '\ufeffmy dog ü\ncat\n', '# split\nmy dog ü/\ncat # x\n\n']
)
def test_lists_of_videos(tmp_path, text):
  data_set(tmp_path, 'cat', 'my dog ü')
  (tmp_path / 'train.txt').write_text(text, encoding='utf-8')
  assert [s.name for s in folder.folder_sources(tmp_path, 'train')] == ['my dog ü', 'cat']


def test_a_video_may_be_called_like_a_split(tmp_path):
  """DAVIS has a sequence `train`."""
  data_set(tmp_path, 'dog', 'train')
  found = folder.folder_sources(tmp_path, 'train')
  assert [s.name for s in found] == ['dog', 'train'] and found[1].opener().num_frames == 3
  data_set(tmp_path / 'val', 'cat', 'val')
  assert [s.name for s in folder.folder_sources(tmp_path, 'val')] == ['cat', 'val']


def test_splits_of_one_video_are_not_mixed(tmp_path):
  """Frames in train/frames and val/frames: a training must not get what validates it."""
  data_set(tmp_path, 'train', 'val')
  with pytest.raises(ValueError, match="train: an empty split 'train' given"):
    folder.folder_sources(tmp_path, 'train')


def test_a_list_leads_nowhere_else(tmp_path):
  data_set(tmp_path / 'root', 'cat')
  (tmp_path / 'root' / 'train.txt').write_text('../other\n')
  with pytest.raises(ValueError, match="'../other' given, expected the name of a folder"):
    folder.folder_sources(tmp_path / 'root', 'train')


@pytest.mark.parametrize('split', ['all', 'train'])
def test_a_video_whose_frames_are_elsewhere_is_not_left_out_silently(tmp_path, split):
  root = tmp_path if split == 'all' else tmp_path / split
  data_set(root, 'cat', 'dog')
  (root / 'dog' / 'frames').rename(root / 'dog' / 'images')
  with pytest.warns(DataWarning, match='dog: left out, as it has a folder masks and none called'):
    found = folder.folder_sources(tmp_path, split)
  assert [s.name for s in found] == ['cat']
