"""Which replica of a Ray Serve deployment a request goes to. Knows no TensorFlow.

Ray's `ConsistentHashRouter` sends all requests with one value of the header `X-Session-Id` to one
replica, as long as the set of replicas stays as it is: when one of two is killed and replaced, a
third of the keys of the living one move to the new one, and sessions that are alive would not be
found. So the replica that opens a session puts its name into the session's id, and requests that
name a living replica go there; all others are hashed.
"""

import pickle
from typing import Any

from ray.serve.experimental.consistent_hash_router import ConsistentHashRouter

_SESSIONS = '/v1/sessions/'


class SessionRouter(ConsistentHashRouter):
  """`ConsistentHashRouter` that finds the replica of a session by the session's id.

  The id is that in the path (browsers cannot set headers on WebSockets), or the header's value.
  """

  async def choose_replicas(
    self, candidate_replicas: list, pending_request: Any = None
  ) -> list[list]:
    """Ranked lists of replicas, see `RequestRouter`; one replica for a session's requests."""
    ranks = await super().choose_replicas(candidate_replicas, pending_request)
    if pending_request is None:
      return ranks
    for session_id in (_session_in_path(pending_request), pending_request.metadata.session_id):
      name = (session_id or '').rpartition('.')[0]
      for replica in candidate_replicas:
        if name == replica.replica_id.unique_id:
          return [[replica]]
    return ranks


def session_of_path(path: str) -> str:
  """The id in the path of a session's request; '' in any other."""
  return path.removeprefix(_SESSIONS).split('/')[0] if path.startswith(_SESSIONS) else ''


def _session_in_path(pending_request: Any) -> str:
  """The id in the path of an HTTP or WebSocket request, which Ray's proxy hands on pickled."""
  argument = pending_request.args[0] if pending_request.args else None
  if not pending_request.metadata.is_http_request or not isinstance(argument, bytes):
    return ''
  return session_of_path(pickle.loads(argument).asgi_scope['path'])
