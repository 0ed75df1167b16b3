"""Functions of a model as graphs without variables: constants folded, right on every device.

Two things are done to a traced function. Variables become constants and what depends on constants
only is computed: batch norm ends up inside the kernels, in the type the convolutions compute in.
And atrous depthwise convolutions are made portable: oneDNN's CPU kernel honours their dilations,
other kernels ignore them without a word (see `deeplab.layers.depthwise_conv2d`), and an exported
graph may run anywhere. So each of them tries a tiny one first and takes the portable way if the
result is wrong. That costs microseconds where the native kernel is right.
"""

import itertools

import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow.core.protobuf import rewriter_config_pb2
from tensorflow.python.framework import convert_to_constants
from tensorflow.python.grappler import tf_optimizer

_DEPTHWISE = 'DepthwiseConv2dNative'
_NUMBERS = itertools.count()  # Makes names of functions unique.


def freeze(function, specs, jit_compile=False):
  """Traces a function and bakes its variables in.

  Args:
    function: takes tensors (nests of them too) and returns a nest of tensors; may read variables.
    specs: list of tf.TensorSpec (or nests), the signature of `function`.
    jit_compile: compile with XLA; every size of the inputs is compiled when it is first met.

  Returns:
    Function with the signature and the result of `function`, for use in graphs of any number.
  """
  concrete = tf.function(function, autograph=False).get_concrete_function(*specs)
  structure = concrete.structured_outputs
  frozen = convert_to_constants.convert_variables_to_constants_v2(
      concrete, lower_control_flow=False)
  inputs = [tensor.name for tensor in frozen.inputs]
  outputs = [tensor.name for tensor in frozen.outputs]
  graph_def = _fold_constants(frozen)
  _rename_functions(graph_def)
  if not jit_compile:  # XLA honours dilations on every device.
    _make_dilations_portable(graph_def)
  flat_specs = tf.nest.flatten(specs)
  pruned = tf.compat.v1.wrap_function(
      lambda: tf.graph_util.import_graph_def(graph_def, name=''), []).prune(inputs, outputs)
  shapes = [tensor.shape for tensor in tf.nest.flatten(structure)]

  def call(*args):
    flat = [tf.cast(value, spec.dtype) for value, spec in zip(tf.nest.flatten(args), flat_specs)]
    results = [tf.ensure_shape(result, shape) for result, shape in zip(pruned(*flat), shapes)]
    return tf.nest.pack_sequence_as(structure, results)

  return tf.function(call, jit_compile=True) if jit_compile else call


def _fold_constants(frozen):
  """GraphDef of a frozen function in which what depends on constants only is a constant."""
  graph_def = frozen.graph.as_graph_def()
  meta = tf.compat.v1.train.export_meta_graph(graph_def=graph_def, graph=frozen.graph)
  keep = meta.collection_def['train_op'].node_list.value  # Grappler's name for what to fetch.
  keep.extend(tensor.name for tensor in [*frozen.inputs, *frozen.outputs])
  config = config_pb2.ConfigProto()
  options = config.graph_options.rewrite_options
  # Once, whatever the size of the graph, and nothing that depends on this machine.
  options.min_graph_nodes = -1
  options.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.TWO
  options.optimizers.extend(['constfold', 'dependency', 'pruning'])
  return tf_optimizer.OptimizeGraph(config, meta)


def _rename_functions(graph_def):
  """New names for the functions inside, in place: Grappler changes them and keeps their names."""
  number = next(_NUMBERS)
  names = {function.signature.name: f'{function.signature.name}_folded_{number}'
           for function in graph_def.library.function}

  def rename(nodes):
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


def _make_dilations_portable(graph_def):
  """Turns atrous depthwise convolutions into calls of `portable_depthwise_conv2d`, in place."""
  constants = {node.name: node for node in graph_def.node if node.op == 'Const'}
  functions = []
  for node in graph_def.node:
    if node.op != _DEPTHWISE or max(node.attr['dilations'].list.i or [1]) == 1:
      continue
    dtype = tf.as_dtype(node.attr['T'].type)
    kernel = tf.TensorShape(constants[node.input[1]].attr['value'].tensor.tensor_shape)
    rate, padding = node.attr['dilations'].list.i[1], node.attr['padding'].s.decode()
    function = _portable_function(dtype, kernel, rate, padding)
    functions.append(function)
    node.op = 'PartitionedCall'
    node.attr.clear()
    node.attr['Tin'].list.type.extend([dtype.as_datatype_enum] * 2)
    node.attr['Tout'].list.type.append(dtype.as_datatype_enum)
    node.attr['f'].func.name = tf.compat.as_str(function.name)
  with tf.Graph().as_default() as graph:
    for function in functions:
      function.add_to_graph(graph)
    library = graph.as_graph_def().library
  known = {function.signature.name for function in graph_def.library.function}
  graph_def.library.function.extend(
      function for function in library.function if function.signature.name not in known)


def _portable_function(dtype, kernel, rate, padding):
  """Concrete function of `portable_depthwise_conv2d` for a kernel of that tf.TensorShape."""
  @tf.function(autograph=False)
  def portable_dilation(images, kernel):
    return portable_depthwise_conv2d(images, kernel, rate, padding)

  images = tf.TensorSpec([None, None, None, kernel[2]], dtype)
  return portable_dilation.get_concrete_function(images, tf.TensorSpec(kernel, dtype))


def portable_depthwise_conv2d(images, kernel, rate, padding):
  """An atrous depthwise convolution that finds out at run time which way is right.

  Args:
    images: [batch, height, width, channels].
    kernel: [kernel height, kernel width, channels, 1].
    rate: int, atrous rate.
    padding: 'SAME' or 'VALID'.

  Returns:
    [batch, new height, new width, channels].
  """
  return tf.cond(
      _native_is_right(images),
      lambda: _native(images, kernel, rate, padding),
      lambda: tf.nn.depthwise_conv2d(images, kernel, [1] * 4, padding, dilations=[rate, rate]))


def _native(images, kernel, rate, padding):
  return tf.raw_ops.DepthwiseConv2dNative(
      input=images, filter=kernel, strides=[1] * 4, padding=padding, dilations=[1, rate, rate, 1])


def _native_is_right(images):
  """bool scalar: whether the kernel of this device and type honours dilations."""
  # Zero, but not a constant: it has to be computed where the graph runs, not where it is folded.
  zero = tf.cast(tf.minimum(tf.shape(images)[0], 0), images.dtype)
  # A single bright pixel in a 5x5 image; with rate 2 the corner of the kernel meets it from (0, 0).
  bright = tf.reshape(tf.one_hot(24, 25, dtype=images.dtype), [1, 5, 5, 1]) + zero
  kernel = tf.ones([3, 3, 1, 1], images.dtype)
  # Rate 2 sees it from the middle (2, 2) and from (4, 4); rate 1 from (4, 4), not from (2, 2).
  return _native(bright, kernel, 2, 'SAME')[0, 2, 2, 0] > 0.5
