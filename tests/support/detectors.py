"""Small ONNX graphs that find people, one of each kind."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save


def write_graph(path, inputs, outputs, nodes, constants=()):
    """An ONNX file; inputs and outputs are (name, shape) of floats, or (name, shape, type)."""
    ports = [
        [helper.make_tensor_value_info(port[0], port[2] if len(port) > 2 else TensorProto.FLOAT, port[1]) for port in x]
        for x in (inputs, outputs)
    ]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants]
    graph = helper.make_graph(nodes, "detector", *ports, tensors)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def write_constant(path, shape, **outputs):
    """A graph that takes a picture of a shape and always gives the same; outputs by name."""
    nodes = [helper.make_node("Identity", [f"{name}_value"], [name]) for name in outputs]
    values = {name: np.asarray(value) for name, value in outputs.items()}
    types = {name: helper.np_dtype_to_tensor_dtype(value.dtype) for name, value in values.items()}
    return write_graph(
        path, [("images", shape)], [(name, value.shape, types[name]) for name, value in values.items()], nodes,
        [(f"{name}_value", value) for name, value in values.items()],
    )  # fmt: skip


def write_bright(path, high, wide, threshold=0.7):
    """A CenterNet that finds bright squares of 16 pixels: its map of centres is the mean around each place."""
    nodes = [
        helper.make_node("ReduceMean", ["images", "colours"], ["grey"], keepdims=1),
        helper.make_node(
            "AveragePool", ["grey"], ["mean"], kernel_shape=[17, 17], pads=[8] * 4, strides=[4, 4],
            count_include_pad=1,
        ),
        helper.make_node("Div", ["mean", "most"], ["heat"]),
        helper.make_node("Mul", ["heat", "none"], ["zero"]),
        helper.make_node("Concat", ["zero", "zero"], ["zeros"], axis=1),
        helper.make_node("Add", ["zeros", "side"], ["wh"]),
    ]  # fmt: skip
    map_ = (1, 1, high // 4, wide // 4)
    return write_graph(
        path, [("images", (1, 3, high, wide))], [("heat", map_), ("wh", (1, 2, *map_[2:]))], nodes,
        [("colours", np.array([1])), ("most", np.float32(255)), ("none", np.float32(0)), ("side", np.float32(4))],
    )  # fmt: skip
