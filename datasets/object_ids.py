"""Which values of a mask are ids of objects, and how messages call them."""

FIRST_ID, LAST_ID = 1, 255
VOID_ID = 255  # In masks of data sets: nobody's pixel, left out of losses and scores.
GIVEN_IDS = f'object ids {FIRST_ID}..{LAST_ID}'  # Of masks that a person gives.
DATA_SET_IDS = f'object ids {FIRST_ID}..{VOID_ID - 1}, {VOID_ID} is void'


def is_object_id(number: int) -> bool:
  """Whether a number can be the id of an object in a mask that a person gives."""
  return FIRST_ID <= number <= LAST_ID
