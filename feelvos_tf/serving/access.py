"""Which names and web pages may use the server: Host and Origin of every request.

A browser sends the requests of any page to any address, this machine's own included, and a page
can make its own name point to such an address (DNS rebinding). So a request has to name the server
as it is known, and a page has to come from the server itself.

Source: RFC 9110 section 7.2 (Host), RFC 6454 section 7 (Origin). Knows no TensorFlow, so that wrong
flags are reported at once.
"""

import ipaddress
import re

_AUTHORITY = re.compile(r'(?P<host>\[[0-9a-f:.]+\]|[^\s:/?#@\[\]]+)(?::\d{1,5})?')
_ORIGIN = re.compile(r'[a-z][a-z0-9+.-]*://(?P<authority>[^\s/?#@]+)')
_MOST_QUOTED = 100


class AccessCheck:
  """Checks Host and Origin of requests.

  A name is allowed if it is loopback, `host` or one of `allowed_hosts`. Where `host` stands for all
  addresses, so is every IP address: a name can be rebound, an address cannot.
  """

  def __init__(
    self, host: str, allowed_hosts: tuple[str, ...] = (), allowed_origins: tuple[str, ...] = ()
  ) -> None:
    """Initializes the check.

    Args:
      host: address or name that the server listens on.
      allowed_hosts: further names without port; `*.example.org` for all below it, `*` for all.
      allowed_origins: origins of other pages, `https://page.example.org`; `*` for all.

    Raises:
      ValueError: a name or an origin is none.
    """
    for name in allowed_hosts:
      if name != '*' and not _is_name(name.removeprefix('*.')):
        raise ValueError(
          f'allowed_host {name!r}: expected a name without scheme and port, as in '
          'video.example.org, *.example.org or *.'
        )
    for origin in allowed_origins:
      if origin != '*' and not _ORIGIN.fullmatch(origin.lower()):
        raise ValueError(
          f'allowed_origin {origin!r}: expected scheme and name without path, as in '
          'https://video.example.org, or *.'
        )
    address = _address_of(_plain(host))
    self._all_addresses = not host or (address is not None and address.is_unspecified)
    self._names = {_plain(name) for name in (host, *allowed_hosts)} | {'localhost'}
    self._suffixes = tuple(name[1:].lower() for name in allowed_hosts if name.startswith('*.'))
    self._origins = {origin.lower() for origin in allowed_origins}

  def refusal(self, hosts: list[str], origins: list[str]) -> str | None:
    """What is wrong with a request.

    Args:
      hosts: values of its Host headers; there has to be one.
      origins: values of its Origin headers; what no page sends has none.

    Returns:
      One line for the client; None if nothing is wrong.
    """
    authority = ','.join(hosts).lower()
    name = _host_of(authority)
    if name is None or not self._is_known(name):
      return (
        f'Host {_quote(authority)}: this server goes by another name. Use that, or start it with '
        '--allowed_host and this name.'
      )
    if origins and not self._is_own(','.join(origins).lower(), authority):
      return (
        f'Origin {_quote(",".join(origins))}: pages of other sites may not use this server, unless '
        'it is started with --allowed_origin and their origin.'
      )
    return None

  def _is_known(self, name: str) -> bool:
    if '*' in self._names or name in self._names or name.endswith(self._suffixes):
      return True
    address = _address_of(name)
    return address is not None and (self._all_addresses or address.is_loopback)

  def _is_own(self, origin: str, authority: str) -> bool:
    if '*' in self._origins or origin in self._origins:
      return True
    match = _ORIGIN.fullmatch(origin)
    return match is not None and match['authority'] == authority


def _plain(name: str) -> str:
  """A name as it is compared: lower case, without brackets and the root's dot."""
  name = name.lower().removeprefix('[').removesuffix(']')
  address = _address_of(name)
  return str(address) if address else name.removesuffix('.')


def _host_of(authority: str) -> str | None:
  """The plain name in a `name:port`; None if it is none."""
  match = _AUTHORITY.fullmatch(authority.lower())
  return _plain(match['host']) if match else None


def _is_name(text: str) -> bool:
  return _address_of(_plain(text)) is not None or _host_of(text) == _plain(text)


def _address_of(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
  try:
    return ipaddress.ip_address(name)
  except ValueError:
    return None


def _quote(text: str) -> str:
  return repr(text if len(text) <= _MOST_QUOTED else f'{text[:_MOST_QUOTED]}...')
