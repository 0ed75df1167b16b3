"""Functions of a model as graphs without variables: constants folded, right on every device.

Weights are folded while a function is traced (`feelvos_tf.deeplab.layers.folded_weights`): batch
norm ends up inside the kernels, in the type the convolutions compute in. Where the graph is run at
once, they stay tensors next to it (`trace`). For a graph that is saved they become constants
(`freeze`), and atrous depthwise convolutions are made portable. `feelvos_tf.deeplab.layers` gives
dilations to the convolution's kernel where oneDNN is there to honour them; other kernels refuse
dilations or ignore them, and an exported graph may run anywhere. The way through space-to-batch
runs everywhere and gives the same bits. It costs 1.3 to 2 times as much for small rates and a tenth
for large rates and many channels (Xception's ASPP), where oneDNN's kernel is slow.
"""

from collections.abc import Callable, Iterable, Sequence
import itertools
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import function_pb2
from tensorflow.core.framework import graph_pb2
from tensorflow.core.framework import node_def_pb2
from tensorflow.python.framework import convert_to_constants

from feelvos_tf.deeplab import layers

_DEPTHWISE = 'DepthwiseConv2dNative'
_CONTROL_FLOW = ('If', 'StatelessIf', 'While', 'StatelessWhile')
_NUMBERS = itertools.count()  # Makes names of functions unique.


def trace(function: Callable, specs: Sequence[Any]) -> tf.types.experimental.ConcreteFunction:
  """Traces a function with the weights of `deeplab.layers` folded and captured as tensors.

  Args:
    function: takes tensors (nests of them too) and returns a nest of tensors.
    specs: list of tf.TensorSpec (or nests), the signature of `function`.

  Returns:
    Concrete function; changes of the weights are not seen. For use where it was made.
  """
  # No Python control flow on tensors inside: AutoGraph would only double the time to trace.
  with layers.folded_weights():
    return tf.function(function, autograph=False).get_concrete_function(*specs)


def freeze(function: Callable, specs: Sequence[Any], jit_compile: bool = False) -> Callable:
  """Traces a function and bakes its variables in.

  Args:
    function: takes tensors (nests of them too) and returns a nest of tensors and None; may read
      variables.
    specs: list of tf.TensorSpec (or nests), the signature of `function`.
    jit_compile: compile with XLA; every size of the inputs is compiled when it is first met.

  Returns:
    Function with the signature and the result of `function`, for use in graphs of any number.
  """
  concrete = trace(function, specs)
  structure = concrete.structured_outputs
  frozen = convert_to_constants.convert_variables_to_constants_v2(
    concrete, lower_control_flow=False
  )
  inputs = [tensor.name for tensor in frozen.inputs]
  outputs = [tensor.name for tensor in frozen.outputs]
  graph_def = frozen.graph.as_graph_def()
  _for_inference(graph_def)
  _rename_functions(graph_def)
  if not jit_compile:  # XLA honours dilations on every device.
    _make_dilations_portable(graph_def)
  flat_specs = tf.nest.flatten(specs)
  pruned = tf.compat.v1.wrap_function(
    lambda: tf.graph_util.import_graph_def(graph_def, name=''), []
  ).prune(inputs, outputs)
  structured = tf.nest.flatten(structure)

  def call(*args: Any) -> Any:
    flat = [tf.cast(value, spec.dtype) for value, spec in zip(tf.nest.flatten(args), flat_specs)]
    tensors = iter(pruned(*flat))
    results = [
      None if like is None else tf.ensure_shape(next(tensors), like.shape) for like in structured
    ]
    return tf.nest.pack_sequence_as(structure, results)

  return tf.function(call, jit_compile=True) if jit_compile else call


