"""Functions of a model as graphs without variables: constants folded, right on every device.

Weights are folded while a function is traced (`feelvos_tf.deeplab.layers.folded_weights`): batch
norm ends up inside the kernels, in the type the convolutions compute in. Where the graph is run at
once, they stay tensors next to it (`trace`). For a graph that is saved they become constants
(`freeze`), and atrous depthwise convolutions are portable: an exported graph may run anywhere, and
only oneDNN's kernel honours dilations. The way through space-to-batch
(`feelvos_tf.deeplab.depthwise.in_phases`) costs 1.3 to 2 times as much for small rates.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
import itertools
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import graph_pb2
from tensorflow.core.framework import node_def_pb2
from tensorflow.python.framework import convert_to_constants
from tensorflow.python.framework import ops

from feelvos_tf.deeplab import depthwise
from feelvos_tf.deeplab import layers

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
  # oneDNN's dilated kernel adds the bias in another order than its plain kernel: in float32 that is
  # the last bit, in bfloat16 a step of 1 in 128. There the graph has the kernels of a frozen one.
  return _trace(function, specs, (tf.bfloat16,))


def _trace(
  function: Callable, specs: Sequence[Any], portable: Sequence[tf.DType]
) -> tf.types.experimental.ConcreteFunction:
  others = set(_gradients())
  # No Python control flow on tensors inside: AutoGraph would only double the time to trace.
  with layers.folded_weights(), depthwise.portable_dilations(*portable):
    concrete = tf.function(function, autograph=False).get_concrete_function(*specs)
  _forget_gradients(concrete.graph.as_graph_def(), others)
  return concrete


def _gradients() -> dict[str, Any]:
  """{name: gradient} that TensorFlow has registered."""
  return getattr(ops.gradient_registry, '_registry', {})


def _forget_gradients(graph_def: graph_pb2.GraphDef, others: Container[str]) -> None:
  """Takes the gradients of a graph out of TensorFlow's registry; nobody asks for them.

  `tf.custom_gradient` registers one at each place of a graph, for as long as the process lives, and
  with it the graph and all weights: every model that was loaded stayed in memory.

  Args:
    graph_def: the graph.
    others: names that were there before the graph: those of functions that it shares with graphs
      that may be trained, and those that are no place's (`tf.RegisterGradient`).
  """
  for node in _all_nodes(graph_def):
    name = node.attr['_gradient_op_type'].s.decode() if '_gradient_op_type' in node.attr else ''
    if name not in others:
      _gradients().pop(name, None)


def _all_nodes(graph_def: graph_pb2.GraphDef) -> Iterator[node_def_pb2.NodeDef]:
  """The nodes of a graph and those of the functions inside."""
  yield from graph_def.node
  for function in graph_def.library.function:
    yield from function.node_def


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
  # XLA honours dilations on every device.
  concrete = _trace(function, specs, () if jit_compile else (tf.float32, tf.bfloat16))
  structure = concrete.structured_outputs
  frozen = convert_to_constants.convert_variables_to_constants_v2(
    concrete, lower_control_flow=False
  )
  inputs = [tensor.name for tensor in frozen.inputs]
  outputs = [tensor.name for tensor in frozen.outputs]
  graph_def = frozen.graph.as_graph_def()
  _for_inference(graph_def)
  _rename_functions(graph_def)
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
  for node in _all_nodes(graph_def):
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
