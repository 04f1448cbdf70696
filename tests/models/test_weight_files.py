import collections
import io
import pickle
import re
import struct
import zipfile

import h5py
import keras
import numpy as np
import pytest
from handmade_pickles import as_pickle, group, named, number, ordered_dict, parameter, tensor, text, torch_zip

from dr_keras.errors import InputError
from dr_keras.models.weight_files import read_keras, read_npy, read_torch


def torch_legacy(path, body, storages, magic=0x1950A86A20F9469CFC6C, head=b""):
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    parts = [pickle.dumps(value, 2) for value in (magic, 1001, system)] + [as_pickle(body)]
    parts.append(pickle.dumps(list(storages), 2))
    parts += [struct.pack("<q", count) + data for count, data in storages.values()]
    path.write_bytes(head + b"".join(parts))
    return path


SIX = np.arange(6, dtype="<f4")


def test_torch_zip_by_hand(tmp_path):
    body = ordered_dict(
        whole=tensor("0", "FloatStorage", 6, (2, 3), (3, 1)),
        turned=tensor("0", "FloatStorage", 6, (3, 2), (1, 3)),
        part=parameter(tensor("0", "FloatStorage", 6, (2,), (2,), offset=1)),
        half=tensor("1", "HalfStorage", 2, (2,), (1,)),
        count=tensor("2", "LongStorage", 1, (), ()),
        brain=tensor("3", "BFloat16Storage", 2, (2,), (1,)),
        empty=tensor("0", "FloatStorage", 6, (0, 3), (3, 1)),
    )
    halves, count = np.array([1.5, -2], "<f2"), np.array([7], "<i8")
    brain = np.array([1.0, -3.140625], "<f4").view("<u4") >> 16  # both have no bits beyond the upper half
    storages = {"0": SIX.tobytes(), "1": halves.tobytes(), "2": count.tobytes()}
    storages["3"] = brain.astype("<u2").tobytes()
    weights = read_torch(torch_zip(tmp_path / "model.pth", body, storages))
    assert list(weights) == ["whole", "turned", "part", "half", "count", "brain", "empty"]
    np.testing.assert_array_equal(weights["whole"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(weights["turned"], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(weights["part"], [1, 3])
    np.testing.assert_array_equal(weights["half"], [1.5, -2])
    np.testing.assert_array_equal(weights["brain"], [1.0, -3.140625])
    assert weights["count"] == 7 and weights["empty"].shape == (0, 3)
    types = [array.dtype.name for array in weights.values()]
    assert types == ["float32", "float32", "float32", "float16", "int64", "float32", "float32"]


def test_torch_zip_from_a_big_endian_machine(tmp_path):
    body = ordered_dict(a=tensor("0", "FloatStorage", 6, (6,), (1,)))
    path = torch_zip(tmp_path / "model.pth", body, {"0": SIX.astype(">f4").tobytes()}, order="big")
    array = read_torch(path)["a"]
    assert array.dtype.isnative
    np.testing.assert_array_equal(array, SIX)


def test_torch_legacy_by_hand(tmp_path):
    body = ordered_dict(
        weight=tensor("94388", "FloatStorage", 6, (3, 2), (2, 1), legacy=True),
        steps=tensor("11", "LongStorage", 2, (2,), (1,), legacy=True),
    )
    storages = {"11": (2, np.array([4, 5], "<i8").tobytes()), "94388": (6, SIX.tobytes())}
    weights = read_torch(torch_legacy(tmp_path / "model.pth", body, storages))
    np.testing.assert_array_equal(weights["weight"], [[0, 1], [2, 3], [4, 5]])
    np.testing.assert_array_equal(weights["steps"], [4, 5])


@pytest.mark.parametrize("zip_form", [True, False], ids=["zip", "legacy"])
def test_files_that_torch_writes(zip_form, tmp_path):
    torch = pytest.importorskip("torch")
    values = torch.arange(24.0).reshape(2, 3, 4)
    state = collections.OrderedDict(
        plain=values,
        turned=values.permute(2, 0, 1),
        part=torch.nn.Parameter(values[1, :, 1:3].half()),
        brain=values.to(torch.bfloat16) / 8,
        yes=torch.tensor([True, False]),
    )
    state.update(torch.nn.BatchNorm2d(3).state_dict())
    torch.save(state, tmp_path / "model.pth", _use_new_zipfile_serialization=zip_form)
    weights = read_torch(tmp_path / "model.pth")
    assert list(weights) == list(state)
    for name, expected in state.items():
        expected = expected.float() if expected.dtype == torch.bfloat16 else expected
        np.testing.assert_array_equal(weights[name], expected.detach().numpy(), strict=True)


# NumPy

LAYERS = {
    "conv1": [np.arange(6, dtype="f4").reshape(2, 3), np.ones(3, "f4")],
    "conv2": {"weights": np.asfortranarray(np.arange(6.0).reshape(3, 2)), "mean": np.array(2.5)},
    "mean": np.arange(3, dtype=">i4"),
}


def check_layers(arrays):
    assert list(arrays) == ["conv1/weights", "conv1/biases", "conv2/weights", "conv2/mean", "mean"]
    np.testing.assert_array_equal(arrays["conv1/weights"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(arrays["conv1/biases"], [1, 1, 1])
    np.testing.assert_array_equal(arrays["conv2/weights"], [[0, 1], [2, 3], [4, 5]])
    np.testing.assert_array_equal(arrays["mean"], [0, 1, 2])
    assert arrays["conv2/mean"] == 2.5 and all(array.dtype.isnative for array in arrays.values())


def npy(path, body):
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body)
    return path


def test_npy_of_this_python(tmp_path):
    np.save(tmp_path / "layers.npy", LAYERS, allow_pickle=True)
    check_layers(read_npy(tmp_path / "layers.npy"))


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_npy_of_any_protocol(protocol, tmp_path):
    check_layers(read_npy(npy(tmp_path / "layers.npy", pickle.dumps(np.array(LAYERS, object), protocol))))


def old_array(shape, code, order, data):
    """An array as Python 2 pickled it: bytes are `str` (BINSTRING), names are NumPy 1's."""
    kind = named("numpy", "dtype") + group(b"U" + bytes([len(code)]) + code, number(0), number(1)) + b"R"
    state = [number(3), b"U\x01" + order, b"N", b"N", b"N", number(-1), number(-1), number(0)]
    start = group(named("numpy", "ndarray"), group(number(0)), b"U\x01b")
    array = named("numpy.core.multiarray", "_reconstruct") + start + b"R"
    state = [number(1), group(*map(number, shape)), kind + group(*state) + b"b", b"\x89", data]
    return array + group(*state) + b"b"


def test_npy_of_python_2(tmp_path):
    values = np.array([[1.5, -2.25, 200.0]], "<f4")
    raw = values.tobytes()
    weights = old_array((1, 3), b"f4", b"<", b"T" + struct.pack("<i", len(raw)) + raw)
    layers = b"}(U\x05conv1](" + weights + weights + b"eu"
    whole = old_array((), b"O8", b"|", b"](" + layers + b"e")
    arrays = read_npy(npy(tmp_path / "layers.npy", as_pickle(whole)))
    np.testing.assert_array_equal(arrays["conv1/weights"], values, strict=True)
    np.testing.assert_array_equal(arrays["conv1/biases"], values, strict=True)


def test_npy_of_something_else(tmp_path):
    np.save(tmp_path / "array.npy", np.zeros((2, 3)))
    with pytest.raises(InputError, match=r"expected a dict of layers, found an array \(2, 3\) of float64"):
        read_npy(tmp_path / "array.npy")
    for content, complaint in [
        ([1], "expected a dict of layers, found list"),
        ({}, "expected a dict of layers, found dict"),
        ({"conv1": "text"}, "'conv1' is no array of numbers"),
        ({"conv1": [np.zeros(2), 3]}, "'conv1/biases' is no array of numbers"),
        ({"conv1": np.array(["text"])}, "'conv1' is no array of numbers"),
        ({"conv1": np.array([{}], object)}, "'conv1' is no array of numbers"),
    ]:
        holder = np.empty((), object)
        holder[()] = content
        np.save(tmp_path / "other.npy", holder, allow_pickle=True)
        with pytest.raises(InputError, match=complaint):
            read_npy(tmp_path / "other.npy")


# Keras


def keras_model(name="conv1"):
    layers = keras.layers
    inner = [keras.Input((4, 4, 3)), layers.Conv2D(2, 3, name=name), layers.BatchNormalization(name="bn1")]
    inner = keras.Sequential(inner, name="trunk")
    return keras.Sequential([keras.Input((4, 4, 3)), inner, layers.Flatten(), layers.Dense(1, name="score")])


def test_keras_by_the_layers_names(tmp_path):
    model = keras_model()
    for index, variable in enumerate(model.variables):
        variable.assign(variable + index)
    model.save_weights(tmp_path / "model.weights.h5")
    arrays = read_keras(tmp_path / "model.weights.h5")
    counts = {"conv1": 2, "bn1": 4, "score": 2}
    assert sorted(arrays) == sorted(f"{layer}/{i}" for layer, n in counts.items() for i in range(n))
    for layer in counts:
        owner = model if layer == "score" else model.get_layer("trunk")
        for index, expected in enumerate(owner.get_layer(layer).get_weights()):
            np.testing.assert_array_equal(arrays[f"{layer}/{index}"], expected, strict=True)


def test_keras_bfloat16(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, dtype="bfloat16", name="score")])
    model.save_weights(tmp_path / "model.weights.h5")
    expected = np.asarray(model.layers[0].kernel).astype("float32")
    arrays = read_keras(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(arrays["score/0"], expected, strict=True)


def test_keras_refuses(tmp_path):
    keras_model(name="score").save_weights(tmp_path / "twice.weights.h5")
    with pytest.raises(InputError, match="two layers are named 'score'"):
        read_keras(tmp_path / "twice.weights.h5")
    with h5py.File(tmp_path / "empty.h5", "w") as file:
        file.create_dataset("numbers", data=[1.0])
    with pytest.raises(InputError, match="holds no layers' weights"):
        read_keras(tmp_path / "empty.h5")
    (tmp_path / "secret").write_bytes(bytes(80))
    with h5py.File(tmp_path / "elsewhere.h5", "w") as file:
        file.create_dataset("dense/vars/0", (10,), "f8", external=[(str(tmp_path / "secret"), 0, 80)])
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        file.create_dataset("dense/vars/0", (10**6, 10**6), "f8", chunks=(100, 100))
    for name in ("elsewhere", "huge"):
        with pytest.raises(InputError, match="dense/0 isn't stored in the file itself"):
            read_keras(tmp_path / f"{name}.h5")


# Files that want more than weights


class Payload:
    """Pickles into a call of `function`."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


def hostile_bodies(mark):
    """Pickle bodies that would make the file `mark` (or fill the memory), and what is said of each."""
    touch = f"open({str(mark)!r}, 'w').close()"
    command, dumped = f"touch {mark}", pickle.dumps(Payload(exec, touch), 2)
    return {
        "os": (named("os", "system") + group(text(command)) + b"R", "pickle names os.system,"),
        "builtins": (named("__builtin__", "eval") + group(text(touch)) + b"R", "names __builtin__.eval,"),
        "torch": (
            named("torch.hub", "load") + group(text(command)) + b"R",
            "names torch.hub.load,",
        ),
        "numpy": (named("numpy", "load") + group(text(command)) + b"R", "names numpy.load,"),
        "getattr": (named("torch._utils", "__builtins__") + b"0N", "names torch._utils.__builtins__,"),
        "dumped": (dumped[2:-1], "names __builtin__.exec,"),
        "instance": (b"(" + text(command) + b"ios\nsystem\n", "pickle instruction INST,"),
        "object": (b"(" + named("os", "system") + text(command) + b"o", "pickle instruction OBJ,"),
        "extension": (b"\x82\x01", "pickle instruction EXT1,"),
        "memory": (b"Nr\xff\xff\xff\x7f", "pickle instruction LONG_BINPUT,"),
    }


@pytest.mark.parametrize("form", ["zip", "legacy", "npy"])
@pytest.mark.parametrize("case", sorted(hostile_bodies("")))
def test_hostile_pickles_run_nothing(case, form, tmp_path):
    mark = tmp_path / "mark"
    body, complaint = hostile_bodies(mark)[case]
    path, items = tmp_path / "weights", ordered_dict(weight=body)
    if form == "zip":
        torch_zip(path, items, {})
    elif form == "legacy":
        torch_legacy(path, items, {})
    else:
        npy(path, as_pickle(b"}" + text("conv1") + body + b"s"))
    with pytest.raises(InputError, match=re.escape(complaint)) as caught:
        (read_npy if form == "npy" else read_torch)(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    assert "which no weights file needs" in str(caught.value) and not mark.exists()


def test_the_hostile_pickle_would_run_elsewhere(tmp_path):
    """The check that a side effect is missing means something only where there would be one."""
    body, _ = hostile_bodies(tmp_path / "mark")["builtins"]
    pickle.load(io.BytesIO(as_pickle(body)))
    assert (tmp_path / "mark").exists()


def test_hostile_first_pickle_of_a_stream(tmp_path):
    head = as_pickle(named("os", "system") + group(text(f"touch {tmp_path / 'mark'}")) + b"R")
    path = torch_legacy(tmp_path / "model.pth", ordered_dict(), {}, head=head)
    with pytest.raises(InputError, match="names os.system, which no weights file needs"):
        read_torch(path)
    assert not (tmp_path / "mark").exists()


def test_a_pickle_cant_change_the_reader(tmp_path):
    """Attributes set on what the names stand for don't outlive the file."""
    rebuild = named("torch._utils", "_rebuild_tensor_v2")
    state = group(b"N", b"}" + text("__defaults__") + group(text("poisoned")) + b"s") + b"b"
    with pytest.raises(InputError):
        read_torch(torch_zip(tmp_path / "bad.pth", ordered_dict(weight=rebuild + state), {}))
    body = ordered_dict(a=tensor("0", "FloatStorage", 6, (6,), (1,)))
    good = torch_zip(tmp_path / "good.pth", body, {"0": SIX.tobytes()})
    np.testing.assert_array_equal(read_torch(good)["a"], SIX)


@pytest.mark.parametrize(
    "layout, stored",
    [
        (dict(shape=(7,), strides=(1,)), 6),
        (dict(shape=(2, 3), strides=(4, 1)), 6),
        (dict(shape=(2,), strides=(1,), offset=5), 6),
        (dict(shape=(2,), strides=(1,), offset=-1), 6),
        (dict(shape=(2,), strides=(-1,), offset=1), 6),
        (dict(shape=(2,), strides=(1, 1)), 6),
        (dict(shape=(100000, 100000), strides=(0, 0)), 6),
        (dict(shape=(6,), strides=(1,)), 5),
    ],
)
def test_tensors_beyond_their_storage(layout, stored, tmp_path):
    body = ordered_dict(weight=tensor("0", "FloatStorage", 6, **layout))
    path = torch_zip(tmp_path / "model.pth", body, {"0": SIX[:stored].tobytes()})
    with pytest.raises(InputError, match="weight asks for other values than are stored|not a PyTorch"):
        read_torch(path)


def test_torch_files_of_something_else(tmp_path):
    path = tmp_path / "model.pth"
    for body, complaint in [
        (b"]", "expected a dict of tensors, found list"),
        (b"}", "expected a dict of tensors, found dict"),
        (ordered_dict(epoch=number(3)), "'epoch' is no tensor"),
    ]:
        with pytest.raises(InputError, match=complaint):
            read_torch(torch_zip(path, body, {}))
    good = ordered_dict(a=tensor("0", "FloatStorage", 6, (6,), (1,)))
    with pytest.raises(InputError, match="a compressed archive; PyTorch's files aren't"):
        read_torch(torch_zip(path, good, {"0": SIX.tobytes()}, compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(InputError, match="not a PyTorch weights file"):
        read_torch(torch_legacy(path, good, {"0": (6, SIX.tobytes())}, magic=1))


def written(form, folder):
    """A good file of one form, and its reader."""
    path = folder / "weights"
    if form == "zip":
        body = ordered_dict(a=tensor("0", "FloatStorage", 6, (6,), (1,)))
        return torch_zip(path, body, {"0": SIX.tobytes()}), read_torch
    if form == "legacy":
        body = ordered_dict(a=tensor("0", "FloatStorage", 6, (6,), (1,), legacy=True))
        return torch_legacy(path, body, {"0": (6, SIX.tobytes())}), read_torch
    if form == "npy":
        return npy(path, pickle.dumps(np.array(LAYERS, object), 2)), read_npy
    keras_model().save_weights(folder / "k.weights.h5")
    return folder / "k.weights.h5", read_keras


@pytest.mark.parametrize("form", ["zip", "legacy", "npy", "keras"])
def test_cut_short_and_wrong_files(form, tmp_path):
    path, read = written(form, tmp_path)
    whole = path.read_bytes()
    assert read(path)
    for length in sorted({0, 1, 7, 20, *range(0, len(whole) - 1, max(1, len(whole) // 40)), len(whole) - 2}):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    path.write_bytes(b"no weights, only words\n" * 30)
    for wrong in (path, tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError) as caught:
            read(wrong)
        assert str(caught.value).startswith(f"{wrong}: ") and "\n" not in str(caught.value)
