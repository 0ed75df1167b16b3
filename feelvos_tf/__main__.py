"""The console command `feelvos`, also `python -m feelvos_tf`: picks a program and runs it."""

import runpy
import sys

import feelvos_tf
from feelvos_tf.runtime import packaged_files

# Command -> (module, what --help says of it).
COMMANDS = {
  'segment': ('feelvos_tf.segment', 'masks of every frame, from a video and the first mask'),
  'train': ('feelvos_tf.train', 'train on data sets or on your own videos'),
  'evaluate': ('feelvos_tf.evaluate', 'score masks or a model: J, F, tables, report'),
  'export': ('feelvos_tf.export', 'write a SavedModel for TensorFlow Serving'),
  'serve': ('feelvos_tf.serve', 'serve exported models: page, REST, gRPC, sessions'),
  'convert-data': ('feelvos_tf.tools.convert_to_tfrecord', 'data sets to TFRecords'),
  'convert-masks': ('feelvos_tf.tools.convert_masks', 'masks as COCO, YOLO, MOTS, CVAT, cut-outs'),
  'convert-checkpoint': (
    'feelvos_tf.tools.convert_checkpoint',
    "weights from and to the original's TF1 checkpoints",
  ),
  'demo': ('feelvos_tf.segment', 'segment the clip that comes with the package'),
}
DEMO_OUTPUT = 'demo_output'
DEMO_FLAGS = (
  f'--input={packaged_files.DEMO_CLIP}',
  f'--mask={packaged_files.DEMO_MASK}',
  f'--output={DEMO_OUTPUT}',
  '--overwrite',
)


def main() -> None:
  """Runs the command in sys.argv; does not return to a caller that needs it."""
  command, *flags = sys.argv[1:] or ['--help']
  if command in ('--help', '-h', '--helpshort', 'help'):
    print(usage())
  elif command == '--version':
    print(f'feelvos-tf {feelvos_tf.__version__}')
  elif command in COMMANDS:
    _run(command, flags)
  else:
    print(
      f'feelvos: error: {command!r} is no command; expected one of {", ".join(COMMANDS)}.',
      file=sys.stderr,
    )
    sys.exit(2)


def usage() -> str:
  """The text of `feelvos --help`."""
  width = max(map(len, COMMANDS)) + 2
  lines = [f'  {name:{width}}{text}' for name, (_, text) in COMMANDS.items()]
  return '\n'.join(
    [
      'FEELVOS: video object segmentation. Give the masks of the objects on one frame, get them',
      'on every frame.',
      '',
      'usage: feelvos COMMAND [flags]',
      '',
      *lines,
      '',
      'feelvos COMMAND --help describes a command and its flags; feelvos --version.',
    ]
  )


def _run(command: str, flags: list[str]) -> None:
  from feelvos_tf.runtime import command_line  # Imports absl.

  module, _ = COMMANDS[command]
  command_line.set_program_name(f'feelvos {command}')
  if command == 'demo':
    flags = [*DEMO_FLAGS, *flags]
  sys.argv[1:] = flags
  # As `python -m` does it, so that the program finds itself in sys.modules['__main__'].
  runpy.run_module(module, run_name='__main__', alter_sys=True)


if __name__ == '__main__':
  main()
