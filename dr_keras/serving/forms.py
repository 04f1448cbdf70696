"""Reads Predict requests in the JSON that TensorFlow Serving documents.

The rules for numbers, base64 and shapes are TensorFlow Serving's, and so is the wording of errors where it
helps. Unlike there, an error never repeats the request.
"""

import base64
import binascii
import dataclasses
import json
import math

import numpy as np

from dr_keras.serving.refusal import Refused

DEFAULT_SIGNATURE = "serving_default"
_DEEPEST = 63  # NumPy's arrays have 64 axes at most, one of them that of the rows
_FEW_VALUES = 100_000  # parsed in a moment, whatever they are


@dataclasses.dataclass(frozen=True)
class Spec:
    """What a signature expects of an input.

    Attributes:
        dtype: name of the NumPy dtype, or "string".
        shape: tuple of ints, with None for an axis of any length; or None for any shape.
    """

    dtype: str
    shape: tuple | None


def check_size(body, servable, max_rows):
    """Refuses a body of far more values than the model takes, before anything is built of it.

    Each value but the first has a comma before it. A signature that takes many values, such as pixels, counts
    if its name stands anywhere in the body.

    Args:
        body: bytes, JSON.
        servable: `servable.Servable`.
        max_rows: rows in a request, at most.

    Raises:
        Refused: with 413.
    """
    most = _FEW_VALUES
    for signature in servable.functions:
        if signature == DEFAULT_SIGNATURE or signature.encode() in body:
            sizes = (_most_values(spec, max_rows) for spec in servable.inputs(signature).values())
            most = max(most, sum(sizes))
    if body.count(b",") > most:
        raise Refused(413, f"more than {most} values in a request, expected at most {max_rows} rows")


def _most_values(spec, max_rows):
    if spec.shape is None or None in spec.shape[1:]:
        return math.inf
    return max_rows * math.prod(spec.shape[1:])


def read_request(body, find_inputs, max_rows=math.inf):
    """Reads the body of a Predict request.

    Args:
        body: bytes, JSON that may contain `NaN` and `Infinity`.
        find_inputs: function of a signature's name, returning dict of input name to `Spec`.
        max_rows: rows in a request, at most.

    Returns:
        signature: its name.
        inputs: dict of name to array; strings are bytes in an object array.
        form: key of the answer: "predictions" for rows ("instances"), "outputs" for columns ("inputs").

    Raises:
        Refused: with 400, if the body isn't such a request; with 413, for too many rows or values.
    """
    try:
        document = _parse(body)
        signature = document.get("signature_name", DEFAULT_SIGNATURE)
        if not isinstance(signature, str):
            raise Refused(400, "'signature_name' key must be a string value")
        specs = find_inputs(signature or DEFAULT_SIGNATURE)
        if ("instances" in document) == ("inputs" in document):
            if "inputs" in document:
                raise Refused(400, "Not formatted correctly: expecting only one of 'inputs', 'instances'")
            raise Refused(400, "Missing 'inputs' or 'instances' key")
        if "instances" in document:
            rows = _rows(document["instances"], specs, max_rows)
            return signature or DEFAULT_SIGNATURE, rows, "predictions"
        return signature or DEFAULT_SIGNATURE, _columns(document["inputs"], specs, max_rows), "outputs"
    except RecursionError:
        raise Refused(400, "JSON Parse error: nested too deeply") from None


def _parse(body):
    if not body.strip():
        raise Refused(400, "JSON Parse error: The document is empty")
    try:
        document = json.loads(body)
    except ValueError as error:
        reason = (
            f"{error.msg} at offset: {error.pos}"
            if isinstance(error, json.JSONDecodeError)
            else "not UTF-8, or a number of too many digits"
        )
        raise Refused(400, f"JSON Parse error: {reason}") from None
    if not isinstance(document, dict):
        raise Refused(400, f"JSON Value: {_kind(document)} Is not object")
    return document


def _rows(instances, specs, max_rows):
    if not isinstance(instances, list):
        raise Refused(400, "Expecting 'instances' to be a list/array")
    if not instances:
        raise Refused(400, "No values in 'instances' array")
    _check_rows(len(instances), max_rows)
    named = _is_named(instances[0])
    if not named and len(specs) > 1:
        raise Refused(400, "instances is a plain list, but expecting list of objects: several inputs")
    found = {name: [] for name in specs}
    for number, item in enumerate(instances):
        if _is_named(item) != named:
            expected = "object but got list" if named else "value/list but got object"
            raise Refused(400, f"Expecting {expected} at item {number} of input list")
        if not named:
            item = {next(iter(specs)): item}
        unknown = next((name for name in item if name not in specs), None)
        if unknown is not None:
            raise Refused(400, f"JSON object: does not have named input: {unknown}, at item {number}")
        if len(item) < len(specs):
            raise Refused(
                400, f"Item {number} of 'instances': keys must be equal to: {','.join(sorted(specs))}"
            )
        for name, value in item.items():
            found[name].append(_tensor(value, specs[name], f"Item {number} of 'instances'", 1))
            _check_alike(found[name])
    return {name: np.stack(arrays) for name, arrays in found.items()}


