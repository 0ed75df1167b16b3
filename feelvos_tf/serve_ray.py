r"""Serves exported models with several replicas, by Ray Serve.

  pip install 'feelvos-tf[ray]'
  feelvos export --output_dir=models
  python -m feelvos_tf.serve_ray --model_dir=models --replicas=2

listens on 127.0.0.1, port 8501, HTTP only. docs/serving_scale_out.md describes what differs from
feelvos_tf.serve, whose flags this program also has.
"""

import os
import secrets
import signal
import threading

from absl import flags

from feelvos_tf import serve
from feelvos_tf.runtime import command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the flags; only when run as a program, so that mains can be imported together."""
  serve.define_flags()
  flags.DEFINE_integer(
    'replicas',
    2,
    'Processes that serve; each has all models and sessions of '
    'its own, and the limits are those of each.',
    1,
  )
  flags.DEFINE_float(
    'cpus_per_replica',
    1.0,
    'CPUs that Ray sets aside for a replica. TensorFlow uses all there are.',
    0.0,
  )


def main() -> None:
  """Checks flags, starts Ray and the replicas, serves until SIGTERM or SIGINT."""
  for name in ('grpc_port', 'grpc_socket_path'):
    if FLAGS[name].present:
      raise command_line.UsageError(f'--{name}: replicas have no gRPC; use feelvos_tf.serve.')
  options = serve.read_options()
  if serve.read_tls():
    raise command_line.UsageError('replicas have no TLS; put a proxy in front.')
  models = serve.models_to_serve(options)
  _close_ray_to_others()
  try:
    from feelvos_tf.serving import ray_app
  except ImportError as error:
    raise ValueError(
      f"{error.name} is missing; install it with pip install 'feelvos-tf[ray]'."
    ) from error

  # Ray's workers are other programs with other folders.
  options = ray_app.with_absolute_folder(options)
  application = ray_app.deployment(
    options, FLAGS.replicas, FLAGS.grace_seconds, FLAGS.cpus_per_replica
  )
  cpus = max(os.cpu_count(), round(FLAGS.replicas * FLAGS.cpus_per_replica + 0.5))
  with ray_app.running(application, FLAGS.host, FLAGS.port, cpus) as port:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
      signal.signal(number, lambda *_: stop.set())
    names = ', '.join(model.name for model in models)
    host = f'[{FLAGS.host}]' if ':' in FLAGS.host else FLAGS.host
    print(f'Serving {names} with {FLAGS.replicas} replicas at http://{host}:{port}', flush=True)
    if not options.token and not serve.is_loopback(FLAGS.host):
      print(
        f'Everybody who reaches {FLAGS.host} may use this server: it has no token (--token_file).',
        flush=True,
      )
    stop.wait()


def _close_ray_to_others() -> None:
  """Gives Ray a token of its own, which is read when ray is imported.

  Ray listens on all addresses with ports of its own and runs what it receives there.
  """
  os.environ.setdefault('RAY_AUTH_MODE', 'token')
  if 'RAY_AUTH_TOKEN_PATH' not in os.environ:
    os.environ.setdefault('RAY_AUTH_TOKEN', secrets.token_hex(32))


if __name__ == '__main__':
  command_line.run(main, define_flags, end_on_sigterm=False)
