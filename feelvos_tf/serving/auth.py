"""Who may talk to the server: a bearer token, compared in constant time."""

from collections.abc import Callable, Sequence
import hmac
import urllib.parse

import grpc

from feelvos_tf.serving import errors

# What needs no token, as /readyz needs none.
_OPEN = (
  '/grpc.health.v1.Health/',
  '/inference.GRPCInferenceService/ServerLive',
  '/inference.GRPCInferenceService/ServerReady',
)
_SUBPROTOCOL = 'bearer.'


class TokenCheck:
  """Checks the token of requests; lets everybody in if there is none.

  Attributes:
    needed: bool.
  """

  def __init__(self, token: str | None) -> None:
    """Args: str or None."""
    self._token = token.encode() if token else None
    self.needed = self._token is not None

  def check(self, authorization: str | None) -> None:
    """Checks the value of an Authorization header (str or None).

    Raises:
      RequestError: UNAUTHENTICATED.
    """
    scheme, _, given = (authorization or '').partition(' ')
    self._compare([given.strip()] if scheme.lower() == 'bearer' else [])

  def check_websocket(self, authorization: str | None, subprotocols: Sequence[str]) -> str | None:
    """`check` for a WebSocket, whose token may come as the subprotocol `bearer.TOKEN`.

    A subprotocol holds no `/`, `=` and others, as tokens in base64 have them: there they come
    percent-encoded.

    Args:
      authorization: value of the header, or None.
      subprotocols: that the client offers.

    Returns:
      The subprotocol to accept with, or None.

    Raises:
      RequestError: UNAUTHENTICATED.
    """
    offered = next((name for name in subprotocols if name.startswith(_SUBPROTOCOL)), None)
    if offered is None:
      self.check(authorization)
    else:
      given = offered[len(_SUBPROTOCOL) :]
      self._compare([given, urllib.parse.unquote(given)])
    return offered

  def _compare(self, given: Sequence[str]) -> None:
    """Refuses a token that is missing (nothing given), or wrong in each of the given readings."""
    if self._token is None:
      return
    if not given:
      raise errors.RequestError(
        grpc.StatusCode.UNAUTHENTICATED,
        'this server needs a token: send "Authorization: Bearer TOKEN".',
      )
    sent = [text.encode('utf-8', 'replace') for text in given]
    if not any(hmac.compare_digest(text, self._token) for text in sent):
      raise errors.RequestError(grpc.StatusCode.UNAUTHENTICATED, 'wrong token.')


class TokenInterceptor(grpc.ServerInterceptor):
  """`TokenCheck` for gRPC, where the header is the metadata `authorization`."""

  def __init__(self, check: TokenCheck) -> None:
    """Args: `TokenCheck`."""
    self._check = check

  def intercept_service(
    self, continuation: Callable, handler_call_details: grpc.HandlerCallDetails
  ) -> grpc.RpcMethodHandler | None:
    """Passes the call on, or answers it with UNAUTHENTICATED."""
    if handler_call_details.method.startswith(_OPEN):
      return continuation(handler_call_details)
    metadata = dict(handler_call_details.invocation_metadata)
    try:
      self._check.check(metadata.get('authorization'))
    except errors.RequestError as error:
      message = str(error)
      return grpc.unary_unary_rpc_method_handler(
        lambda request, context: context.abort(grpc.StatusCode.UNAUTHENTICATED, message)
      )
    return continuation(handler_call_details)
