"""Headless Chromium for tests of the page, and the fixtures that start it."""

import json
import shutil
import time

import pytest

from feelvos_tf.serving.options import ServingOptions

SIZE = (1280, 900)


def start(downloads, *arguments):
  """A WebDriver that saves files to the folder `downloads`; skips the test without Chromium."""
  selenium = pytest.importorskip('selenium', reason='pip install selenium to test the page')
  del selenium
  from selenium import webdriver

  binary = shutil.which('chromium') or shutil.which('google-chrome')
  chromedriver = shutil.which('chromedriver')
  if not binary or not chromedriver:
    pytest.skip('no Chromium: apt-get install chromium chromium-driver to test the page')
  options = webdriver.ChromeOptions()
  options.binary_location = binary
  # Root has no sandbox, containers have little shared memory.
  for argument in (
    'headless=new',
    'no-sandbox',
    'disable-dev-shm-usage',
    'disable-gpu',
    'force-device-scale-factor=1',
    'window-size={},{}'.format(*SIZE),
    *arguments,
  ):
    options.add_argument(f'--{argument}')
  options.add_experimental_option(
    'prefs',
    {
      'download.default_directory': str(downloads),
      'profile.default_content_setting_values.automatic_downloads': 1,
    },
  )
  options.set_capability('goog:loggingPrefs', {'browser': 'ALL', 'performance': 'ALL'})
  driver = webdriver.Chrome(options, webdriver.ChromeService(chromedriver))
  driver.set_script_timeout(60)
  return driver


