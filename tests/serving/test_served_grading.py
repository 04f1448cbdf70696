"""A real exported network behind the server: equal numbers everywhere, and photographs that mean harm."""

import base64
import concurrent.futures
import csv
import io
import json
import os
import re
import resource
import stat
import urllib.parse
from pathlib import Path

import cv2
import numpy as np
import pytest
from hostile_photographs import blank_png, claiming, mutated
from html_pages import Page
from PIL import Image
from running_server import serving
from script_runs import run

from dr_keras.counts import Counts
from dr_keras.errors import InputError
from dr_keras.grades import GRADE_NAMES, likely_range
from dr_keras.inference.graded import write_grades
from dr_keras.serving.client import GrpcClient, RestClient, score_files

# Many more: HOSTILE_PHOTOGRAPHS=2000 pytest --numprocesses=0 tests/serving/test_served_grading.py -k hostile
HOSTILE = int(os.environ.get("HOSTILE_PHOTOGRAPHS", 160))


@pytest.fixture(scope="module")
def server(tiny):
    with serving(tiny, grpc_port=None) as running:
        yield running


@pytest.fixture(scope="module")
def graded(tiny, photographs):
    """What the model itself says of the photographs, all in one batch."""
    rows = [{"image_bytes": np.array(data, object)} for data in photographs]
    return tiny.run("explain", rows)


@pytest.fixture(scope="module")
def path(tiny):
    return f"/v1/models/{tiny.name}:predict"


def b64(data):
    return {"b64": base64.b64encode(data).decode()}


def test_numbers_are_the_models_own(server, path, photographs, graded):
    assert sorted(int(row["grade"]) for row in graded) == [0, 1, 2, 3, 4]
    content = {"instances": [b64(data) for data in photographs]}
    status, answer = server.post(path, content)
    assert status == 200
    for row, expected in zip(answer["predictions"], graded, strict=True):
        assert np.float32(row["score"]) == pytest.approx(expected["score"], abs=1e-3)
        assert row["grade"] == expected["grade"] and row["referable"] == expected["referable"]
        assert row["gradable"] is True and row["message"] == ""
    columns = {"signature_name": "explain", "inputs": {"image_bytes": content["instances"][:2]}}
    status, answer = server.post(path, columns)
    assert status == 200
    np.testing.assert_allclose(answer["outputs"]["map"], [row["map"] for row in graded[:2]], atol=1e-3)
    overlay = base64.b64decode(answer["outputs"]["overlay_png_bytes"][1]["b64"])
    assert Image.open(io.BytesIO(overlay)).size == Image.open(io.BytesIO(photographs[1])).size


def test_bad_photograph_is_answered_for_itself(server, path, photographs):
    content = {"instances": [b64(photographs[0]), b64(photographs[1][:900]), {"b64": ""}]}
    status, _, body = server.ask("POST", path, json.dumps(content))
    assert status == 200 and b'"score": NaN' in body
    good, cut, empty = json.loads(body)["predictions"]
    assert good["gradable"] and not cut["gradable"] and cut["grade"] == empty["grade"] == -1
    assert "truncated" in cut["message"] and empty["message"] == "the file is empty"
    status, answer = server.post(path, {"instances": content["instances"][1:]})
    assert status == 400 and answer["error"].startswith("photograph 0: ") and "truncated" in answer["error"]


@pytest.mark.parametrize(
    "make, reason",
    [
        (lambda jpeg: blank_png(8000, 8000), "photograph 0: expected at most 50 megapixels"),
        (lambda jpeg: blank_png(20000, 20000), "expected at most 50 megapixels"),
        (lambda jpeg: claiming(jpeg, 65000, 65000), "expected at most 50 megapixels"),
        (lambda jpeg: b"", "the file is empty"),
        (lambda jpeg: b"GIF89a" + jpeg, "not an image"),
        (lambda jpeg: cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes(), "8x8 pixels"),
    ],
)
def test_what_cannot_be_graded_is_refused(server, path, photographs, make, reason):
    data = make(photographs[0])
    for status, answer in (server.post(path, {"instances": [b64(data)]}), server.post("/grade", data)):
        assert status == 400 and reason in answer["error"], answer


