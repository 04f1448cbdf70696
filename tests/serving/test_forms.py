"""TensorFlow Serving's documented requests and answers, and the cases of its own tests of them."""

import json

import numpy as np
import pytest

from dr_keras.serving.answers import write_answer
from dr_keras.serving.forms import Spec, read_request
from dr_keras.serving.refusal import Refused

INT, FLOAT, STRING = (Spec(kind, None) for kind in ("int32", "float32", "string"))
THREE = {"tag": STRING, "signal": FLOAT, "sensor": FLOAT}
ROWS = {
    "instances": [
        {"tag": "foo", "signal": [1, 2, 3, 4, 5], "sensor": [[1, 2], [3, 4]]},
        {"tag": "bar", "signal": [3, 4, 1, 2, 5], "sensor": [[4, 5], [6, 8]]},
    ]
}
COLUMNS = {
    "inputs": {
        "tag": ["foo", "bar"],
        "signal": [[1, 2, 3, 4, 5], [3, 4, 1, 2, 5]],
        "sensor": [[[1, 2], [3, 4]], [[4, 5], [6, 8]]],
    }
}


def read(text, specs):
    body = text.encode() if isinstance(text, str) else json.dumps(text).encode()
    return read_request(body, lambda signature: specs)


@pytest.mark.parametrize(
    "text, specs, expected",
    [
        ({"instances": ["foo", "bar", "baz"]}, {"x": STRING}, [b"foo", b"bar", b"baz"]),
        ({"instances": [[[1, 2]], [[3, 4]]]}, {"x": INT}, [[[1, 2]], [[3, 4]]]),
        ({"instances": [1, 2.0, 3, 5.003, 0.0]}, {"x": FLOAT}, np.float32([1, 2, 3, 5.003, 0])),
        ('{"instances": [1.0, -3.14, NaN, Infinity]}', {"x": FLOAT}, np.float32([1, -3.14, np.nan, np.inf])),
        ({"instances": [{"b64": "aGVsbG8="}, {"b64": "d29ybGQ="}]}, {"x": STRING}, [b"hello", b"world"]),
        (
            {"instances": [[{"b64": "aGVsbG8="}], [{"b64": "d29ybGQ"}]]},
            {"x": STRING},
            [[b"hello"], [b"world"]],
        ),
        ({"instances": [{"x": [{"b64": "aGVsbG8="}]}]}, {"x": STRING}, [[b"hello"]]),
        ({"inputs": {"x": [[[1, 2], [3, 4]]]}}, {"x": INT}, [[[1, 2], [3, 4]]]),
        ({"inputs": [[[1, 2], [3, 4]]]}, {"x": INT}, [[[1, 2], [3, 4]]]),
        ({"inputs": {"b64": "aGVsbG8="}}, {"x": STRING}, b"hello"),
        ({"instances": [True, False]}, {"x": Spec("bool", None)}, [True, False]),
    ],
)
def test_one_input(text, specs, expected):
    signature, inputs, form = read(text, specs)
    assert signature == "serving_default" and form == ("outputs" if "inputs" in text else "predictions")
    np.testing.assert_array_equal(inputs["x"], np.array(expected, inputs["x"].dtype))
    assert inputs["x"].shape == np.shape(expected)


@pytest.mark.parametrize("content", [ROWS, COLUMNS])
def test_several_inputs_by_rows_and_by_columns(content):
    signature, inputs, _ = read({"signature_name": "mirror", **content}, THREE)
    assert signature == "mirror"
    assert inputs["tag"].tolist() == [b"foo", b"bar"]
    assert inputs["signal"].tolist() == [[1, 2, 3, 4, 5], [3, 4, 1, 2, 5]]
    assert inputs["sensor"].tolist() == [[[1, 2], [3, 4]], [[4, 5], [6, 8]]]


TWO = {"a": INT, "s": STRING}


