"""Detectors as small ONNX files, made here: with given answers, or one that finds what is bright."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def save(path, inputs, outputs, nodes=(), constants=None):
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    graph = helper.make_graph(list(nodes), "detector", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def answering(path, shape, **answers):
    """A detector that gives the same arrays whatever it sees; `shape` is of its input."""
    image = helper.make_tensor_value_info("image", FLOAT, shape)
    outputs, nodes, constants = [], [], {}
    for name, array in answers.items():
        array = np.asarray(array)
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        outputs.append(helper.make_tensor_value_info(name, kind, array.shape))
        nodes.append(helper.make_node("Identity", [f"{name}_given"], [name]))
        constants[f"{name}_given"] = array
    return save(path, [image], outputs, nodes, constants)


def finding_what_is_bright(path, height, width, box=(24.0, 48.0)):
    """A YOLO (v8) that puts one box of (width, height) around the middle of what is brighter than 0.6."""
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    constants = {
        "limit": np.float32(0.6), "xs": xs[None, None], "ys": ys[None, None], "one": np.float32(1e-6),
        "axes": np.array([1, 2, 3]), "size": np.array(box, np.float32).reshape(1, 2, 1),
        "flat": np.array([1, 1, 1]), "others": np.zeros((1, 5, 7), np.float32), "most": np.float32(0.95),
    }  # fmt: skip
    make = helper.make_node
    nodes = [
        make("ReduceMin", ["image", "channel"], ["grey"], keepdims=1),
        make("Greater", ["grey", "limit"], ["bright"]), make("Cast", ["bright"], ["mask"], to=FLOAT),
        make("ReduceSum", ["mask", "axes"], ["count"], keepdims=0), make("Add", ["count", "one"], ["many"]),
        make("Mul", ["mask", "xs"], ["of_x"]), make("ReduceSum", ["of_x", "axes"], ["sum_x"], keepdims=0),
        make("Mul", ["mask", "ys"], ["of_y"]), make("ReduceSum", ["of_y", "axes"], ["sum_y"], keepdims=0),
        make("Div", ["sum_x", "many"], ["x"]), make("Div", ["sum_y", "many"], ["y"]),
        make("Min", ["count", "most"], ["score"]),
        make("Reshape", ["x", "flat"], ["x1"]), make("Reshape", ["y", "flat"], ["y1"]),
        make("Reshape", ["score", "flat"], ["score1"]),
        make("Concat", ["x1", "y1", "size", "score1"], ["found"], axis=1),
        make("Concat", ["found", "others"], ["output0"], axis=2),
    ]  # fmt: skip
    constants["channel"] = np.array([1])
    image = helper.make_tensor_value_info("image", FLOAT, [1, 3, height, width])
    output = helper.make_tensor_value_info("output0", FLOAT, [1, 5, 8])
    return save(path, [image], [output], nodes, constants)
