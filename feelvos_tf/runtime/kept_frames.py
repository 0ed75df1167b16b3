"""Which masks of an earlier run stay when masks, removals or frames are added or changed.

Forward and backward, a mask decides its frame and those behind it in the direction of the run. In
both directions a stretch between two masks depends on these, and on others only for objects that
they do not show. Where that cannot be told from the ids alone, nothing is kept. No mask depends on
where the run ends behind it.
"""

from typing import Any

_ALL: tuple[int, int | None] = (0, None)
_DECIDE_ALL = ('base', 'direction', 'first', 'size', 'palette')


def is_same_but_end(earlier: dict, now: dict) -> bool:
  """Whether two plans differ in where the video ends at most; arguments as of `ranges`."""
  return {**_from_first(earlier, now), 'frames': None} == {**now, 'frames': None}


def holds(earlier: dict, now: dict) -> bool:
  """Whether a finished run has the masks of a plan, and perhaps some behind them.

  Arguments as of `ranges`. An end that is not known, or of a plan that does not say it, is the end.
  """
  before, after = (plan.get('frames') for plan in (earlier, now))
  is_behind = before is None or (after is not None and after <= before)
  return is_behind and is_same_but_end(earlier, now)


def ranges(earlier: dict, now: dict) -> list[tuple[int, int | None]]:
  """Frames whose masks are the same after both plans, which `segment_run.plans` makes.

  Args:
    earlier: plan of the run whose results are there, as JSON gives it back.
    now: plan of the one to come.

  Returns:
    Ascending (first, last) indices; a last of None is the end of the video.
  """
  earlier = _from_first(earlier, now)
  if earlier == now:
    return [_ALL]
  if any(earlier.get(key) != now[key] for key in _DECIDE_ALL):
    return []
  masks = _changed(earlier['masks'], now['masks'])
  limits = [frame for _, frame in _difference(earlier['removals'], now['removals'])]
  counts = [plan.get('frames') for plan in (earlier, now)]
  if counts[0] != counts[1]:
    limits.append(min(count for count in counts if count is not None))
  limit = min(limits, default=None)
  if masks and (earlier['removals'] or now['removals']):  # A mask can bring a removed object back.
    limit = min(masks) if limit is None else min(limit, *masks)
  found: list[tuple[int, int | None]]
  if not masks:
    found = [_ALL]
  elif now['direction'] == 'forward':
    found = [(0, min(masks) - 1)]
  elif now['direction'] == 'backward':
    ends = {plan['masks'][-1][0] for plan in (earlier, now)}
    found = [(max(masks) + 1, max(ends))] if len(ends) == 1 else []
  else:
    found = _equal_stretches(earlier, now)
  return _before(found, limit)


def _from_first(earlier: dict, now: dict) -> dict:
  """A plan that does not say with which frame it begins: with that of `now`."""
  return {'first': now.get('first'), **earlier}


def _difference(one: list, two: list) -> list:
  """Items of one list that are not in the other."""
  return [item for item in one if item not in two] + [item for item in two if item not in one]


def _changed(one: list, two: list) -> set[int]:
  return {index for index, *_ in _difference(one, two)}


def _before(found: list[tuple[int, int | None]], limit: int | None) -> list[tuple[int, int | None]]:
  """The ranges without frames from `limit` on; empty ones left out."""
  if limit is not None:
    found = [(a, limit - 1 if b is None else min(b, limit - 1)) for a, b in found]
  return [(a, b) for a, b in found if b is None or a <= b]


def _equal_stretches(earlier: dict[str, Any], now: dict[str, Any]) -> list[tuple[int, int | None]]:
  before = _stretches(earlier['masks'])
  return [where for where, what in _stretches(now['masks']).items() if before.get(where) == what]


def _stretches(masks: list) -> dict[tuple[int, int | None], Any]:
  """{(first, last) of a stretch: what decides its masks, to be compared}."""
  everything = {i for _, _, ids in masks for i in ids}
  seen: set[int] = set()
  found: dict = {}
  end: Any = (
    None  # (index, what decides the completed mask of that frame, what else its run is shown)
  )
  for index, digest, ids in masks:
    adds = bool(ids) and not seen & set(ids) and end is not None
    others = [] if set(ids) == everything and not adds else masks
    stretch = (end, index, digest, adds, others)
    if end is None:
      found[0, index - 1] = found[index, index] = stretch
    else:
      found[end[0] + 1, index] = stretch
    end = (index, stretch if adds else digest, others)
    seen |= set(ids)
  found[end[0] + 1, None] = end
  return {(a, b): what for (a, b), what in found.items() if b is None or a <= b}