@pytest.mark.parametrize(
    "text, specs, reason",
    [
        ("", {"x": INT}, "document is empty"),
        ("{", {"x": INT}, "JSON Parse error"),
        (b"\xff{}".decode("latin-1"), {"x": INT}, "JSON Parse error"),
        ("[1]", {"x": INT}, "Is not object"),
        ("{}", {"x": INT}, "Missing 'inputs' or 'instances' key"),
        ({"signature_name": 5, "instances": [1]}, {"x": INT}, "must be a string value"),
        ({"instances": [1], "inputs": [1]}, {"x": INT}, "Not formatted correctly"),
        ({"instances": 1}, {"x": INT}, "to be a list/array"),
        ({"instances": []}, {"x": INT}, "No values in 'instances'"),
        ({"instances": [[1, 2], [3, 4], [5, 6, 7]]}, {"x": INT}, "Expecting tensor size: 2 but got: 3"),
        ({"instances": [[1, 2], [[3, 4]]]}, {"x": INT}, "Expecting shape [2] but got: [1, 2]"),
        ({"instances": [1, [1]]}, {"x": INT}, "Expecting shape [] but got: [1]"),
        ({"instances": [[1, 2], ["a", "b"]]}, {"x": INT}, "String is not of expected type: int32"),
        ({"instances": [1.5]}, {"x": INT}, "not of expected type"),
        ({"instances": [True]}, {"x": INT}, "not of expected type"),
        ({"instances": [2**31]}, {"x": INT}, "not of expected type"),
        ({"instances": [None]}, {"x": FLOAT}, "Null is not of expected type"),
        ({"instances": [1e300]}, {"x": FLOAT}, "loss of precision"),
        ({"instances": [16777217]}, {"x": FLOAT}, "loss of precision"),
        ({"instances": [{"a": 1, "s": "x"}, [1]]}, TWO, "Expecting object but got list at item 1"),
        ({"instances": [["x"], {"s": ["x"]}]}, {"s": STRING}, "value/list but got object at item 1"),
        ({"instances": [1]}, TWO, "expecting list of objects"),
        ({"instances": [{"a": 1}]}, TWO, "keys must be equal to: a,s"),
        ({"instances": [{"a": 1, "s": "x", "z": 1}]}, TWO, "does not have named input: z"),
        ({"inputs": {"a": [1]}}, TWO, "Missing named input: s"),
        ({"inputs": [1]}, TWO, "expecting an object"),
        ({"instances": [{"b64": "a*b"}]}, {"x": STRING}, "Unable to base64 decode"),
        ({"instances": [{"b64": "a"}]}, {"x": STRING}, "Unable to base64 decode"),
        ({"inputs": {"x": [[1, 2], [3]]}}, {"x": INT}, "unexpected size: 1 at level: 1 expected size: 2"),
        ({"inputs": {"x": [1, [2]]}}, {"x": INT}, "unexpected level: 1"),
        ({"inputs": {"x": [[1], 2]}}, {"x": INT}, "incorrect level"),
        ('{"instances": ["\\ud800"]}', {"x": STRING}, "isn't valid Unicode"),
        ('{"instances": ' + "[" * 65 + "1" + "]" * 65 + "}", {"x": INT}, "nested too deeply"),
        ('{"inputs": ' + "[" * 64 + "1" + "]" * 64 + "}", {"x": INT}, "nested too deeply"),
        ('{"instances": [{"x": ' + "[" * 64 + "1" + "]" * 64 + "}]}", {"x": STRING}, "nested too deeply"),
        ('{"instances": [' + "1" * 5000 + "]}", {"x": INT}, "a number of too many digits"),
        ('{"instances": ' + "[" * 100000 + "]" * 100000 + "}", {"x": INT}, "nested too deeply"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(text, specs, reason):
    with pytest.raises(Refused) as error:
        read(text, specs)
    assert error.value.status == 400 and reason in str(error.value) and "\n" not in str(error.value)


PIXELS = {"x": Spec("float32", (None, 8, 8, 3))}


@pytest.mark.parametrize(
    "text, specs, reason",
    [
        ({"instances": [""] * 5}, {"x": STRING}, "5 photographs in a request, expected at most 4"),
        ({"instances": [{"a": 1, "s": ""}] * 5}, TWO, "5 photographs"),
        ({"inputs": [0] * 5}, {"x": INT}, "5 photographs"),
        ({"inputs": {"a": [1], "s": [""] * 5}}, TWO, "5 photographs"),
        ({"instances": [[""] * 200_000]}, {"x": Spec("string", (None,))}, "200000 values, expected"),
        ({"instances": [[[[0] * 100_001]]]}, PIXELS, "100001 values, expected at most 192"),
    ],
)
def test_rows_and_values_are_counted_before_they_are_read(text, specs, reason):
    with pytest.raises(Refused, match=reason) as error:
        read_request(json.dumps(text).encode(), lambda signature: specs, max_rows=4)
    assert error.value.status == 413


def strings(*values):
    array = np.empty(len(values), object)
    array[:] = values
    return array


def test_numbers_are_written_as_tensorflow_serving_writes_them():
    values = np.float32([[9000000, 999999, 0.5], [0.0003, 0.00003, 555557.5]])
    expected = '{"predictions": [[9e+06, 999999.0, 0.5], [0.0003, 3e-05, 555557.5]]}'
    assert write_answer({"y": values}, "predictions") == expected
    values = np.float32([np.nan, np.inf, 3, -np.inf, 1.9395084])
    assert (
        write_answer({"y": values}, "outputs") == '{"outputs": [NaN, Infinity, 3.0, -Infinity, 1.93950844]}'
    )
    assert (
        write_answer({"y": np.float64([0.1, 1 / 3])}, "outputs") == '{"outputs": [0.1, 0.33333333333333331]}'
    )


def test_answers_by_rows_and_by_columns():
    outputs = {
        "label": strings("häm".encode(), b"bar"),
        "data_bytes": strings(b"hello", b"world\0"),
        "grade": np.int32([-1, 4]),
        "map": np.float32([[[1, 2]], [[3, 4.5]]]),
        "ok": np.array([True, False]),
    }
    rows = json.loads(write_answer(outputs, "predictions"))["predictions"]
    assert rows[0] == {
        "label": "häm", "data_bytes": {"b64": "aGVsbG8="}, "grade": -1, "map": [[1.0, 2.0]], "ok": True
    }  # fmt: skip
    assert rows[1]["data_bytes"] == {"b64": "d29ybGQA"}
    columns = json.loads(write_answer(outputs, "outputs"))["outputs"]
    assert columns["grade"] == [-1, 4] and columns["map"] == [[[1.0, 2.0]], [[3.0, 4.5]]]
    assert write_answer({"y": np.int32([[1, 2], [3, 4]])}, "outputs") == '{"outputs": [[1, 2], [3, 4]]}'