@pytest.mark.parametrize("form", ["TIFF", "WEBP", "BMP"])
def test_other_formats_are_graded_as_by_predict(server, path, photographs, form):
    pixels = Image.open(io.BytesIO(photographs[1])).convert("RGB")
    png, other = io.BytesIO(), io.BytesIO()
    pixels.save(png, "PNG")
    pixels.save(other, form, **({"lossless": True} if form == "WEBP" else {}))
    expected = server.post("/grade", png.getvalue())[1]
    status, answer = server.post("/grade", other.getvalue())
    assert ("photograph_jpeg" in answer) == (form == "TIFF")  # which browsers can't show
    answer.pop("photograph_jpeg", None)
    assert status == 200 and answer == expected
    status, answer = server.post(path, {"instances": [b64(other.getvalue()[:-3000])]})
    assert status == 400 and answer["error"].startswith("photograph 0: ")


def test_damage_that_a_decoder_fills_is_refused(server, path, photographs):
    whole = photographs[0]
    third = len(whole) // 3
    for damaged in (
        whole[:third] + b"\xff\xd9",
        whole[:third] + bytes(3000) + whole[third + 3000 :],
        whole[:third] + whole[third + 3000 :],
    ):
        for status, answer in (
            server.post("/grade", damaged),
            server.post(path, {"instances": [b64(damaged)]}),
        ):
            assert status == 400 and "the JPEG file is" in answer["error"], answer


def test_two_eyes_and_palettes_get_no_grade(server, path, photographs):
    image = Image.open(io.BytesIO(photographs[0])).convert("RGB")
    pair = Image.new("RGB", (2 * image.width, image.height))
    pair.paste(image, (0, 0))
    pair.paste(image, (image.width, 0))
    for picture, form, reason in (
        (pair, "JPEG", "shows two eyes"),
        (image.quantize(16), "PNG", "reduced to 16"),
    ):
        file = io.BytesIO()
        picture.save(file, form)
        status, answer = server.post("/grade", file.getvalue())
        assert status == 200 and answer["message"].startswith(reason) and answer["grade"] is None
        rows = server.post(path, {"instances": [b64(photographs[0]), b64(file.getvalue())]})[1]["predictions"]
        assert rows[0]["gradable"] and not rows[1]["gradable"] and rows[1]["grade"] == -1
        assert rows[1]["message"].startswith(reason) and not rows[1]["referable"]


