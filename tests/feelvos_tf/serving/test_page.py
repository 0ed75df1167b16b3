"""The page, driven in headless Chromium against the server with a small model."""

import zipfile

import cv2
import httpx
import numpy as np
import pytest

from feelvos_tf.datasets import masks
from feelvos_tf.inference.segmenter import SegmentedFrame
from feelvos_tf.runtime import frame_table
from feelvos_tf.serving.options import ServingOptions

from .conftest import ids_of
from .conftest import png
from .conftest import running
from .page_clip import by_command_line
from .page_clip import check_masks
from .page_clip import choose
from .page_clip import COUNT
from .page_clip import HEIGHT
from .page_clip import stroke
from .page_clip import type_into
from .page_clip import WIDTH


class Reference:
  """The same session as the page's, by the API alone."""

  def __init__(self, server, frame, mask):
    self.client = httpx.Client(base_url=server.url, timeout=60)
    reply = self.client.post(
      '/v1/sessions', files={'frame': png(frame), 'mask': masks.encode_mask(mask)}
    )
    assert reply.status_code == 201, reply.text
    self.url = f'/v1/sessions/{reply.json()["session_id"]}'

  def send(self, frame):
    return ids_of(self.client.post(f'{self.url}/frames', content=png(frame)).content)

  def correct(self, frame, mask, remove=''):
    assert (
      self.client.post(
        f'{self.url}/mask',
        files={'frame': png(frame), 'mask': masks.encode_mask(mask)},
        data={'remove': remove},
      ).status_code
      == 200
    )

  def __enter__(self):
    return self

  def __exit__(self, *unused_exception):
    self.client.delete(self.url)
    self.client.close()


def paint_two_objects(page):
  """Paints objects 1 and 2 with the mouse; returns the mask that this has to give."""
  page.set_size(30)
  page.mouse((40, 40))
  page.click('#add-object')
  page.set_size(21)
  page.mouse((100, 50), (120, 60), (120, 75))
  mask = stroke(np.zeros((HEIGHT, WIDTH), np.uint8), 1, 30, (40, 40))
  return stroke(mask, 2, 21, (100, 50), (120, 60), (120, 75))


def test_paint_run_correct_and_download(page, page_server, frames, frame_files, tmp_path):
  """A correction in the middle gives what the command line gives with both masks."""
  page.open(*frame_files[::-1])
  mask = paint_two_objects(page)
  np.testing.assert_array_equal(page.ids(), mask)

  page.run()
  expected = by_command_line(page_server, frame_files, {0: mask}, tmp_path / 'first')
  check_masks(page, expected)
  page.go_to(2)
  sure = page.run_js('return [...workspace.clip.confidence.get(2)]')
  assert [object_id for object_id, _ in sure] == [1, 2]
  for row, (_, value) in zip(page.text('#objects').split('Object ')[1:], sure, strict=True):
    assert f'{round(100 * value + 1e-9)} % sure' in row
  assert page.text('#progress-text').startswith(f'{COUNT} of {COUNT} frames')
  assert page.find('#run').get_property('disabled')

  page.go_to(3)
  page.click('[value=eraser]')
  page.mouse((100, 50), (125, 55))
  page.click('#add-object')
  page.click('[value=brush]')
  page.mouse((20, 80))
  correction = stroke(expected[3].copy(), 0, 21, (100, 50), (125, 55))
  correction = stroke(correction, 3, 21, (20, 80))
  np.testing.assert_array_equal(page.ids(), correction)
  assert page.text('#run-note').startswith('Runs on from frame 4.')
  page.run()
  given = {0: mask, 3: correction}
  expected = by_command_line(page_server, frame_files, given, tmp_path / 'second')
  check_masks(page, expected)

  page.click('#save-masks')
  with zipfile.ZipFile(page.downloaded('.zip')) as archive:
    assert archive.testzip() is None
    assert archive.namelist() == [f'shot_{i + 8}.png' for i in range(COUNT)]
    for i, name in enumerate(archive.namelist()):
      np.testing.assert_array_equal(ids_of(archive.read(name)), expected[i])

  page.click('#save-overlay')
  capture = cv2.VideoCapture(str(page.downloaded('.mp4')))
  pictures = [capture.read()[1] for _ in range(COUNT)]
  assert not capture.read()[0]
  wanted = masks.overlay(frames[3], correction)[..., ::-1].astype(int)
  assert np.abs(pictures[3] - wanted).mean() < 12  # H.264 or VP9 with half the colours' size.
  assert np.abs(pictures[3] - frames[3][..., ::-1].astype(int)).mean() > 12


