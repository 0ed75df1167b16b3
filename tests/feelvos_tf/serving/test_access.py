"""No web page uses the server: names, origins, headers, and a browser that tries."""

import asyncio
import functools
import http.client
import http.server
import json
import logging
import socket
import threading
import types

import fastapi
import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from feelvos_tf.datasets import masks
from feelvos_tf.serving import access
from feelvos_tf.serving import access_log
from feelvos_tf.serving import app
from feelvos_tf.serving import metrics
from feelvos_tf.serving import tracing
from feelvos_tf.serving.options import ServingOptions

from . import browser
from .conftest import png
from .conftest import running
from .test_bad_input import error_of

ROUTES = (
  ('GET', '/'),
  ('GET', '/static/main.js'),
  ('GET', '/healthz'),
  ('GET', '/readyz'),
  ('GET', '/v1/limits'),
  ('GET', '/v1/demo/mask.png'),
  ('GET', '/openapi.json'),
  ('GET', '/metrics'),
  ('POST', '/v1/sessions'),
  ('GET', '/v1/sessions/x'),
  ('GET', '/v1/models/small'),
  ('POST', '/v1/models/small:predict'),
  ('POST', '/v1/overlay'),
  ('GET', '/nowhere'),
)
PAGE = 'http://page.example'


@pytest.mark.parametrize(
  'known, host, hosts',
  [
    (True, '127.0.0.1', 'localhost localhost:8501 LOCALHOST. 127.0.0.1 127.9.9.9:1 [::1]:8501'),
    (False, '127.0.0.1', 'evil.example localhost.evil.example 10.0.0.1 127.0.0.1.evil.example'),
    (False, '127.0.0.1', '[::1 ::1 user@localhost localhost:port localhost/x a,localhost'),
    (True, '10.0.0.1', '10.0.0.1 localhost'),
    (False, '10.0.0.1', '10.0.0.2 evil.example'),
    (True, 'video.local', 'video.local VIDEO.local:8501'),
    (True, '0.0.0.0', '10.0.0.2 [2001:db8::1]:80 localhost'),
    (True, '::', '10.0.0.2 [2001:db8::1]:80'),
    (False, '0.0.0.0', 'evil.example'),
    (True, 'also', 'other.example a.example.org a.b.example.org [2001:db8::2]'),
    (False, 'also', 'example.org evilexample.org an.other.example'),
  ],
)
def test_names(known, host, hosts):
  further = ('other.example', '*.example.org', '[2001:db8::2]') if host == 'also' else ()
  check = access.AccessCheck(host, further)
  for value in hosts.split():
    assert (check.refusal([value], []) is None) == known, value
  assert check.refusal([], []) and check.refusal(['localhost', 'localhost'], [])


@pytest.mark.parametrize(
  'own, origin',
  [
    (True, 'http://localhost:8501'),
    (True, 'https://localhost:8501'),  # A proxy in front of it has the certificate.
    (True, PAGE),
    (False, 'http://localhost'),
    (False, 'http://localhost:8502'),
    (False, 'http://127.0.0.1:8501'),
    (False, 'http://evil.example'),
    (False, 'null'),
    (False, ''),
    (False, 'http://localhost:8501, http://evil.example'),
  ],
)
def test_origins(own, origin):
  check = access.AccessCheck('127.0.0.1', (), (PAGE,))
  assert (check.refusal(['localhost:8501'], [origin]) is None) == own
  assert check.refusal(['localhost:8501'], []) is None
  assert access.AccessCheck('', ('*',), ('*',)).refusal(['any'], [origin]) is None


@pytest.mark.parametrize(
  'message, arguments',
  [
    ("allowed_host 'http://x': expected a name", {'allowed_hosts': ('http://x',)}),
    ("allowed_host 'x:80': expected a name", {'allowed_hosts': ('x:80',)}),
    ("allowed_origin 'x.example': expected scheme", {'allowed_origins': ('x.example',)}),
    ("allowed_origin 'http://x/': expected scheme", {'allowed_origins': ('http://x/',)}),
  ],
)
def test_names_that_are_none(message, arguments):
  with pytest.raises(ValueError, match=message):
    ServingOptions(**arguments)


