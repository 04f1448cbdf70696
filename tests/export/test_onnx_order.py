"""Graphs that differ in order and names alone get the same bytes, and compute the same."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="ONNX isn't installed (extra onnx)")
onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX isn't installed (extra onnx)")


def graph(names, is_reversed):
    """|x| + 2, or 2 x + 2 where the sum of x is above 2; `names` are of the values."""
    make, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    two, two_again, total, is_large, chosen, made = names
    then = onnx.helper.make_graph(
        [make("Mul", ["x", two_again], [made])],
        "then" + two,
        [],
        [value(made, 1, [f"unk{two}"])],
        [onnx.numpy_helper.from_array(np.float32([2]), two_again)],
    )
    otherwise = onnx.helper.make_graph([make("Abs", ["x"], [made])], "else", [], [value(made, 1, [None])])
    nodes = [
        make("ReduceSum", ["x"], [total], name=total, keepdims=0),
        make("Greater", [total, two + "s"], [is_large]),
        make("If", [is_large], [chosen], then_branch=then, else_branch=otherwise),
        make("Add", [chosen, two], ["y"]),
    ]
    constants = [
        onnx.numpy_helper.from_array(np.float32([2]), two),
        onnx.numpy_helper.from_array(np.float32(2), two + "s"),
    ]
    constants = constants[::-1] if is_reversed else constants
    whole = onnx.helper.make_graph(nodes, "g", [value("x", 1, ["n"])], [value("y", 1, ["n"])], constants)
    opset = onnx.helper.make_opsetid("", 18)
    return onnx.helper.make_model(whole, opset_imports=[opset], ir_version=8)


def test_order_and_names_leave_no_trace():
    from dr_keras.export.onnx_order import in_one_order

    first, second = graph("abcdef", False), graph("qponml", True)
    assert first.SerializeToString() != second.SerializeToString()
    ordered = [in_one_order(model).SerializeToString(deterministic=True) for model in (first, second)]
    assert ordered[0] == ordered[1]
    assert (
        len(in_one_order(first).graph.initializer) == 2
    )  # the branch's equal constant is one with the other
    session = onnxruntime.InferenceSession(ordered[0], providers=["CPUExecutionProvider"])
    for x, y in (([1, 2, -3], [3, 4, 5]), ([1, 2, 3], [4, 6, 8])):
        np.testing.assert_array_equal(session.run(["y"], {"x": np.float32(x)})[0], y)