def test_stop_and_run_on(page, page_server, frames, frame_files):
  """Frames under way are still taken; the run goes on where it ended. Over HTTP this time."""
  page.driver.execute_script("""
    window.WebSocket = class { constructor() { throw new Error('none here'); } };
    const {fetch} = window;
    window.fetch = async (...args) => {
      const response = await fetch(...args);
      if (String(args[0]).endsWith('/frames')) {
        document.getElementById('stop').click();
        window.fetch = fetch;
      }
      return response;
    };""")
  page.open(*frame_files)
  page.find('#mask-file').send_keys(str(write_mask(page, frames)))
  page.settle()
  page.run()
  assert 2 <= len(page.masks()) < COUNT
  assert page.text('#run') == 'Run on'
  page.run()
  with Reference(page_server, frames[0], mask_of_file(frames)) as session:
    expected = {0: mask_of_file(frames), **{i: session.send(frames[i]) for i in range(1, COUNT)}}
  check_masks(page, expected)
  page.click('#start-over')  # Asks, for nothing was downloaded.
  page.driver.switch_to.alert.dismiss()
  check_masks(page, expected)
  page.click('#start-over')
  page.driver.switch_to.alert.accept()
  page.settle()
  check_masks(page, {0: expected[0]})


def test_objects_leave_and_enter(page, page_server, frames, frame_files):
  """A corrected frame without objects, then one with another object; both are kept in a rerun."""
  page.open(*frame_files)
  page.find('#mask-file').send_keys(str(write_mask(page, frames)))
  page.settle()
  page.run()
  nothing = np.zeros((HEIGHT, WIDTH), np.uint8)
  entered = stroke(nothing.copy(), 1, 24, (60, 60))
  for index, places in ((4, [(60, 60)]), (2, [])):
    page.go_to(index)
    page.click('#clear-frame')
    page.settle()
    if places:
      page.click('#add-object')
      page.mouse(*places)
  assert page.text('#run-note').startswith('Runs on from frame 3.')
  page.run()
  with Reference(page_server, frames[0], mask_of_file(frames)) as session:
    expected = {0: mask_of_file(frames), 1: session.send(frames[1]), 2: nothing}
    session.correct(frames[2], nothing)
    expected.update({3: session.send(frames[3]), 4: entered})
    session.correct(frames[4], entered)
    expected[5] = session.send(frames[5])
  check_masks(page, expected)


@pytest.mark.parametrize('visible', [True, False])
def test_an_object_is_removed(page, page_server, frames, frame_files, visible):
  """From a frame on no mask holds it, seen there or not; the server follows it no more."""
  page.open(*frame_files)
  mask = paint_two_objects(page)
  page.run()
  page.go_to(3)
  shown = ids_of(page.masks()[3])
  if not visible:
    page.click('#objects li:nth-child(2) .remove')
    page.settle()
    page.go_to(2)
    page.go_to(3)
  page.click('#objects li:nth-child(2) .end')
  page.settle()
  corrected = np.where(shown == 2, 0, shown)
  np.testing.assert_array_equal(page.ids(), corrected)
  assert page.text('#run-note').startswith('Runs on from frame 4.')
  page.run()
  with Reference(page_server, frames[0], mask) as session:
    expected = {0: mask, **{i: session.send(frames[i]) for i in (1, 2)}, 3: corrected}
    session.correct(frames[3], corrected, remove='2')
    expected.update({i: session.send(frames[i]) for i in range(4, COUNT)})
  check_masks(page, expected)
  assert not any((expected[i] == 2).any() for i in range(3, COUNT))
  hidden = [page.find(f'#objects li:nth-child({i}) .end').get_property('hidden') for i in (1, 2)]
  assert hidden == [False, True]


