"""The network: its options, its parts, its weights files and the sizes it works at."""

from typing import Any

from feelvos_tf import old_members


def __getattr__(name: str) -> Any:
  return old_members.find('model', name)  # This was a module.
