"""What operators configure in TensorFlow Serving's files: models, TLS, sockets, metrics."""

import asyncio
import shutil
import ssl
import time

import grpc
import httpx
import pytest
from tensorflow_serving.apis import model_management_pb2
from tensorflow_serving.apis import model_service_pb2_grpc
from tensorflow_serving.apis import prediction_service_pb2_grpc
from tensorflow_serving.config import model_server_config_pb2
import trustme
from websockets.asyncio.client import connect

from feelvos_tf.serving import config_files
from feelvos_tf.serving import tls
from feelvos_tf.serving.options import ServingOptions

from .conftest import halves_and_two
from .conftest import running
from .test_tf_serving import request_of

MODEL = 'config { name: "%s" base_path: "%s" %s } '


@pytest.fixture(scope='module')
def three(tmp_path_factory):
  """Folder with the model `half` of the versions 1, 2 and 3."""
  folder = tmp_path_factory.mktemp('three') / 'half'
  halves_and_two(folder / '1')
  for number in ('2', '3'):
    shutil.copytree(folder / '1', folder / number)
  return folder


def models(*texts):
  return f'model_config_list {{ {"".join(texts)} }}'


def options_of(path, **fields):
  return ServingOptions(
    model_dir='',
    model_config_file=str(path),
    enable_model_warmup=False,
    file_system_poll_wait_seconds=0.1,
    **fields,
  )


def predict(channel, name, label=''):
  request = request_of(name, x=[2.0])
  request.model_spec.version_label = label
  return prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=30)


def test_models_of_a_configuration_file(three, tmp_path):
  path = tmp_path / 'models.conf'
  labels = 'version_labels { key: "stable" value: 2 } version_labels { key: "next" value: 9 }'
  policies = {
    'a': ('', [3]),
    'b': ('model_version_policy { latest { num_versions: 2 } }', [3, 2]),
    'c': (f'model_version_policy {{ specific {{ versions: 1 versions: 2 }} }} {labels}', [2, 1]),
    'd': ('model_platform: "tensorflow" model_version_policy { all {} }', [3, 2, 1]),
  }
  (tmp_path / 'link').symlink_to(three)
  path.write_text(models(*(MODEL % (name, 'link', text) for name, (text, _) in policies.items())))
  options = options_of(path, model_config_file_poll_wait_seconds=0.05)
  with running(options) as server, httpx.Client(base_url=server.url, timeout=60) as client:
    assert server.services.models.served() == {name: n for name, (_, n) in policies.items()}
    for version in ('labels/stable', 'versions/2'):
      reply = client.post(f'/v1/models/c/{version}:predict', json={'instances': [2.0]})
      assert reply.json() == {'predictions': [3.0]}
      status = client.get(f'/v1/models/c/{version}').json()['model_version_status']
      assert [entry['version'] for entry in status] == ['2']
    reply = client.post('/v1/models/c/labels/next:predict', json={'instances': [2.0]})
    assert reply.status_code == 400 and 'Unrecognized servable version label' in reply.text
    with grpc.insecure_channel(server.grpc_address) as channel:
      assert predict(channel, 'c', 'stable').model_spec.version.value == 2
      with pytest.raises(grpc.RpcError, match='Unrecognized servable version label: next'):
        predict(channel, 'c', 'next')
      # The file is looked at again; nonsense in it changes nothing.
      path.write_text('nonsense')
      time.sleep(0.2)
      assert len(server.services.models.served()) == 4
      path.write_text(models(MODEL % ('e', three, '')))
      wait_for(lambda: list(server.services.models.served()) == ['e'])
      # And it may be replaced by a call.
      reload(channel, MODEL % ('f', three, 'model_version_policy { all {} }'))
      assert server.services.models.served() == {'f': [3, 2, 1]}
      for text, message in (('', 'no model_config_list'), (MODEL % ('f', 'x', ''), 'absolute')):
        with pytest.raises(grpc.RpcError, match=message):
          reload(channel, text)
      assert server.services.models.served() == {'f': [3, 2, 1]}


def reload(channel, text):
  text = models(text) if text else ''
  config = config_files.text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
  stub = model_service_pb2_grpc.ModelServiceStub(channel)
  request = model_management_pb2.ReloadConfigRequest(config=config)
  assert stub.HandleReloadConfigRequest(request, timeout=60).status.error_code == 0


def wait_for(condition):
  for _ in range(600):
    if condition():
      return
    time.sleep(0.05)
  raise AssertionError('it did not come true')


def test_nobody_may_change_the_models_of_a_folder(server, three):
  channel = grpc.insecure_channel(server.grpc_address)
  refused = pytest.raises(grpc.RpcError, match='start it with --model_config_file')
  with channel, refused as caught:
    reload(channel, MODEL % ('f', three, ''))
  assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize(
  'text, message',
  [
    ('models: {', 'Error parsing text-format tensorflow.serving.ModelServerConfig'),
    ('', 'no model_config_list with models'),
    (models(MODEL % ('', '/a', '')), 'lacks name and base_path'),
    (models(MODEL % ('a:b', '/a', '')), "model name 'a:b'"),
    (models(MODEL % ('a', 's3://bucket/a', '')), 'expected a folder of this machine'),
    (models(MODEL % ('a', '/a', 'model_platform: "caffe"')), 'expected tensorflow'),
    (
      models(MODEL % ('a', '/a', 'model_version_policy { specific {} }')),
      'specific has no versions',
    ),
    (models(MODEL % ('a', '/a', '') * 2), 'has a more than once'),
  ],
)
def test_wrong_model_configurations(tmp_path, text, message):
  path = tmp_path / 'models.conf'
  path.write_text(text)
  with pytest.raises(ValueError, match=message):
    config_files.read_models(path)