def mask_of_file(frames):
  mask = np.zeros(frames[0].shape[:2], np.uint8)
  mask[10:50, 20:60], mask[30:80, 90:130] = 7, 200
  return mask


def write_mask(page, frames):
  path = page.downloads.parent / 'mask.png'
  masks.write_mask(path, mask_of_file(frames), np.full((256, 3), 99, np.uint8))
  return path


def test_session_expires(page, page_server, frames, frame_files, tmp_path):
  """The page brings a new session to where the old one was."""
  page.open(*frame_files)
  mask = paint_two_objects(page)
  page.run()
  page.go_to(2)
  page.click('#add-object')
  page.mouse((40, 40))
  correction = np.array(page.ids(), np.uint8)
  page_server.clock.advance(1000)
  page_server.services.sessions.evict_idle()
  page.click('#run')
  page.wait("return !document.getElementById('alert').hidden")
  assert 'The session is gone' in page.text('#alert-text')
  assert page.text('#alert-action') == 'Go on from frame 3'
  page.click('#alert-action')
  page.wait("return document.getElementById('stop').hidden")
  assert not page.find('#alert').is_displayed()
  given = {0: mask, 2: correction}
  check_masks(page, by_command_line(page_server, frame_files, given, tmp_path / 'out'))


def test_keyboard_alone(page, frame_files):
  from selenium.webdriver.common.keys import Keys

  page.open(*frame_files)
  page.driver.execute_script("document.querySelector('.skip').focus()")
  page.driver.switch_to.active_element.send_keys(Keys.ENTER)
  surface = page.driver.switch_to.active_element
  assert surface.get_attribute('id') == 'surface'
  surface.send_keys(']', ' ')  # 24 becomes 27, at the centre.
  mask = stroke(np.zeros((HEIGHT, WIDTH), np.uint8), 1, 27, (80, 48))
  page.settle()
  np.testing.assert_array_equal(page.ids(), mask)

  surface.send_keys(
    'n',
    Keys.ARROW_RIGHT * 3,
    Keys.ENTER,
    Keys.ARROW_DOWN,
    Keys.ARROW_DOWN,
    Keys.ENTER,
    Keys.SHIFT + Keys.ARROW_LEFT,
  )
  mask = stroke(mask, 2, 27, (107, 48), (107, 57), (107, 66))
  page.settle()
  np.testing.assert_array_equal(page.ids(), mask)

  surface.send_keys(Keys.CONTROL + 'z')
  page.settle()
  assert set(np.unique(page.ids())) == {0, 1}
  surface.send_keys(Keys.CONTROL + 'y')
  page.settle()
  surface.send_keys('f', ' ')  # Fills the object under the brush, 106, 66, with object 2.
  page.settle()
  np.testing.assert_array_equal(page.ids(), mask)

  surface.send_keys('.')
  page.wait("return document.getElementById('frame').value === '2'")
  page.settle()
  surface.send_keys(' ')  # A mask of object 2 on another frame as well.
  page.settle()
  assert sorted(page.masks()) == [0, 1]
  surface.send_keys('r')
  page.wait(
    "return document.getElementById('progress').value === document."
    "getElementById('progress').max && document.getElementById('stop').hidden"
  )


