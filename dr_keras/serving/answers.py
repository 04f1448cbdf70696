"""Writes answers to Predict requests in the JSON that TensorFlow Serving documents."""

import base64
import json
import math

_BINARY = "_bytes"  # ends the name of a tensor whose strings are bytes, sent as base64


def write_answer(outputs, form):
    """Writes the answer to a Predict request.

    Args:
        outputs: dict of name to array; strings are bytes in an object array.
        form: "predictions" or "outputs", from `read_request`.

    Returns:
        JSON, as text; NaN and infinities stand as `NaN`, `Infinity` and `-Infinity`.
    """
    if form == "predictions":
        rows = {name: [_text(row, name) for row in array] for name, array in outputs.items()}
        if len(rows) == 1:
            return f'{{"predictions": [{", ".join(next(iter(rows.values())))}]}}'
        names = sorted(rows)
        items = (
            dict(zip(names, row, strict=True)) for row in zip(*(rows[name] for name in names), strict=True)
        )
        return f'{{"predictions": [{", ".join(map(_object, items))}]}}'
    columns = {name: _text(outputs[name], name) for name in sorted(outputs)}
    content = next(iter(columns.values())) if len(columns) == 1 else _object(columns)
    return f'{{"outputs": {content}}}'


def _object(texts):
    return "{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in texts.items()) + "}"


def _text(array, name):
    if isinstance(array, bytes):
        if name.endswith(_BINARY):
            return f'{{"b64": "{base64.b64encode(array).decode()}"}}'
        return json.dumps(array.decode(errors="replace"))
    if array.ndim:
        return f"[{', '.join(_text(item, name) for item in array)}]"
    value = array.item()
    return _decimal(value, array.dtype) if array.dtype.kind == "f" else json.dumps(value)


def _decimal(value, dtype):
    if not math.isfinite(value):
        return json.dumps(value)  # NaN, Infinity, -Infinity
    text = f"{value:.6g}"
    if dtype.type(text) != dtype.type(value):
        text = f"{value:.{9 if dtype.itemsize == 4 else 17}g}"
    return text if "." in text or "e" in text else f"{text}.0"
