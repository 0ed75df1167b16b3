"""Key and certificates of the server, for HTTP and gRPC."""

import dataclasses
import pathlib
import ssl
import tempfile

import grpc

from feelvos_tf.datasets import names as names_lib


@dataclasses.dataclass(frozen=True)
class Tls:
  """What a server identifies itself with, and whom it lets in.

  Attributes:
    key: private key. certificate: certificate and its chain. Both PEM.
    ca: certificates of the authorities that clients' certificates come from, PEM.
    verify_clients: whether clients have to bring one; needs `ca`.

  Raises:
    ValueError: key or certificate are missing, are none or do not belong together.
  """

  key: bytes
  certificate: bytes
  ca: bytes = b''
  verify_clients: bool = False

  def __post_init__(self) -> None:
    if not self.key or not self.certificate:
      raise ValueError('TLS needs a private key and a certificate; one of them is empty.')
    if self.verify_clients and not self.ca:
      raise ValueError("TLS: certificates of clients can only be checked with their authority's.")
    self.context()

  def context(self) -> ssl.SSLContext:
    """The TLS settings of the HTTP server, TLS 1.2 and later.

    Key and certificate lie in temporary files while this runs, as Python's ssl reads files only.

    Raises:
      ValueError: key or certificate are not PEM, have a password, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with tempfile.TemporaryDirectory() as folder:
      certificate, key = pathlib.Path(folder) / 'certificate', pathlib.Path(folder) / 'key'
      certificate.write_bytes(self.certificate)
      key.write_bytes(self.key)
      try:
        # Without a password one that is needed would be asked for in the terminal.
        context.load_cert_chain(certificate, key, password='')
        if self.ca:
          context.load_verify_locations(cadata=self.ca.decode('ascii'))
      except (ssl.SSLError, ValueError) as error:
        raise ValueError(
          f'TLS: key and certificate have to be PEM, without a password, and belong together ({error}).'
        ) from error
    if self.verify_clients:
      context.verify_mode = ssl.CERT_REQUIRED
    return context

  def credentials(self) -> grpc.ServerCredentials:
    """The TLS settings of the gRPC server."""
    return grpc.ssl_server_credentials(
      [(self.key, self.certificate)],
      root_certificates=self.ca or None,
      require_client_auth=self.verify_clients,
    )


def read(certificate: str, key: str, client_ca: str = '') -> Tls:
  """`Tls` of PEM files.

  Args:
    certificate: path of the certificate with its chain.
    key: path of its private key, without a password.
    client_ca: path of the authority that clients' certificates have to come from; '' asks clients
      for none.

  Raises:
    FileNotFoundError: a file is missing.
    ValueError: key or certificate are not PEM, have a password, or do not belong together.
  """
  data = []
  for path in (key, certificate, client_ca):
    if path and not pathlib.Path(path).is_file():
      raise FileNotFoundError(names_lib.missing(path, 'file', 'give a PEM file'))
    data.append(pathlib.Path(path).read_bytes() if path else b'')
  return Tls(data[0], data[1], data[2], verify_clients=bool(client_ca))
