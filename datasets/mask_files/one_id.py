"""One id for an object on all frames, where files name objects: by a colour, a label, a track."""

import dataclasses
import re

import numpy as np

from feelvos_tf.datasets import object_ids
from feelvos_tf.datasets.mask_files import reading
from feelvos_tf.datasets.palette import hex_colour


def one_id_each(read: dict[int, reading.GivenMask]) -> dict[int, reading.GivenMask]:
  """Gives an object one id on all frames where files name objects (a colour, a label, a track).

  Ids of such files follow from the place among the objects of that frame. An object of an earlier
  frame gets its id of there, a new one an id that is free. Where pictures whose values are ids have
  colours too, colours of other frames get these ids: black and white, palettes.

  Args:
    read: {index of the frame: GivenMask}, in the order of frames.

  Returns:
    The same with other ids where needed, and a hint where two objects of a frame have one name.
  """
  known = _ids_by_colour(read)
  found = {}
  for index, given in read.items():
    keys = given.keys.values()
    if keys and not given.own_ids and all(map(is_file_key, keys)) and known.keys().isdisjoint(keys):
      # Names that also say which frame it is: their order is that of the objects.
      known = {**dict(zip(keys, given.keys)), **known}
    elif len(set(given.keys.values())) == len(given.keys):
      given = _with_ids(given, known)
      known.update({key: object_id for object_id, key in given.keys.items()})
    else:
      names = sorted({k for k in given.keys.values() if list(given.keys.values()).count(k) > 1})
      given.hints.append(
        f'frame {index}: several objects called {", ".join(names[:3])}: they get ids by their order, '
        'which has to be that of the other frames'
      )
    found[index] = given
  return found


def _ids_by_colour(read: dict[int, reading.GivenMask]) -> dict[str, int]:
  """{colour: id} of pictures whose values are ids; empty if no frame has a picture of colours.

  Warns of frames whose values say something else than their colours.
  """
  asked = {key for given in read.values() for key in given.keys.values() if is_colour_key(key)}
  found: dict[str, int] = {}
  for index, given in read.items() if asked else ():
    if given.keys or given.names:
      continue
    ids, palette = given.mask.object_ids, given.mask.palette
    colours = [[i] * 3 for i in ids] if palette is None else palette[list(ids)].tolist()
    own = {hex_colour(colour): i for i, colour in zip(ids, colours)}
    if len(own) < len(ids):
      continue
    if all(len(set(colour)) == 1 for colour in colours):
      # Grey is a colour where other frames have it: white, above all.
      own = {colour: i for colour, i in own.items() if colour in asked}
    found = {**own, **found}
    for colour in own:
      if found[colour] != own[colour]:
        given.hints.append(
          f'frame {index}: {colour} is value {own[colour]} here and object {found[colour]} on a '
          'frame before; the values count'
        )
  return found


def is_file_key(key: str) -> bool:
  """Whether a key of `GivenMask.keys` is the name of a file."""
  return key.startswith('file ')


def is_colour_key(key: str) -> bool:
  """Whether a key of `GivenMask.keys`, or a name, is a colour."""
  return re.fullmatch('#[0-9a-f]{6}', key) is not None


def _with_ids(given: reading.GivenMask, known: dict[str, int]) -> reading.GivenMask:
  """The GivenMask with the ids of `known` {key: id}, and free ones for other keys."""
  new: dict[int, int] = {}
  for i, key in sorted(given.keys.items()):
    if known.get(key) not in (None, *new.values()):  # Two objects of a mask stay two.
      new[i] = known[key]
  rest = given.keys.keys() - new.keys()
  for object_id in sorted(rest, key=lambda i: (i not in given.own_ids, i)):
    # An id that the file gives stands, unless the file has another object that got it before.
    own = object_id in given.own_ids
    taken = set(new.values()) if own else {*known.values(), *new.values()}
    new[object_id] = object_ids.free_id(taken, object_id) or object_id
  if all(old == i for old, i in new.items()):
    return given
  table, palette = np.arange(256, dtype=np.uint8), given.mask.palette
  for old, object_id in new.items():
    table[old] = object_id
  if palette is not None:
    colours, palette = palette[list(new)], palette.copy()
    palette[list(new.values())] = colours
  return dataclasses.replace(
    given,
    mask=dataclasses.replace(given.mask, ids=table[given.mask.ids], palette=palette),
    names={new.get(i, i): name for i, name in given.names.items()},
    keys={new[i]: key for i, key in given.keys.items()},
  )