def test_metrics_path(tmp_path):
  path = tmp_path / 'monitoring.conf'
  for text, expected in (
    ('', ''),
    ('prometheus_config { path: "/a" }', ''),
    ('prometheus_config { enable: true }', '/monitoring/prometheus/metrics'),
    ('prometheus_config { enable: true, path: "/a/b" }', '/a/b'),
  ):
    path.write_text(text)
    assert config_files.read_metrics_path(path) == expected
  path.write_text('prometheus_config { enable: true path: "a" }')
  with pytest.raises(ValueError, match="path 'a' given"):
    config_files.read_metrics_path(path)
  with pytest.raises(FileNotFoundError, match='nowhere: no such file'):
    config_files.read_metrics_path('nowhere')


async def opened(address, context):
  # Not the threaded client: over TLS it stalls in one of several hundred handshakes.
  await connect(address, ssl=context)


def test_encryption_a_socket_and_metrics(three, tmp_path, caplog):
  authority, other = trustme.CA(), trustme.CA()
  own = authority.issue_cert('localhost', '127.0.0.1')
  text = lambda blob: blob.bytes().decode()
  path = tmp_path / 'ssl.conf'
  path.write_text(
    f'server_key: {text(own.private_key_pem)!r} '
    f'server_cert: {text(own.cert_chain_pems[0])!r} '
    f'custom_ca: {text(authority.cert_pem)!r} client_verify: true'
  )
  encryption = config_files.read_tls(path)
  socket = tmp_path / 'grpc.sock'
  options = ServingOptions(
    str(three), enable_model_warmup=False, metrics_path='/a/b', body_seconds=2.0
  )
  with running(options, tls=encryption, grpc_socket_path=str(socket)) as server:
    url = server.url.replace('http:', 'https:')
    for issuer in (authority, other, None):
      context = ssl.create_default_context(cadata=text(authority.cert_pem))
      client = issuer and issuer.issue_cert('a@example.org')
      if client:
        client.configure_cert(context)
      credentials = grpc.ssl_channel_credentials(
        authority.cert_pem.bytes(),
        client and client.private_key_pem.bytes(),
        client and client.cert_chain_pems[0].bytes(),
      )
      with grpc.secure_channel(server.grpc_address, credentials) as channel:
        if issuer is authority:
          assert predict(channel, 'half').outputs['y'].float_val == [3.0]
          reply = httpx.get(f'{url}/a/b', verify=context)
        else:
          with pytest.raises(grpc.RpcError):
            predict(channel, 'half')
          with pytest.raises(httpx.TransportError):
            httpx.get(url, verify=context)
    with grpc.insecure_channel(f'unix:{socket}') as channel:
      assert predict(channel, 'half').outputs['y'].float_val == [3.0]
      with pytest.raises(grpc.RpcError):
        predict(channel, 'nobody')
    with pytest.raises(httpx.TransportError):
      httpx.get(server.url)
    context = ssl.create_default_context(cadata=text(authority.cert_pem))
    authority.issue_cert('a@example.org').configure_cert(context)
    address = url.replace('https', 'wss') + '/v1/sessions/x/stream'
    with pytest.raises(Exception, match='404'):
      asyncio.run(opened(address, context))
    time.sleep(0.6)  # Connections are looked at every 0.5 s, WebSockets are not.
    after = httpx.get(f'{url}/a/b', verify=context).text
    httpx.post(f'{url}/v1/models/half:predict', json={'inputs': [2.0]}, verify=context)
    last = httpx.get(f'{url}/metrics', verify=context).text
  assert not [record for record in caplog.records if record.name == 'asyncio']
  assert '# TYPE' in reply.text
  for line in (
    ':tensorflow:serving:request_count{model_name="half",status="OK"} 2',
    ':tensorflow:serving:request_count{model_name="unknown",status="NOT_FOUND"} 1',
    ':tensorflow:serving:request_latency_count{API="Predict",entrypoint="GRPC",model_name="half"} 2',
    ':tensorflow:serving:runtime_latency_count{API="Predict",model_name="half",runtime="TF"} 2',
    f'load_attempt_count{{model_path="{three.resolve() / "3"}",status="success"}} 1',
    ':tensorflow:cc:saved_model:load_latency{model_path="',
  ):
    assert line in after
  assert 'entrypoint="REST",model_name="half"} 1' in last


def test_wrong_keys(tmp_path):
  authority = trustme.CA()
  one, other = (authority.issue_cert('localhost') for _ in range(2))
  paths = {}
  for name, blob in {
    'cert': one.cert_chain_pems[0], 'key': one.private_key_pem, 'other': other.private_key_pem,
  }.items():  # fmt: skip
    paths[name] = str(tmp_path / name)
    blob.write_to_path(paths[name])
  assert tls.read(paths['cert'], paths['key']).verify_clients is False
  assert tls.read(paths['cert'], paths['key'], paths['cert']).verify_clients is True
  for arguments in (('cert', 'other'), ('key', 'key'), ('cert', 'key', 'key')):
    with pytest.raises(ValueError, match='have to be PEM'):
      tls.read(*(paths[name] for name in arguments))
  with pytest.raises(FileNotFoundError, match='no such file'):
    tls.read(paths['cert'], 'nowhere')
  with pytest.raises(ValueError, match="can only be checked with their authority's"):
    tls.Tls(one.private_key_pem.bytes(), one.cert_chain_pems[0].bytes(), verify_clients=True)
