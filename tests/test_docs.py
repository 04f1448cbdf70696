"""The documentation runs: the tutorial as it is printed, and the links between pages lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("savedmodels/*/*.md"))]
TUTORIAL = ROOT / "docs" / "tutorial.ipynb"
_TIMES = re.compile(r"[0-9.]+e?-?[0-9]*")


def printed(cell):
    """What a cell prints, without numbers, which differ in their last digits from machine to machine."""
    texts = []
    for output in cell.get("outputs", []):
        if output.output_type == "stream" and output.name == "stdout":
            texts.append(output.text)
        elif output.output_type in ("execute_result", "display_data"):
            texts.append(" ".join(sorted(output.data)))
    return _TIMES.sub("#", "".join(texts))


def test_the_tutorial_runs_and_prints_what_it_shows(tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shown = nbformat.read(TUTORIAL, 4)
    run = nbformat.read(TUTORIAL, 4)
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(run, timeout=120, kernel_name="python3", resources=place).execute()
    code = [(old, new) for old, new in zip(shown.cells, run.cells, strict=True) if old.cell_type == "code"]
    assert len(code) > 8
    for old, new in code:
        assert printed(old) == printed(new), old.source
        assert not any(output.output_type == "error" for output in new.outputs)


def test_the_tutorial_is_small():
    assert TUTORIAL.stat().st_size < 500_000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_pages_name_are_there(page):
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    named = re.findall(r"`((?:docs|scripts|flags|benchmarks|savedmodels|dr_keras|tests)/[\w./]+\.\w+)`", text)
    scripts = re.findall(r"python ((?:scripts|benchmarks)/\w+\.py)", text)
    for name in links:
        assert (page.parent / name).exists(), name
    for name in [*named, *scripts]:
        assert (ROOT / name).exists(), name