class Page:
  """The page in a browser, in the words of a person who uses it."""

  def __init__(self, driver, url, downloads):
    self.driver, self.url, self.downloads = driver, url, downloads
    driver.get_log('browser'), driver.get_log('performance')  # What earlier tests left.
    driver.get(url)
    self.wait("return document.getElementById('server-facts').textContent.startsWith('Model')")

  def find(self, selector):
    return self.driver.find_element('css selector', selector)

  def click(self, selector):
    self.find(selector).click()

  def text(self, selector):
    return self.find(selector).text

  def wait(self, condition, seconds=60):
    """Waits until a script returns something true."""
    end = time.monotonic() + seconds
    while not (result := self.driver.execute_script(condition)):
      assert time.monotonic() < end, (condition, self.driver.get_log('browser'))
      time.sleep(0.05)
    return result

  def run_js(self, code, *args):
    """What an async function with this body returns; `workspace` is the page's."""
    result = self.driver.execute_async_script(
      'const done = arguments[arguments.length - 1]; const args = [...arguments];'
      '(async () => {const {workspace} = await import(new URL("static/main.js", '
      f'document.baseURI)); {code}}})().then((value) => done({{value}}), '
      '(error) => done({error: String(error)}));',
      *args,
    )
    assert 'error' not in result, result
    return result.get('value')

  def open(self, *paths):
    """Opens files as the clip."""
    before = self.driver.execute_script("return document.getElementById('clip-name').textContent")
    self.find('#clip-file').send_keys('\n'.join(map(str, paths)))
    self.wait(
      "return document.getElementById('busy').hidden && "
      "(!document.getElementById('alert').hidden || "
      f"document.getElementById('clip-name').textContent !== {json.dumps(before)})"
    )
    self.settle()

  def settle(self):
    self.run_js('await workspace.settled(); await workspace.settled();')

  def go_to(self, index):
    """Shows a frame, as the slider does."""
    self.driver.execute_script(
      "const slider = document.getElementById('frame'); slider.value = arguments[0] + 1;"
      "slider.dispatchEvent(new Event('input'));",
      index,
    )
    self.settle()

  def client_place(self, x, y):
    """CSS pixels in the window of a place in the frame."""
    box = self.driver.execute_script(
      "const surface = document.getElementById('surface');"
      "surface.scrollIntoView({block: 'center'});"
      'const b = surface.getBoundingClientRect();'
      'return [b.left, b.top, b.width / surface.width, b.height / surface.height]'
    )
    return box[0] + x * box[2], box[1] + y * box[3]

  def mouse(self, *places):
    """Presses the button at the first place of the frame, moves to the others, releases it."""
    events = ['mousePressed'] + ['mouseMoved'] * (len(places) - 1) + ['mouseReleased']
    for event, place in zip(events, [*places, places[-1]]):
      x, y = self.client_place(*place)
      self.driver.execute_cdp_cmd(
        'Input.dispatchMouseEvent',
        {'type': event, 'x': x, 'y': y, 'button': 'left', 'buttons': 1, 'clickCount': 1},
      )
    self.settle()

  def touch(self, *places):
    """The same with a finger."""
    events = ['touchStart'] + ['touchMove'] * (len(places) - 1) + ['touchEnd']
    for event, place in zip(events, [*places, None]):
      x, y = self.client_place(*place) if place else (0, 0)
      self.driver.execute_cdp_cmd(
        'Input.dispatchTouchEvent',
        {'type': event, 'touchPoints': [{'x': x, 'y': y}] if place else []},
      )
    self.settle()

  def set_size(self, size):
    self.driver.execute_script(
      "const size = document.getElementById('size'); size.value = arguments[0];"
      "size.dispatchEvent(new Event('input'));",
      size,
    )

  def run(self):
    """Runs to the end."""
    self.settle()
    self.click('#run')
    self.wait("return document.getElementById('stop').hidden")
    self.settle()

  def ids(self):
    """Ids of the frame on the page: a list of rows."""
    width, flat = self.run_js('return [workspace.clip.width, [...workspace.editor.ids]];')
    return [flat[i : i + width] for i in range(0, len(flat), width)]

  def masks(self):
    """PNG files of all masks by frame index."""
    found = self.run_js(
      'const all = {}; for (const [index, blob] of workspace.clip.masks) '
      'all[index] = [...new Uint8Array(await blob.arrayBuffer())]; return all;'
    )
    return {int(index): bytes(data) for index, data in found.items()}

  def downloaded(self, ending, seconds=30):
    """The finished download with a name that ends so."""
    end = time.monotonic() + seconds
    while not (found := [p for p in self.downloads.iterdir() if p.name.endswith(ending)]):
      assert time.monotonic() < end, list(self.downloads.iterdir())
      time.sleep(0.05)
    return found[0]

  def problems(self):
    """Console messages that are errors, without those for answers of the server."""
    return [
      entry['message']
      for entry in self.driver.get_log('browser')
      if entry['level'] == 'SEVERE' and 'Failed to load resource' not in entry['message']
    ]

  def foreign_requests(self):
    """Addresses outside of the page's origin that were asked for since the page was opened."""
    own = (self.url, self.url.replace('http', 'ws', 1), 'blob:', 'data:')
    found = []
    for entry in self.driver.get_log('performance'):
      message = json.loads(entry['message'])['message']
      url = message['params'].get('request', message['params']).get('url', '')
      sent = message['method'] in ('Network.requestWillBeSent', 'Network.webSocketCreated')
      if sent and not url.startswith(own):
        found.append(url)
    return found


@pytest.fixture(scope='session')
def page_server(model_root):
  """A server with one model and the default limits."""
  from .conftest import running  # Which imports this module.

  options = ServingOptions(str(model_root / 'small'), enable_model_warmup=False)
  with running(options) as server:
    yield server


@pytest.fixture(scope='session')
def driver(tmp_path_factory):
  driver = start(tmp_path_factory.mktemp('downloads'))
  yield driver
  driver.quit()


@pytest.fixture
def open_page(driver, tmp_path):
  """Function that opens the page of a server; afterwards nothing may have gone wrong in it."""
  pages = []

  def open_page(server):
    driver.execute_cdp_cmd(
      'Browser.setDownloadBehavior',
      {'behavior': 'allow', 'downloadPath': str(tmp_path / 'downloads')},
    )
    (tmp_path / 'downloads').mkdir(exist_ok=True)
    pages.append(Page(driver, server.url + '/', tmp_path / 'downloads'))
    return pages[-1]

  yield open_page
  for page in pages[-1:]:
    assert page.problems() == []
    assert page.foreign_requests() == []
    driver.get('about:blank')  # Closes the session.


@pytest.fixture
def page(open_page, page_server):
  return open_page(page_server)
