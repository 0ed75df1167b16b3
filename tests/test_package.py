"""The distribution: which folders become which packages, and the wheel in an environment."""

import os
import pathlib
import subprocess
import sys
import zipfile

import pytest

import feelvos_tf
from feelvos_tf.model import default_model
from feelvos_tf.runtime import packaged_files

ROOT = pathlib.Path(__file__).resolve().parent.parent
MAPPED = {'feelvos_tf.datasets': 'datasets', 'feelvos_tf.deeplab': 'deeplab'}
MAPPED['feelvos_tf.tools'] = 'tools'


@pytest.mark.parametrize('name, folder', MAPPED.items())
def test_folders_of_the_checkout_are_sub_packages(name, folder):
  __import__(name)
  assert pathlib.Path(sys.modules[name].__file__).parent == ROOT / folder


def test_a_users_own_folders_do_not_matter(tmp_path):
  for folder in MAPPED.values():
    (tmp_path / folder).mkdir()
    (tmp_path / folder / '__init__.py').write_text('raise RuntimeError("the user\'s own")')
  process = subprocess.run(
    [sys.executable, '-c', 'import feelvos_tf.datasets.video, feelvos_tf.tools.plot_scores'],
    cwd=tmp_path,
    env={**os.environ, 'PYTHONPATH': str(ROOT)},
    text=True,
    capture_output=True,
    timeout=60,
    check=False,
  )
  assert process.returncode == 0, process.stderr


def test_no_module_is_left_out():
  """Folders with modules have an __init__.py, else setup.py does not find them."""
  for top in ('feelvos_tf', *MAPPED.values()):
    for path in (ROOT / top).rglob('*.py'):
      assert (path.parent / '__init__.py').is_file(), path


def test_imports_use_the_installed_names():
  """`import datasets` would find Hugging Face's package, or a user's folder."""
  for top in ('feelvos_tf', *MAPPED.values()):
    for path in (ROOT / top).rglob('*.py'):
      for line in path.read_text(encoding='utf-8').splitlines():
        words = line.split()
        if len(words) > 1 and words[0] in ('import', 'from'):
          assert words[1].split('.')[0] not in MAPPED.values(), f'{path}: {line}'


def run(*command, **kwargs):
  process = subprocess.run(
    [*map(str, command)], text=True, capture_output=True, timeout=900, check=False, **kwargs
  )
  assert process.returncode == 0, process.stdout + process.stderr
  return process


@pytest.fixture(scope='module')
def wheels(tmp_path_factory):
  """(wheel of the sdist, wheel of the sources), built from a copy of the files git knows."""
  pytest.importorskip('build', reason='the package build is not installed')
  source = tmp_path_factory.mktemp('source')
  listed = run('git', 'ls-files', '-co', '--exclude-standard', cwd=ROOT).stdout.splitlines()
  for name in listed:
    if not name.startswith('tests/') and (ROOT / name).is_file():
      (source / name).parent.mkdir(parents=True, exist_ok=True)
      (source / name).write_bytes((ROOT / name).read_bytes())
  made = []
  for options in ([], ['--wheel']):
    out = tmp_path_factory.mktemp('dist')
    build = [sys.executable, '-m', 'build', '--no-isolation', *options, '--outdir', out, source]
    run(*build, cwd=out)
    made.append(next(out.glob('*.whl')))
  return made


@pytest.mark.slow
def test_wheel_holds_everything_under_one_name(wheels):
  from_sdist, from_sources = (
    {i.filename: i.CRC for i in zipfile.ZipFile(w).infolist()} for w in wheels
  )
  assert from_sdist == from_sources
  info = f'feelvos_tf-{feelvos_tf.__version__}.dist-info'
  assert {name.split('/')[0] for name in from_sdist} == {'feelvos_tf', info}
  for name, folder in {'feelvos_tf': 'feelvos_tf', **MAPPED}.items():
    for path in (ROOT / folder).rglob('*.py'):
      inside = f'{name.replace(".", "/")}/{path.relative_to(ROOT / folder).as_posix()}'
      assert inside in from_sdist
  data = [p for p in packaged_files.SERVER_PAGE.iterdir() if p.is_file()]
  for path in (
    default_model.DEFAULT_MODEL,
    packaged_files.DEMO_CLIP,
    packaged_files.DEMO_MASK,
    *data,
  ):
    assert path.relative_to(ROOT).as_posix() in from_sdist
  assert 'feelvos_tf/py.typed' in from_sdist


@pytest.mark.slow
def test_installed_wheel_runs_in_another_folder(wheels, tmp_path):
  """Unpacked next to a package that owns the name `datasets`; the libraries are this machine's."""
  site, work = tmp_path / 'site', tmp_path / 'work'
  run(sys.executable, '-m', 'pip', 'install', '--no-deps', '--target', site, wheels[0])
  (site / 'datasets').mkdir()
  (site / 'datasets' / '__init__.py').write_text('name = "of another project"')
  work.mkdir()
  environment = {**os.environ, 'PYTHONPATH': str(site)}
  where = [
    sys.executable,
    '-c',
    'import datasets, feelvos_tf; print(datasets.name, feelvos_tf.__file__)',
  ]
  assert run(*where, cwd=work, env=environment).stdout == (
    f'of another project {site / "feelvos_tf" / "__init__.py"}\n'
  )
  process = run(
    site / 'bin' / 'feelvos', 'demo', '--max_internal_size=96', cwd=work, env=environment
  )
  assert len(list((work / 'demo_output' / 'masks').glob('*.png'))) > 20, process.stderr
