"""Classes of protobuf messages that come in no package, built from their fields.

They are in a pool of their own, so that a program that has the same messages from elsewhere, as
clients have them, meets no conflict.
"""

from google.protobuf import descriptor_pb2
from google.protobuf import descriptor_pool
from google.protobuf import message
from google.protobuf import message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = ('bool', 'bytes', 'double', 'float', 'int32', 'int64', 'string', 'uint32', 'uint64')
_TYPES = {name: getattr(_FIELD, f'TYPE_{name.upper()}') for name in _SCALARS}


def build(package: str, fields: dict[str, str]) -> dict[str, type[message.Message]]:
  """Classes by name.

  Args:
    package: protobuf package of the messages.
    fields: of every message, as `string name; bytes* data`: type and name, with * for repeated,
      numbered from 1. A type that is none of protobuf's is one of these messages. A map is a
      repeated message of a key and a value, as on the wire.
  """
  file = descriptor_pb2.FileDescriptorProto(
    name=f'feelvos/{package}.proto', package=package, syntax='proto3'
  )
  for name, text in fields.items():
    entry = file.message_type.add(name=name)
    for number, field in enumerate(filter(None, text.split(';')), 1):
      kind, field_name = field.split()
      repeated, kind = kind.endswith('*'), kind.rstrip('*')
      label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
      added = entry.field.add(name=field_name, number=number, label=label)
      added.type = _TYPES.get(kind, _FIELD.TYPE_MESSAGE)
      if kind not in _TYPES:
        added.type_name = f'.{package}.{kind}'
  pool = descriptor_pool.DescriptorPool()
  pool.Add(file)
  find = lambda name: pool.FindMessageTypeByName(f'{package}.{name}')
  return {name: message_factory.GetMessageClass(find(name)) for name in fields}
