"""From frames to masks: the graph functions, the segmenter, several views of a frame."""

from typing import Any

from feelvos_tf import old_members


def __getattr__(name: str) -> Any:
  return old_members.find('inference', name)  # This was a module.
