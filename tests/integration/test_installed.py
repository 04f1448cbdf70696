"""What users have who installed a wheel and work in a folder of their own: the API, the console command."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest

from dr_keras.data.synthetic import draw_fundus

ROOT = Path(__file__).resolve().parents[2]

API = """
import dr_keras

grader = dr_keras.load_grader()              # the shipped one; or a run, a .keras, a SavedModel, a .tflite, an .onnx
graded = grader.grade("eye.jpg")             # path, bytes, PIL image, uint8 RGB array; a list of them gives a list
graded.score, graded.grade, graded.grade_name, graded.referable, graded.gradable, graded.reason
why = grader.explain("eye.jpg", method="ram")   # "gradcam", "occlusion"
why.heat, why.field_of_view, why.overlay()      # float32 (height, width) in grade units; a PIL image
dr_keras.models.net5(image_size=512)         # net4, ram_net5, alexnet, efficientnet_lite0, ...
dr_keras.metrics.QuadraticWeightedKappa()    # in compile(metrics=[...]) of anyone's model
dr_keras.explain.regression_activation_map(model, images)
dataset = dr_keras.data.open_dataset("FOLDER", image_size=512)   # recognised layout -> records, arrays, tf.data, audit
"""  # noqa: E501  word for word what the documentation promises

BEFORE = """
import time
start = time.perf_counter()
import dr_keras
seconds = time.perf_counter() - start
import json, sys
light = sorted({"keras", "tensorflow", "numpy", "cv2"} & set(sys.modules))
import keras, numpy as np
from dr_keras.shipped import GRADER, shipped_path
model = keras.models.load_model(shipped_path(*GRADER, "model.keras"))
images = np.zeros((2, *model.input_shape[1:]), "uint8")
"""

AFTER = """
dataset_facts = [len(dataset.records), list(dataset.images([0]).shape), sorted(dataset.grades.tolist())]
batch_images, batch_grades = next(iter(dataset.batches(2)))
import PIL.Image
print(json.dumps({
    "file": dr_keras.__file__, "seconds": seconds, "light": light,
    "graded": [graded.score, graded.grade, graded.grade_name, graded.referable, graded.gradable,
               graded.reason],
    "heat": [list(why.heat.shape), str(why.heat.dtype), why.score],
    "overlay": isinstance(why.overlay(), PIL.Image.Image), "found": why.field_of_view.found,
    "dataset": dataset_facts, "batch": [list(batch_images.shape), batch_images.dtype.name],
    "audit": dataset.audit()["photographs"], "layout": dataset.name,
    "names": sorted(set(dir(dr_keras)) & {"load_grader", "models", "metrics", "explain", "data"}),
    "models": sorted(set(dir(dr_keras.models)) & {"net5", "net4", "ram_net5", "alexnet"}),
}))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the project's wheel unpacked: what `pip install .` leaves, without its dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    source = folder / "source"
    source.mkdir()
    for name in ("dr_keras", "flags", "savedmodels", "scripts"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", wheel], check=True)
    return folder / "site"


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A folder with a photograph and a small dataset, and nothing of the project."""
    folder = tmp_path_factory.mktemp("somewhere")
    cv2.imwrite(str(folder / "eye.jpg"), draw_fundus(3, 2, 700).image[..., ::-1])
    for grade in range(2):
        (folder / "FOLDER" / str(grade)).mkdir(parents=True)
        for seed in range(2):
            image = draw_fundus((grade, seed), grade, 128).image
            cv2.imwrite(str(folder / "FOLDER" / str(grade) / f"{seed}.png"), image[..., ::-1])
    return folder


def run(site, folder, *command, **options):
    """Runs a command in a folder with the unpacked wheel before everything else on Python's path."""
    environment = {"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(folder / "cache")}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=240,
        **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(site, empty):
    done = run(site, empty, "-c", BEFORE + API + AFTER)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_api_works_word_for_word_from_an_installed_wheel(found, site):
    assert found["file"].startswith(str(site))
    score, grade, name, referable, gradable, reason = found["graded"]
    assert gradable and reason == "" and 0 <= grade <= 4 and name and referable == (grade >= 2)
    shape, dtype, explained = found["heat"]
    assert dtype == "float32" and len(shape) == 2 and explained == pytest.approx(score, abs=1e-4)
    assert found["overlay"] and found["found"]
    assert found["dataset"] == [4, [1, 512, 512, 3], [0, 0, 1, 1]] and found["layout"] == "folders"
    assert found["batch"] == [[2, 512, 512, 3], "uint8"] and found["audit"] == 4
    assert found["names"] == ["data", "explain", "load_grader", "metrics", "models"]
    assert found["models"] == ["alexnet", "net4", "net5", "ram_net5"]


def test_the_pages_come_with_it(site):
    folders = {"report/page": "page.js", "serving/page": "source.js", "export/browser": "package-lock.json"}
    for folder, name in folders.items():
        assert (site / "dr_keras" / folder / name).is_file()


def test_importing_the_package_is_light(found):
    assert found["light"] == [] and found["seconds"] < 0.05


def test_the_console_command_lists_its_verbs_at_once(site, empty):
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = run(site, empty, "-m", "dr_keras.cli", "--help")
        seconds.append(time.perf_counter() - start)
    assert done.returncode == 0 and "  grade " in done.stdout and "  train " in done.stdout
    assert min(seconds) < 0.5


def test_the_console_command_grades(site, empty, found):
    done = run(site, empty, "-m", "dr_keras.cli", "grade", "eye.jpg")
    assert done.returncode == 0, done.stderr[-2000:]
    line, counts = done.stdout.splitlines()
    grade, name, score = found["graded"][1], found["graded"][2], found["graded"][0]
    assert line.startswith(f"eye.jpg: grade {grade}, {name}, ") and line.endswith(f"(score {score:.2f})")
    assert counts == "1 graded, 0 not gradable, 0 unreadable"


def test_an_unknown_verb_names_the_known_ones(site, empty):
    done = run(site, empty, "-m", "dr_keras.cli", "gradee")
    assert done.returncode == 2 and done.stderr.startswith("error: 'gradee': no such verb; expected one of ")
    assert len(done.stderr.splitlines()) == 1


def test_recipes_are_found_from_any_folder(site, empty):
    """A recipe that names another one, too: the run's flags are those of both."""
    arguments = ["train", "--flagfile=flags/net5_128.cfg", "--data_dir=nowhere"]
    done = run(site, empty, "-m", "dr_keras.cli", *arguments)
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("error: nowhere: no such folder")
    done = run(site, empty, "-m", "dr_keras.cli", "train", "--flagfile=flags/nothing.cfg")
    assert done.stderr.splitlines()[-1].startswith("error: --flagfile=flags/nothing.cfg: no such file")


def test_a_script_without_the_package_says_how_to_install_it(tmp_path):
    done = subprocess.run(
        [sys.executable, "-S", "-E", ROOT / "scripts" / "predict.py", "eye.jpg"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert "dr_keras isn't installed; run: " in done.stderr and "pip install" in done.stderr
