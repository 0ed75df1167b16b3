"""Evaluation: measures, sequences, scoring, methods, tables and report."""

from typing import Any

from feelvos_tf import old_members


def __getattr__(name: str) -> Any:
  return old_members.find('evaluation', name)  # This was a module.
