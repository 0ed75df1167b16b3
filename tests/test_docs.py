"""README and docs: links lead somewhere, commands and the names of the API exist."""

import ast
import pathlib
import re

import pytest

import feelvos_tf
from feelvos_tf import __main__ as command

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = [
  *ROOT.glob('*.md'),
  *(ROOT / 'docs').rglob('*.md'),
  ROOT / 'feelvos_tf' / 'pretrained' / 'README.md',
]


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
  text = page.read_text(encoding='utf-8')
  for target in re.findall(r'\]\(([^)\s]+)\)', text):
    if not re.match(r'https?://|#|mailto:', target):
      assert (page.parent / target.partition('#')[0]).exists(), target


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page):
  blocks = re.findall(r'```\w*\n(.*?)```', page.read_text(encoding='utf-8'), re.DOTALL)
  for name in re.findall(r'^(?:\.venv/bin/)?feelvos ([a-z][\w-]*)', '\n'.join(blocks), re.M):
    assert name in command.COMMANDS


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_is_valid_and_uses_what_there_is(page):
  blocks = re.findall(r'```python\n(.*?)```', page.read_text(encoding='utf-8'), re.DOTALL)
  for block in blocks:
    for node in ast.walk(ast.parse(block)):
      if isinstance(node, ast.Attribute) and getattr(node.value, 'id', '') == 'feelvos_tf':
        assert node.attr in feelvos_tf.__all__


def test_every_page_is_in_the_index():
  index = (ROOT / 'docs' / 'index.md').read_text(encoding='utf-8')
  navigation = (ROOT / 'mkdocs.yml').read_text(encoding='utf-8')
  for page in (ROOT / 'docs').glob('*.md'):
    if page.name != 'index.md':
      assert f']({page.name})' in index, page
    assert page.name in navigation, page