def test_box_and_polygon(page, frame_files, tmp_path):
  """A box goes to the server, a polygon comes back as it is; both can be undone, with keys also."""
  path = tmp_path / 'disc.png'
  image = np.random.default_rng(1).integers(60, 90, (HEIGHT, WIDTH, 3), dtype=np.uint8)
  cv2.circle(image, (60, 48), 20, (220, 200, 40), -1)
  path.write_bytes(png(image))
  page.open(path)
  ids = lambda: np.array(page.ids())
  page.click('[name="tool"][value="box"]')
  page.mouse((36, 24), (70, 60), (84, 72))
  page.wait("return !document.getElementById('undo').disabled")
  disc = cv2.circle(np.zeros((HEIGHT, WIDTH), np.uint8), (60, 48), 20, 1, -1)
  assert np.count_nonzero(ids() != disc) < 150
  page.click('#undo')
  assert not ids().any()
  page.driver.execute_script("document.getElementById('surface').focus()")
  page.find('#surface').send_keys('p')
  for place in ((100, 20), (140, 20), (140, 60), (100, 60), (100, 20)):
    page.mouse(place)
  page.wait("return !document.getElementById('undo').disabled")
  assert 1500 <= np.count_nonzero(ids()) <= 1700 and (ids()[22:58, 102:138] == 1).all()
  assert page.find('#shape').get_attribute('hidden') is not None


@pytest.mark.parametrize('direction', ['backward', 'both'])
def test_directions_are_those_of_the_command_line(
  page, page_server, frames, frame_files, tmp_path, direction
):
  """Masks on two frames, the second of an object that is new; the same masks come out."""
  page.open(*frame_files)
  page.set_size(30)
  page.go_to(1)
  page.mouse((40, 40))
  page.go_to(4)
  page.click('#add-object')
  page.mouse((110, 60))
  choose(page, '#direction', direction)
  page.run()
  empty = np.zeros((HEIGHT, WIDTH), np.uint8)
  by_frame = {1: stroke(empty.copy(), 1, 30, (40, 40)), 4: stroke(empty, 2, 30, (110, 60))}

  segment = lambda by_frame, name: by_command_line(
    page_server, frame_files, by_frame, tmp_path / name, direction
  )
  expected = segment(by_frame, 'first')
  assert sorted(expected) == list(range(5 if direction == 'backward' else COUNT))
  assert (expected[1][40, 40], expected[4][60, 110]) == (1, 2)
  check_masks(page, expected)
  assert page.find('#run').get_property('disabled')
  if direction == 'backward':
    return
  # A correction: what it decides is made again, frame 3 from both sides, each with the frame of the
  # other mask, and frame 0, whose run is shown the nearest mask with the object that frame 1 lacks.
  # Frame 5 stays.
  page.driver.execute_script("""
    window.asked = [];
    const {fetch} = window;
    window.fetch = (...args) => { window.asked.push(String(args[0])); return fetch(...args); };""")
  page.go_to(2)
  page.mouse((60, 70))
  page.run()
  asked = page.driver.execute_script('return window.asked')
  assert sum(url.endswith(('/frames', '/opinions', '/merged')) for url in asked) == 6
  corrected = stroke(expected[2].copy(), 2, 30, (60, 70))
  check_masks(page, segment({1: expected[1], 2: corrected, 4: expected[4]}, 'second'))


def test_forms_to_hand_on(page, frame_files):
  page.open(*frame_files)
  mask = paint_two_objects(page)
  type_into(page.find('#objects li:nth-child(2) .name'), 'red & ball')
  assert page.text('#objects li:nth-child(2) .label') == 'red & ball'
  found = {}
  for form, ending in (('cvat', 'cvat.zip'), ('cutouts', 'cutouts.zip'), ('table', 'frames.csv')):
    choose(page, '#form', form)
    page.click('#export')
    found[form] = page.downloaded(ending)
  with zipfile.ZipFile(found['cvat']) as archive:
    text = archive.read('annotations.xml').decode()
  assert 'label="object 1"' in text and 'label="red &amp; ball"' in text
  with zipfile.ZipFile(found['cutouts']) as archive:
    assert archive.namelist() == ['shot_8.png']
    cut = cv2.imdecode(np.frombuffer(archive.read('shot_8.png'), np.uint8), cv2.IMREAD_UNCHANGED)
  np.testing.assert_array_equal(cut[..., 3], np.where(mask, 255, 0))
  image = cv2.imread(str(frame_files[0]))
  np.testing.assert_array_equal(cut[mask > 0, :3], image[mask > 0])
  rows = found['table'].read_text().splitlines()
  confident = [frame_table.rows_of(SegmentedFrame(mask, (0, 1, 2)))]
  table = frame_table.FrameTable()
  table.add('shot_8', confident[0])
  assert rows == table.to_csv().decode().splitlines()