def resident():
    """Bytes of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def test_hostile_photographs_are_answered_in_one_line_and_leave_no_trace(server, path, photographs):
    def send(seed):
        data = mutated(photographs, seed)
        answers = [server.ask("POST", "/grade", data)]
        if seed % 2:
            answers.append(server.ask("POST", path, json.dumps({"instances": [b64(data)]})))
        return [(status, json.loads(body)) for status, _, body in answers]

    def send_all(pool, seeds):
        for status, answer in (pair for pairs in pool.map(send, seeds) for pair in pairs):
            if (
                status == 200
            ):  # what was changed may not matter, or the picture may not be a retina's any more
                row = answer.get("predictions", [answer])[0]
                assert row["gradable"] or row["message"] and "\n" not in row["message"]
            else:
                assert status == 400 and list(answer) == ["error"] and "\n" not in answer["error"]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        send_all(pool, range(HOSTILE // 2))
        before = resident()
        send_all(pool, range(HOSTILE // 2, HOSTILE))
        assert resident() - before < 200 << 20
    assert server.post("/grade", photographs[0])[1]["gradable"]


def test_page_gets_plain_json(server, photographs, graded):
    for data, expected in zip(photographs[:2], graded, strict=False):
        status, answer = server.post("/grade", data)
        assert status == 200 and answer["gradable"] and answer["grade"] == expected["grade"]
        assert answer["score"] == pytest.approx(float(expected["score"]), abs=1e-3)
        assert answer["grade_name"] == GRADE_NAMES[expected["grade"]]
        assert base64.b64decode(answer["overlay_png"]).startswith(b"\x89PNG")
    blue = cv2.imencode(".png", np.full((300, 400, 3), (200, 120, 30), np.uint8))[1].tobytes()
    status, answer = server.post("/grade", blue)
    assert status == 200 and answer["grade"] is answer["score"] is answer["overlay_png"] is None
    assert not answer["gradable"] and "no visible retina" in answer["message"]


def test_report_is_one_page(server, photographs, graded):
    status, headers, body = server.ask("POST", "/report", photographs[3])
    page = Page(body.decode())
    assert status == 200 and headers["Content-Type"].startswith("text/html")
    assert not page.open and not page.wrong and "Research use only" in page.words
    grade = graded[3]["grade"]
    assert f"{grade}: {GRADE_NAMES[grade]}" in page.words and f"{graded[3]['score']:.2f}" in page.words
    pictures = page.pictures()
    drawn = cv2.imdecode(np.frombuffer(photographs[3], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert [picture.shape for picture in pictures.values()] == [drawn.shape] * 2
    assert np.abs(pictures["The photograph"].astype(int) - drawn).mean() < 3


def test_report_says_what_was_graded_by_what(server, tiny, photographs):
    name = "Jos\u00e9 <b>left</b>.jpg"
    headers = {"File-Name": urllib.parse.quote(name)}
    page = Page(server.ask("POST", "/report", photographs[3], headers)[2].decode())
    assert name in page.words and "b" not in [tag for tag, _ in page.tags]
    assert page.words.count(tiny.metadata["sha256"]) == 1 and "128 pixels a side" in page.words
    assert "regression activation map, occlusion test" in page.words
    assert not {"True", "False", "None"} & set(page.words.split())
    assert "four grades" not in page.words and "\N{MINUS SIGN}12 0 +12 grade units" in page.words


def test_scale_has_the_colours_of_the_maps():
    from dr_keras.explain import overlay
    from dr_keras.report.grading_page import scale_colors

    bar = overlay.color_bar(1000)[35:986, 2]  # from the highest value to the lowest, below its title
    shown = np.array([list(map(int, color)) for color in re.findall(r"(\d+), (\d+), (\d+)", scale_colors())])
    np.testing.assert_allclose(shown[::-1], bar[np.linspace(0, 950, len(shown)).round().astype(int)], atol=3)


def test_nothing_is_kept_unless_asked(tiny, server, photographs, tmp_path):
    before = os.umask(0)
    try:
        with serving(tiny, save_dir=tmp_path / "kept") as keeping:
            answer = keeping.post("/grade", photographs[1])[1]
    finally:
        os.umask(before)
    image, result = sorted((tmp_path / "kept").iterdir(), key=lambda path: path.suffix)
    assert image.suffix == ".jpg" and image.read_bytes() == photographs[1] and image.stem == result.stem
    assert json.loads(result.read_text()) == answer
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "kept", image, result)]
    assert modes == [0o700, 0o600, 0o600]


def test_folder_that_others_may_enter_is_refused(tiny, tmp_path):
    for mode in (0o750, 0o701):
        tmp_path.chmod(mode)
        with pytest.raises(InputError, match=f"others may enter it .mode {mode:04o}."):
            with serving(tiny, save_dir=tmp_path):
                pass
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't be made .Not a directory"):
        with serving(tiny, save_dir=tmp_path / "file"):
            pass


def test_full_or_missing_folder_takes_no_answer(tiny, photographs, tmp_path):
    expected, folder = len(photographs[1]), tmp_path / "kept"
    with serving(tiny, save_dir=folder) as keeping:
        # Room for no photograph; then for the photograph, but not for its result, which holds the overlay.
        for room in (1000, expected):
            before = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
            try:
                status, answer = keeping.post("/grade", photographs[1])
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
            assert status == 200 and answer["gradable"] and answer["not_saved"] == "File too large"
            assert list(folder.iterdir()) == []
        folder.rmdir()
        folder.write_text("")
        status, answer = keeping.post("/grade", photographs[1])
        assert status == 200 and answer["gradable"] and answer["not_saved"]
        folder.unlink()
        assert "not_saved" not in keeping.post("/grade", photographs[1])[1]
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and len(list(folder.iterdir())) == 2


@pytest.fixture(scope="module")
def folder(photographs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sent")
    for number, data in enumerate(photographs):
        (folder / f"{number}.jpg").write_bytes(data)
    (folder / "cut.jpg").write_bytes(photographs[0][:5000])
    return folder


def check_table(path, folder, graded):
    with open(path, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [str(folder / f"{n}.jpg") for n in [*range(5), "cut"]]
    for row, expected in zip(rows, graded, strict=False):
        assert float(row["score"]) == pytest.approx(float(expected["score"]), abs=1e-3)
        assert int(row["grade"]) == expected["grade"] and int(row["referable"]) == expected["referable"]
        assert row["grade_name"] == GRADE_NAMES[expected["grade"]] and not row["error"]
        chance = float(expected["referable_probability"])
        assert float(row["referable_probability"]) == pytest.approx(chance, abs=1e-3)
        low, high = likely_range(expected["probabilities"])
        assert (int(row["lowest_grade"]), int(row["highest_grade"])) == (low, high)
    assert rows[5]["error"] == "the JPEG file is truncated" and not rows[5]["score"]


def test_client_writes_the_table_of_predict(server, tiny, folder, graded, tmp_path):
    paths = [str(folder / f"{number}.jpg") for number in [*range(5), "cut"]]
    results = score_files(RestClient(server.page, tiny.name), paths)
    assert write_grades(tmp_path / "grades.csv", results) == Counts(5, 0, 1)
    check_table(tmp_path / "grades.csv", folder, graded)
    options = f"--server={server.page}", f"--model={tiny.name}", f"--output={tmp_path / 'again.csv'}"
    done = run("client", *options, *paths)
    assert done.returncode == 0 and "again.csv: 5 graded, 0 not gradable, 1 unreadable" in done.stdout, done
    assert (tmp_path / "again.csv").read_text() == (tmp_path / "grades.csv").read_text()


def test_grpc_gives_the_same(tiny, folder, photographs, graded, tmp_path):
    pytest.importorskip("tensorflow_serving")
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
    )

    token = "a-token-of-some-length"
    with serving(tiny, grpc_port=0, token=token) as server:
        paths = [str(folder / f"{number}.jpg") for number in [*range(5), "cut"]]
        results = score_files(GrpcClient(server.grpc, tiny.name, token), paths)
        assert write_grades(tmp_path / "grades.csv", results) == Counts(5, 0, 1)
        check_table(tmp_path / "grades.csv", folder, graded)

        def call(method, request, key=token):
            return method(request, metadata=[("authorization", f"Bearer {key}")], timeout=60)

        def predict(name=tiny.name, version=None, signature="explain", images=photographs[:1], key=token):
            request = predict_pb2.PredictRequest()
            request.model_spec.name, request.model_spec.signature_name = name, signature
            if version:
                request.model_spec.version.value = version
            request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(images))
            request.output_filter.extend(["map", "score"])
            return call(stub.Predict, request, key)

        with grpc.insecure_channel(server.grpc) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            answer = predict()
            assert set(answer.outputs) == {"map", "score"} and answer.model_spec.version.value == 1
            np.testing.assert_allclose(tf.make_ndarray(answer.outputs["map"])[0], graded[0]["map"], atol=1e-3)
            request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
            request.model_spec.name = tiny.name
            metadata = call(stub.GetModelMetadata, request).metadata["signature_def"]
            signatures = get_model_metadata_pb2.SignatureDefMap()
            assert metadata.Unpack(signatures)
            assert set(signatures.signature_def) == {"serving_default", "explain", "occlude", "pixels"}
            status = get_model_status_pb2.GetModelStatusRequest()
            status.model_spec.name = tiny.name
            models = model_service_pb2_grpc.ModelServiceStub(channel)
            assert call(models.GetModelStatus, status).model_version_status[0].state == 30  # AVAILABLE
            codes = grpc.StatusCode
            for code, options in (
                (codes.UNAUTHENTICATED, {"key": "wrong"}),
                (codes.NOT_FOUND, {"name": "other"}),
                (codes.NOT_FOUND, {"version": 9}),
                (codes.INVALID_ARGUMENT, {"signature": "nope"}),
                (codes.INVALID_ARGUMENT, {"images": [1.5]}),
                (codes.INVALID_ARGUMENT, {"images": [b"no photograph"]}),
                (codes.INVALID_ARGUMENT, {"images": [[b"two", b"axes"]]}),
            ):
                with pytest.raises(grpc.RpcError) as error:
                    predict(**options)
                assert error.value.code() == code, options
            # One value that claims to be a thousand million.
            request = predict_pb2.PredictRequest()
            request.model_spec.name = tiny.name
            request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([b"x"]))
            request.inputs["image_bytes"].tensor_shape.dim[0].size = 10**9
            with pytest.raises(grpc.RpcError, match="at most 64 values"):
                call(stub.Predict, request)


# DICOM files: graded as the same pixels in a PNG, and nothing of the patient kept


@pytest.fixture(scope="module")
def picture(photographs):
    """A photograph's pixels, and their PNG."""
    pixels = cv2.imdecode(np.frombuffer(photographs[2], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    return pixels, cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()


def test_dicom_files_are_graded_and_kept_without_the_patient(tiny, picture, tmp_path):
    import dicom_files as made

    pixels, png = picture
    data = made.file_bytes(made.dataset_of(pixels))
    ct = made.file_bytes(made.dataset_of(pixels, SOPClassUID="1.2.840.10008.5.1.4.1.1.2"))
    several = made.file_bytes(made.dataset_of(np.stack([pixels, pixels[:, ::-1]])))
    with serving(tiny, save_dir=tmp_path / "kept") as server:
        status, answer = server.post("/grade", data)
        shown = base64.b64decode(answer.pop("photograph_jpeg"))
        assert status == 200 and answer == server.post("/grade", png)[1]
        size = Image.open(io.BytesIO(shown)).size
        assert size == pixels.shape[1::-1] and not any(word.encode() in shown for word in made.IDENTIFYING)
        status, answer = server.post("/grade", several)
        assert status == 400 and "2 frames, each a photograph of its own" in answer["error"]
        rows = [{"b64": base64.b64encode(each).decode()} for each in (png, ct, data)]
        status, answer = server.post(f"/v1/models/{tiny.name}:predict", {"instances": rows})
        first, refused, same = answer["predictions"]
        assert status == 200 and first == same
        assert refused["message"].startswith("a DICOM file of CT Image Storage; expected a photograph")
        status, _, page = server.ask("POST", "/report", data)
        assert status == 200 and not any(word.encode() in page for word in made.IDENTIFYING)
        (tmp_path / "both.dcm").write_bytes(several)
        paths = [f"{tmp_path}/both.dcm#1", f"{tmp_path}/both.dcm"]
        results = list(score_files(RestClient(server.page, tiny.name), paths))
        assert results[0].score == pytest.approx(float(first["score"]), abs=1e-3)
        assert results[1].reason.startswith("2 frames")
    kept = sorted(path for path in (tmp_path / "kept").iterdir() if path.suffix != ".json")
    assert [path.suffix for path in kept] == [".png", ".png"]
    np.testing.assert_array_equal(cv2.imread(str(kept[0]))[..., ::-1], pixels)


def test_a_dicom_file_beyond_the_servers_limit_isnt_decoded(tiny, picture):
    import dicom_files as made

    from dr_keras.serving.settings import Limits

    data = made.file_bytes(made.dataset_of(picture[0]))
    with serving(tiny, limits=Limits(max_pixels=1000)) as server:
        status, answer = server.post("/grade", data)
    assert (status, answer["error"]) == (400, "photograph 0: expected at most 0.001 megapixels")
