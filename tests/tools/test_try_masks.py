"""Every form of masks that the table of docs/formats.md names is read right."""

import pathlib

import pytest

from tools import try_masks

DOCS = pathlib.Path(__file__).parents[2] / 'docs' / 'formats.md'


@pytest.mark.parametrize(
  'form, write, options', try_masks.forms(), ids=lambda value: str(value)[:30]
)
def test_forms(tmp_path, form, write, options):
  line = f'| {form} | {try_masks.outcome(write, tmp_path, options)} |'
  assert '!' not in line and line in DOCS.read_text(encoding='utf-8')