def test_every_route_refuses_other_names_and_pages(client):
  for method, path in ROUTES:
    assert client.request(method, path).status_code != 403
    reply = client.request(method, path, headers={'Host': 'evil.example'})
    assert "Host 'evil.example': this server goes by another name" in error_of(reply, 403)
    reply = client.request(method, path, headers={'Origin': 'http://evil.example'})
    assert "Origin 'http://evil.example': pages of other sites" in error_of(reply, 403)


@pytest.mark.parametrize(
  'target, status', [('http://localhost/healthz', 200), ('http://evil.example/healthz', 403)]
)
def test_a_target_with_a_name_stands_for_the_host(server, target, status):
  connection = http.client.HTTPConnection(server.url.removeprefix('http://'), timeout=60)
  connection.request('GET', target, headers={'Host': '127.0.0.1'})
  assert connection.getresponse().status == status
  connection.close()


def test_refused_websockets_write_no_line(server):
  lines = []
  handler = logging.Handler()
  handler.emit = lines.append
  logging.getLogger('uvicorn.error').addHandler(handler)
  try:
    for path, status in (('/v1/sessions/x/stream', 404), ('/nowhere', 403)):
      with pytest.raises(InvalidStatus) as refused:
        connect(server.websocket_url + path)
      assert refused.value.response.status_code == status
  finally:
    logging.getLogger('uvicorn.error').removeHandler(handler)
  assert [line.getMessage() for line in lines if line.levelno >= logging.WARNING] == []


@pytest.mark.parametrize('path', ['/v1/overlay/stream', '/v1/sessions/x/stream'])
@pytest.mark.parametrize('header', ['Origin', 'Host'])
def test_no_websocket_for_other_names_and_pages(server, path, header):
  value = 'evil.example' if header == 'Host' else 'http://evil.example'
  arguments = {'origin': value} if header == 'Origin' else {}
  url = server.websocket_url
  if header == 'Host':  # The client writes the name of the URL, and connects elsewhere.
    host, _, port = url.removeprefix('ws://').partition(':')
    arguments = {'sock': socket.create_connection((host, int(port)))}
    url = 'ws://evil.example'
  with pytest.raises(InvalidStatus) as refused:
    connect(url + path, proxy=None, **arguments)
  assert refused.value.response.status_code == 403
  assert value in json.loads(refused.value.response.body)['error']


def test_answers_may_not_be_framed_or_embedded(client):
  for path in ('/', '/v1/limits', '/nowhere'):
    headers = client.get(path).headers
    assert headers['content-security-policy'] == "frame-ancestors 'self'"
    assert headers['cross-origin-resource-policy'] == 'same-origin'
    assert headers['x-content-type-options'] == 'nosniff'


def test_an_allowed_page_and_name(server):
  options = ServingOptions(
    max_pixels=64 * 64,
    max_body_bytes=1000,
    token='sesame',
    allowed_hosts=('video.example',),
    allowed_origins=(PAGE,),
  )
  with (
    running(options, server.services.models) as other,
    httpx.Client(base_url=other.url, headers={'Host': 'video.example', 'Origin': PAGE}) as client,
  ):
    asked = {
      'Access-Control-Request-Method': 'POST',
      'Access-Control-Request-Headers': 'authorization, x-session-id',
    }
    allowed = client.options('/v1/sessions', headers=asked)
    assert allowed.status_code == 200
    assert allowed.headers['access-control-allow-origin'] == PAGE
    assert 'x-session-id' in allowed.headers['access-control-allow-headers']
    reply = client.get('/v1/limits')
    assert reply.headers['access-control-allow-origin'] == PAGE
    assert 'X-Confidence' in reply.headers['access-control-expose-headers']
    assert reply.headers['content-security-policy'] == f"frame-ancestors 'self' {PAGE}"
    # The token is needed as well, and does not replace the name.
    assert client.get('/openapi.json').status_code == 401
    with_token = {'Authorization': 'Bearer sesame'}
    assert '/v1/sessions' in client.get('/openapi.json', headers=with_token).json()['paths']
    with_token['Host'] = 'evil.example'
    error_of(client.get('/metrics', headers=with_token), 403)
    # What a page cannot read is a failure of the network to it.
    reply = client.post('/v1/sessions', content=bytes(1001))
    assert 'larger than 1000 bytes' in error_of(reply, 413)
    assert reply.headers['access-control-allow-origin'] == PAGE