def test_hands_and_eyes(page, frame_files):
  """A pen, a scribble, hidden objects, and keys after the mouse."""
  page.open(*frame_files)
  page.set_size(40)
  x, y = page.client_place(50, 50)
  for event in ('mousePressed', 'mouseReleased'):
    at = {'x': x, 'y': y, 'button': 'left', 'buttons': 1, 'clickCount': 1}
    pen = {'type': event, 'pointerType': 'pen', 'force': 0.5}
    page.driver.execute_cdp_cmd('Input.dispatchMouseEvent', {**at, **pen})
  page.settle()
  # 40 * (.3 + .7 * .5) is 26.
  mask = stroke(np.zeros((HEIGHT, WIDTH), np.uint8), 1, 26, (50, 50))
  np.testing.assert_array_equal(page.ids(), mask)
  drawn = (
    "return document.getElementById('surface').getContext('2d').getImageData(50, 50, 1, 1).data[3]"
  )
  assert page.driver.execute_script(drawn) > 0
  page.click('#objects .see')
  assert page.driver.execute_script(drawn) == 0 and page.find('#objects .hidden')
  page.click('#objects .see')
  assert page.driver.execute_script(drawn) > 0

  page.click('#add-object')
  page.click('[name="tool"][value="scribble"]')
  page.mouse((110, 30), (120, 40), (130, 30))
  page.wait(
    "return [...document.querySelectorAll('#objects .area')].at(-1).textContent !== '0.0 %'"
  )
  page.settle()
  marked = np.array(page.ids())
  assert (marked[[31, 39, 31], [111, 120, 129]] == 2).all() and (marked[50, 50] == 1)
  page.click('[name="tool"][value="unscribble"]')
  page.mouse((100, 60), (140, 60))
  page.settle()

  surface = page.find('#surface')
  from selenium.webdriver.common.keys import Keys

  page.driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
  page.wait("return document.getElementById('frame').value === '3'")
  assert page.driver.switch_to.active_element == surface
  surface.send_keys(' ')
  page.wait("return document.getElementById('frame').value !== '3'")


def test_phone(page, frame_files):
  metrics = {'width': 360, 'height': 740, 'deviceScaleFactor': 2, 'mobile': True}
  page.driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', metrics)
  page.driver.execute_cdp_cmd('Emulation.setTouchEmulationEnabled', {'enabled': True})
  fits = 'return document.documentElement.scrollWidth <= innerWidth && innerWidth === 360'
  try:
    assert page.driver.execute_script(fits)
    page.open(*frame_files)
    page.driver.execute_script(
      "for (const details of document.querySelectorAll('details')) details.open = true;"
    )
    page.set_size(20)
    page.touch((50, 50), (70, 50))
    mask = stroke(np.zeros((HEIGHT, WIDTH), np.uint8), 1, 20, (50, 50), (70, 50))
    assert np.count_nonzero(np.array(page.ids()) != mask) < 20  # Chromium rounds touch places.
    page.run()
    assert page.driver.execute_script(fits)
  finally:
    page.driver.execute_cdp_cmd('Emulation.clearDeviceMetricsOverride', {})
    page.driver.execute_cdp_cmd('Emulation.setTouchEmulationEnabled', {'enabled': False})