def _columns(inputs, specs, max_rows):
    if not _is_named(inputs):
        if len(specs) > 1:
            raise Refused(400, "inputs is a plain value/list, but expecting an object: several inputs")
        inputs = {next(iter(specs)): inputs}
    missing = [name for name in specs if name not in inputs]
    if missing:
        raise Refused(400, f"Missing named input: {missing[0]} in 'inputs' object.")
    for name in specs:
        if isinstance(inputs[name], list):
            _check_rows(len(inputs[name]), max_rows)
    return {name: _tensor(inputs[name], spec, "'inputs'", max_rows) for name, spec in specs.items()}


def _check_rows(count, max_rows):
    if count > max_rows:
        raise Refused(413, f"{count} photographs in a request, expected at most {max_rows}")


def _is_named(value):
    """Whether a value is an object of named tensors, not one of bytes."""
    return isinstance(value, dict) and not (list(value) == ["b64"] and isinstance(value["b64"], str))


def _check_alike(arrays):
    if arrays[-1].size != arrays[0].size:
        raise Refused(400, f"Expecting tensor size: {arrays[0].size} but got: {arrays[-1].size}")
    if arrays[-1].shape != arrays[0].shape:
        raise Refused(400, f"Expecting shape {list(arrays[0].shape)} but got: {list(arrays[-1].shape)}")


def _tensor(value, spec, where, rows):
    """Makes an array of a value of as many rows at most."""
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    if len(shape) > _DEEPEST:
        raise Refused(400, f"{where}: nested too deeply, expected at most {_DEEPEST} lists in one another")
    if math.prod(shape) > max(_FEW_VALUES, _most_values(spec, rows)):
        raise Refused(413, f"{where}: {math.prod(shape)} values, expected at most {_most_values(spec, rows)}")
    flat = []
    _flatten(value, shape, 0, flat)
    try:
        values = [_value(item, spec.dtype) for item in flat]
    except Refused as error:
        raise Refused(400, f"{where}: {error}") from None
    array = np.empty(len(values), object if spec.dtype == "string" else spec.dtype)
    array[:] = values
    return array.reshape(shape)


def _flatten(value, shape, level, flat):
    if not isinstance(value, list):
        if level != len(shape):
            raise Refused(
                400, f"JSON value found at incorrect level: {level + 1}. Expected at level: {len(shape)}"
            )
        flat.append(value)
        return
    if level >= len(shape):
        raise Refused(400, f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        size = f"{len(value)} at level: {level} expected size: {shape[level]}"
        raise Refused(400, f"Encountered list at unexpected size: {size}")
    for item in value:
        _flatten(item, shape, level + 1, flat)


def _value(value, dtype):
    if dtype == "string" and isinstance(value, str):
        return _encode(value)
    if dtype == "string" and isinstance(value, dict):
        return _decode_base64(value)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if dtype.startswith("float") and is_number:
        return _decimal_value(value, np.finfo(dtype))
    if dtype.startswith(("int", "uint")) and is_number and isinstance(value, int):
        if np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:
            return value
    if dtype == "bool" and isinstance(value, bool):
        return value
    raise Refused(400, f"JSON Value of Type: {_kind(value)} is not of expected type: {dtype}")


def _decimal_value(value, limits):
    if isinstance(value, int):
        lossless = abs(value) < 2 ** (limits.nmant + 1)
    else:
        lossless = not math.isfinite(value) or abs(value) <= float(limits.max)
    if not lossless:
        raise Refused(400, f"Cannot convert JSON value to {limits.dtype} without loss of precision")
    return value


def _encode(text):
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Refused(400, "a string that isn't valid Unicode; bytes go as {'b64': ...}") from None


def _decode_base64(value):
    if _is_named(value):
        raise Refused(400, "JSON Value not formatted correctly for base64 data")
    text = "".join(value["b64"].split()).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Refused(400, "Unable to base64 decode") from None


def _kind(value):
    kinds = {bool: str(value), type(None): "Null", dict: "Object", list: "Array", str: "String"}
    return kinds.get(type(value), "Number")
