"""Files of examples: they can be read, and name flags, fields and metrics that there are."""

import json
import pathlib
import re

import prometheus_client
import pytest
import yaml

from feelvos_tf.serving import metrics
from feelvos_tf.serving import options as options_lib

DEPLOY = pathlib.Path(__file__).resolve().parent.parent / 'examples' / 'deploy'
EXAMPLES = DEPLOY.parent
CHART = DEPLOY / 'helm' / 'feelvos'
COMPOSES = sorted(EXAMPLES.rglob('compose.yaml'))
MANIFESTS = [
  path
  for path in sorted(EXAMPLES.rglob('*'))
  if path.suffix in ('.yaml', '.yml') and 'templates' not in path.parts
]


def text_of(*names):
  return (DEPLOY.joinpath(*names)).read_text(encoding='utf-8')


@pytest.mark.parametrize('path', MANIFESTS, ids=lambda path: path.name)
def test_yaml_can_be_read(path):
  documents = list(yaml.safe_load_all(path.read_text(encoding='utf-8')))
  assert documents and all(isinstance(document, dict) for document in documents)


def test_flags_exist(run_main):
  known = re.findall(
    r'^\s+--(?:\[no\])?(\w+):', run_main('feelvos_tf.serve', '--help').stdout, re.M
  )
  texts = [
    *(path.read_text(encoding='utf-8') for path in COMPOSES),
    (CHART / 'templates' / 'deployment.yaml').read_text(),
  ]
  texts += re.findall(r'^(?:ENTRYPOINT|CMD) .*', text_of('Dockerfile'), re.M)
  used = set(re.findall(r'--(\w+)=', ''.join(texts)))
  assert len(used) >= 6 and used <= set(known)


@pytest.mark.parametrize('path', COMPOSES, ids=lambda path: path.parent.name)
def test_compose_mounts_files_that_are_there(path):
  compose = yaml.safe_load(path.read_text(encoding='utf-8'))
  for service in compose['services'].values():
    for volume in service.get('volumes', []):
      source = volume.split(':')[0]
      is_a_persons = source == './videos' or source in compose.get('volumes', {})
      assert is_a_persons or (path.parent / source).is_file(), volume
    if 'build' in service:
      context = path.parent / service['build']['context']
      assert (context / service['build']['dockerfile']).is_file()
  build = compose['services']['feelvos']['build']
  context = (path.parent / build['context']).resolve()
  assert (context / build['dockerfile']).samefile(DEPLOY / 'Dockerfile')
  assert (context / 'pyproject.toml').is_file()


def test_adapters_find_the_server():
  """They read the variables that are set; the address is that of the service, which allows it."""
  function = yaml.safe_load((EXAMPLES / 'cvat' / 'function.yaml').read_text())['spec']
  cvat = yaml.safe_load((EXAMPLES / 'cvat' / 'compose.yaml').read_text())
  studio = yaml.safe_load((EXAMPLES / 'label_studio' / 'compose.yaml').read_text())
  backend = studio['services']['backend']
  set_for = {
    EXAMPLES / 'cvat' / 'main.py': {v['name']: v['value'] for v in function['env']},
    EXAMPLES / 'label_studio' / 'app.py': backend['environment'],
  }
  for script, variables in set_for.items():
    read = set(re.findall(r"environ\.get\('(\w+)'", script.read_text()))
    assert set(variables) <= read
    assert variables['FEELVOS_SERVER'] == 'http://feelvos:8501'
  for compose in (cvat, studio):
    assert '--allowed_host=feelvos' in compose['services']['feelvos']['command']
  attributes = function['platform']['attributes']
  assert attributes['network'] == cvat['networks']['cvat']['name']
  (videos,) = [v for v in backend['volumes'] if v.startswith('./videos:')]
  assert videos.split(':')[1] == backend['environment']['FEELVOS_VIDEOS']
  dockerfile = (EXAMPLES / 'label_studio' / 'Dockerfile').read_text()
  (app,) = [v for v in backend['volumes'] if 'app.py' in v]
  assert f'--app-dir={pathlib.PurePosixPath(app.split(":")[1]).parent}' in dockerfile
  assert 'http://backend:9090' in (EXAMPLES / 'label_studio' / 'compose.yaml').read_text()
  assert '--port=9090' in dockerfile


def test_what_scrapes_names_the_server_and_brings_the_token():
  compose = yaml.safe_load(text_of('compose', 'compose.yaml'))
  (job,) = yaml.safe_load(text_of('compose', 'prometheus.yml'))['scrape_configs']
  (target,) = job['static_configs'][0]['targets']
  host = target.split(':')[0]
  assert f'--allowed_host={host}' in compose['services']['feelvos']['command']
  assert job['authorization']['credentials_file'] == '/run/secrets/token'


def test_the_board_shows_metrics_that_exist():
  board = json.loads(text_of('compose', 'grafana', 'feelvos.json'))
  exposed = metrics.Metrics()
  exposed.predict_seconds.labels('m', 's').observe(1)
  exposed.requests.labels('http', 'GET', '200').inc()
  exposed.set_versions({'m': 1})
  page = prometheus_client.generate_latest(exposed.registry).decode()
  names = set(re.findall(r'^(\w+?)(?:\{| )', page, re.M))
  expressions = [target['expr'] for panel in board['panels'] for target in panel['targets']]
  used = set(re.findall(r'\b(?:feelvos|process)_\w+', ' '.join(expressions)))
  assert len(used) >= 10 and used <= names


def test_values_of_the_chart_are_used_and_given():
  values = yaml.safe_load(text_of('helm', 'feelvos', 'values.yaml'))
  templates = ''.join(path.read_text() for path in (CHART / 'templates').iterdir())
  used = set(re.findall(r'\.Values\.([\w.]+)', templates))
  for name in used:
    found = values
    for part in name.split('.'):
      assert part in found, name
      found = found[part]
  assert {name.split('.')[0] for name in used} == set(values)


def test_arguments_of_the_ray_service_are_options():
  service = yaml.safe_load(text_of('rayservice.yaml'))
  (application,) = yaml.safe_load(service['spec']['serveConfigV2'])['applications']
  fields = set(options_lib.ServingOptions.__dataclass_fields__)
  assert set(application['args']) <= fields | {'replicas', 'grace_seconds', 'cpus_per_replica'}
  assert application['import_path'] == 'feelvos_tf.serving.ray_app:build'