def _for_inference(graph_def: graph_pb2.GraphDef) -> None:
  """Marks loops and branches to be taken apart when run, and drops gradients; in place.

  Freezing removes the mark. Without it the body of a loop is run as a function of its own, which
  takes longer and gets no oneDNN kernels: the head took twice as long.
  """
  for nodes in [graph_def.node, *(function.node_def for function in graph_def.library.function)]:
    for node in nodes:
      if node.op in _CONTROL_FLOW:
        node.attr['_lower_using_switch_merge'].b = True
      node.attr.pop('_gradient_op_type', None)  # A name in this process, of no use in a file.


def _rename_functions(graph_def: graph_pb2.GraphDef) -> None:
  """New names for the functions inside, in place: they change and the old ones are taken."""
  number = next(_NUMBERS)
  names = {
    function.signature.name: f'{function.signature.name}_frozen_{number}'
    for function in graph_def.library.function
  }

  def rename(nodes: Iterable[node_def_pb2.NodeDef]) -> None:
    for node in nodes:
      node.op = names.get(node.op, node.op)
      for value in node.attr.values():
        called = [value.func] if value.HasField('func') else value.list.func
        for function in called:
          if function.name in names:
            function.name = names[function.name]

  rename(graph_def.node)
  for function in graph_def.library.function:
    function.signature.name = names[function.signature.name]
    rename(function.node_def)
  for gradient in graph_def.library.gradient:
    gradient.function_name = names.get(gradient.function_name, gradient.function_name)
    gradient.gradient_func = names.get(gradient.gradient_func, gradient.gradient_func)


def _make_dilations_portable(graph_def: graph_pb2.GraphDef) -> None:
  """Turns atrous depthwise convolutions into calls of `portable_depthwise_conv2d`, in place."""
  functions = []
  for nodes in [graph_def.node, *(function.node_def for function in graph_def.library.function)]:
    for node in nodes:
      if node.op == _DEPTHWISE and max(node.attr['dilations'].list.i or [1]) > 1:
        functions.append(_call_portable(node))
  with tf.Graph().as_default() as graph:
    for function in functions:
      function.add_to_graph(graph)
    library = graph.as_graph_def().library
  known = {function.signature.name for function in graph_def.library.function}
  graph_def.library.function.extend(
    function for function in library.function if function.signature.name not in known
  )


def _call_portable(node: node_def_pb2.NodeDef) -> function_pb2.FunctionDef:
  """Makes a NodeDef the call of a function; returns that function."""
  attributes = node.attr
  if attributes['padding'].s != b'SAME' or attributes['strides'].list.i[1] != 1:
    raise ValueError(f'{node.name}: atrous depthwise convolutions have to be SAME of stride 1.')
  dtype, rate = tf.as_dtype(attributes['T'].type), attributes['dilations'].list.i[1]
  spec = tf.TensorSpec([None] * 4, dtype)
  function = tf.function(
    lambda images, kernel: portable_depthwise_conv2d(images, kernel, rate), autograph=False
  ).get_concrete_function(spec, spec)
  node.op = 'PartitionedCall'
  attributes.clear()
  attributes['Tin'].list.type.extend([dtype.as_datatype_enum] * 2)
  attributes['Tout'].list.type.append(dtype.as_datatype_enum)
  attributes['f'].func.name = tf.compat.as_str(function.name)
  return function


def portable_depthwise_conv2d(images: tf.Tensor, kernel: tf.Tensor, rate: int) -> tf.Tensor:
  """Atrous depthwise convolution, stride 1 and SAME, for kernels without dilations.

  `tf.nn.depthwise_conv2d` also does this, but has to know the number of channels.

  Args:
    images: [batch, height, width, channels]; no size has to be known.
    kernel: [kernel height, kernel width, channels, 1].
    rate: int, atrous rate.

  Returns:
    [batch, height, width, channels].
  """
  size = tf.shape(images)[1:3]
  margins = tf.stack([tf.zeros_like(size), -size % rate], axis=1)
  phases = tf.space_to_batch(images, [rate, rate], margins)
  phases = tf.raw_ops.DepthwiseConv2dNative(
    input=phases, filter=kernel, strides=[1] * 4, padding='SAME'
  )
  return tf.batch_to_space(phases, [rate, rate], margins)
