"""The documents: their code runs, what they name exists, and their pictures are small."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from dr_keras.data.synthetic import draw_fundus

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    path for pattern in ("README.md", "docs/*.md", "savedmodels/*/README.md") for path in ROOT.glob(pattern)
)
_FOLDERS = "scripts|flags|docs|benchmarks|serving|tests|dr_keras"
_NAMED_FILE = re.compile(rf"(?<![\w/])((?:{_FOLDERS})/[a-z0-9_/.-]*[a-z0-9_])\b")
_NAMED_MODULE_FILE = re.compile(r"`(?:dr_keras/)?(\w+/\w+\.py)`")
_NAMED_MODULE = re.compile(r"`(dr_keras(?:\.\w+)+)")


def test_readmes_first_blocks_train_the_demo_and_run_the_suite():
    first, second = re.findall(r"^```bash\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    assert first.splitlines()[-1] == "python scripts/train.py --flagfile=flags/demo.cfg"
    assert second.splitlines()[-1] == "pytest"


def test_readmes_python_grades_and_explains(tmp_path):
    (block,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    Image.fromarray(draw_fundus(3, 2, 400).image).save(tmp_path / "eye.jpg")
    run = subprocess.run(
        [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    score, grade = run.stdout.split()[:2]
    assert int(grade) in range(5) and 0 < float(score) < 5
    with Image.open(tmp_path / "why.png") as picture:
        assert min(picture.size) >= 400


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_files_and_modules_exist(document):
    text = document.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert [link for link in links if not (document.parent / link).exists()] == []
    assert [name for name in _NAMED_FILE.findall(text) if not (ROOT / name).exists()] == []
    module_files = [name for name in _NAMED_MODULE_FILE.findall(text) if not (ROOT / name).exists()]
    assert [name for name in module_files if not (ROOT / "dr_keras" / name).exists()] == []
    modules = [name for name in _NAMED_MODULE.findall(text) if name != "dr_keras.json"]  # in model files
    assert [name for name in modules if not _exists(name)] == []


def _exists(name):
    """Whether a dotted name is a module, or the last part is said somewhere in the module before it."""
    *parents, last = name.split(".")
    path, parent = ROOT.joinpath(*name.split(".")), ROOT.joinpath(*parents)
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    sources = [parent.with_suffix(".py"), parent / "__init__.py", parent / "__init__.pyi"]
    return any(re.search(rf"\b{last}\b", source.read_text()) for source in sources if source.is_file())


def test_pictures_are_small_and_shown():
    shown = "".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    for picture in (ROOT / "docs" / "pictures").iterdir():
        assert picture.stat().st_size < 150_000 and f"pictures/{picture.name}" in shown


# The tutorial

TUTORIAL = ROOT / "docs" / "tutorial.ipynb"
_NUMBER = re.compile(r"[0-9.]+e?-?[0-9]*")


def printed(cell):
    """What a cell prints, without numbers, which differ in their last digits from machine to machine."""
    texts = []
    for output in cell.get("outputs", []):
        if output.output_type == "stream" and output.name == "stdout":
            texts.append(output.text)
        elif output.output_type in ("execute_result", "display_data"):
            texts.append(" ".join(sorted(output.data)))
    return _NUMBER.sub("#", "".join(texts))


def test_the_tutorial_runs_and_prints_what_it_shows(tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    shown, run = nbformat.read(TUTORIAL, 4), nbformat.read(TUTORIAL, 4)
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(run, timeout=120, kernel_name="python3", resources=place).execute()
    code = [(old, new) for old, new in zip(shown.cells, run.cells, strict=True) if old.cell_type == "code"]
    assert len(code) > 8
    for old, new in code:
        assert printed(old) == printed(new), old.source
        assert not any(output.output_type == "error" for output in new.outputs)


def test_the_tutorial_is_small():
    assert TUTORIAL.stat().st_size < 500_000