ATTACK = """
const done = arguments[arguments.length - 1];
const [url] = arguments;
const tries = {
  async read() { return (await fetch(url + '/v1/limits')).status; },
  async open() {
    const form = new FormData();
    for (const name of ['frame', 'mask'])
      form.append(name, await (await fetch('/' + name)).blob(), name);
    return (await fetch(url + '/v1/sessions', {method: 'POST', mode: 'no-cors', body: form})).type;
  },
  overlay() {
    return new Promise((resolve) => {
      const socket = new WebSocket(url.replace('http', 'ws') + '/v1/overlay/stream');
      socket.onopen = () => resolve('opened');
      socket.onerror = () => resolve('refused');
    });
  },
  frame() {
    return new Promise((resolve) => {
      const frame = document.createElement('iframe');
      frame.onload = () => resolve(frame.contentDocument === null ? 'blocked' : 'loaded');
      frame.src = url + '/';
      document.body.append(frame);
    });
  },
};
(async () => {
  const results = {};
  for (const [name, attempt] of Object.entries(tries))
    results[name] = await attempt().catch((error) => error.name);
  return results;
})().then(done);
"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
  def log_message(self, *arguments):
    del arguments


@pytest.fixture
def foreign_page(tmp_path, video):
  """Port of a web server with a page, a frame and a mask; none of ours."""
  (tmp_path / 'index.html').write_text('<!doctype html><title>page</title><body></body>')
  (tmp_path / 'frame').write_bytes(png(video[0][0]))
  (tmp_path / 'mask').write_bytes(masks.encode_mask(video[1]))
  handler = functools.partial(_Quiet, directory=str(tmp_path))
  with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as pages:
    thread = threading.Thread(target=pages.serve_forever)
    thread.start()
    yield pages.server_port
    pages.shutdown()
    thread.join()


def test_a_browser_with_a_foreign_page(page_server, foreign_page, tmp_path):
  """The page comes from another name, then makes its name point to the server."""
  opened = page_server.services.metrics.sessions_opened
  before = opened._value.get()
  driver = browser.start(tmp_path, 'host-resolver-rules=MAP evil.test 127.0.0.1')
  try:
    driver.get(f'http://evil.test:{foreign_page}/')
    results = driver.execute_async_script(ATTACK, page_server.url)
    assert results == {
      'read': 'TypeError',
      'open': 'TypeError',
      'overlay': 'refused',
      'frame': 'blocked',
    }
    assert opened._value.get() == before
    driver.get(page_server.url.replace('127.0.0.1', 'evil.test') + '/v1/limits')
    text = driver.find_element('css selector', 'body').text
    assert 'this server goes by another name' in text and 'max_pixels' not in text
    status = 'fetch(arguments[0]).then((reply) => arguments[1](reply.status));'
    assert driver.execute_async_script(status, '/metrics') == 403
    driver.get(page_server.url)
    assert driver.execute_async_script(status, '/metrics') == 200
  finally:
    driver.quit()


def test_an_origin_in_capitals_may_read_answers():
  """Its requests were taken, but browsers kept the answers from the page."""
  options = ServingOptions(allowed_origins=('https://Page.Example',))
  services = types.SimpleNamespace(
    options=options,
    access_log=access_log.AccessLog(),
    metrics=metrics.Metrics(),
    tracing=tracing.Tracing(False),
  )
  application = fastapi.FastAPI()
  app._add_middleware(application, services)

  @application.get('/')
  async def answer():
    return {}

  async def ask():
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url='http://localhost') as client:
      return await client.get('/', headers={'Origin': 'https://page.example'})

  reply = asyncio.run(ask())
  assert reply.status_code == 200
  assert reply.headers.get('access-control-allow-origin') == 'https://page.example'