def test_objects(page, frame_files):
  page.open(*frame_files)
  paint_two_objects(page)
  type_into(page.find('#objects li:nth-child(2) .id'), '77')
  page.settle()
  assert set(np.unique(page.ids())) == {0, 1, 77}
  assert page.text('#objects li:nth-child(2) .label') == 'Object 77'
  page.click('#objects li:nth-child(1) .pick')
  type_into(page.find('#objects li:nth-child(1) .id'), '77')
  assert page.text('#alert-text') == 'Object 77 is there already.'
  page.click('#alert-close')
  assert page.find('#objects li:nth-child(1) .id').get_property('value') == '1'
  page.click('#objects li:nth-child(1) .remove')
  page.settle()
  assert set(np.unique(page.ids())) == {0, 77}
  page.click('#clear-frame')
  page.settle()
  assert page.masks() == {}
  assert page.text('#run-note') == 'Paint an object on a frame, or load a mask.'
  page.click('#undo')
  page.settle()
  assert set(np.unique(page.ids())) == {0, 77}


def test_token(open_page, page_server, frame_files):
  options = ServingOptions(page_server.services.options.model_dir, token='s3cret-token')
  with running(options, page_server.services.models) as server:
    page = open_page(server)
    page.open(*frame_files)
    page.mouse((40, 40))
    assert page.text('#run-note') == 'Type the token under Server.'
    type_into(page.find('#token'), 'wrong')
    page.click('#run')
    page.wait("return !document.getElementById('alert').hidden")
    assert 'token' in page.text('#alert-text')
    type_into(page.find('#token'), 's3cret-token')
    page.click('#alert-action')
    page.wait("return document.getElementById('stop').hidden")
    assert len(page.masks()) == COUNT
    page.click('#save-overlay')
    assert page.downloaded('.mp4').stat().st_size > 1000
    page.driver.execute_script('sessionStorage.clear()')


def test_wrong_files(page, frame_files, tmp_path):
  wrong = {'noise.mp4': b'no video' * 100, 'noise.png': b'no image', 'notes.txt': b'text'}
  for name, data in wrong.items():
    (tmp_path / name).write_bytes(data)
  for name, message in (
    ('noise.mp4', 'This browser cannot decode noise.mp4.'),
    ('noise.png', 'noise.png is not an image that this browser can decode.'),
    ('notes.txt', 'Give one video, or images only. notes.txt is neither.'),
  ):
    page.open(tmp_path / name)
    assert page.text('#alert-text').startswith(message)
    page.click('#alert-close')

  page.open(*frame_files)
  small, colour = tmp_path / 'small.png', tmp_path / 'colour.png'
  masks.write_mask(small, np.ones((20, 30), np.uint8))
  cv2.imwrite(str(colour), np.full((HEIGHT, WIDTH, 3), 200, np.uint8))
  empty = tmp_path / 'empty.png'
  masks.write_mask(empty, np.zeros((HEIGHT, WIDTH), np.uint8))
  for path, message in (
    (small, 'The mask has 30 x 20 pixels, the clip 160 x 96.'),
    (colour, 'This is an RGB colour image.'),
    (tmp_path / 'noise.png', 'This is not a PNG file.'),
    (empty, 'The mask holds no object'),
  ):
    page.find('#mask-file').send_keys(str(path))
    page.wait("return !document.getElementById('alert').hidden")
    assert page.text('#alert-text').startswith(message)
    page.click('#alert-close')
  assert page.masks() == {}


def test_words_of_the_browser_are_not_shown(page):
  page.driver.execute_async_script("""
    const done = arguments[0];
    import('./static/notices.js').then(({showError}) => {
      showError(new DOMException('PIPELINE_ERROR_DECODE: d3d11'));
      done();
    });""")
  assert page.text('#alert-text').startswith('This browser could not do that. Reload the page')
  logged = page.driver.get_log('browser')
  assert any('PIPELINE_ERROR_DECODE' in line['message'] for line in logged)
  page.click('#alert-close')
