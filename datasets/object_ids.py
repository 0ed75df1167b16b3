"""Which values of a mask are ids of objects, and how messages call them."""

from collections.abc import Container

FIRST_ID, LAST_ID = 1, 255
VOID_ID = 255  # In masks of data sets: nobody's pixel, left out of losses and scores.
GIVEN_IDS = f'object ids {FIRST_ID}..{LAST_ID}'  # Of masks that a person gives.
DATA_SET_IDS = f'object ids {FIRST_ID}..{VOID_ID - 1}, {VOID_ID} is void'


def is_object_id(number: int) -> bool:
  """Whether a number can be the id of an object in a mask that a person gives."""
  return FIRST_ID <= number <= LAST_ID


def free_id(taken: Container[int | None], wanted: int = FIRST_ID) -> int | None:
  """The wanted id, else the lowest one that is not taken; None if all are."""
  return next((i for i in (wanted, *range(FIRST_ID, LAST_ID + 1)) if i not in taken), None)
