"""The benchmarks' command lines, which nothing else runs in the suite."""

import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def test_each_lists_its_flags():
    # What begins with torch_ needs a package that the project has no use for besides.
    scripts = [path for path in sorted(BENCHMARKS.glob("*.py")) if "__main__" in path.read_text()]
    scripts = [path for path in scripts if not path.name.startswith("torch_")]
    assert len(scripts) > 5
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = [subprocess.Popen([sys.executable, path, "--help"], **pipes) for path in scripts]
    for path, process in zip(scripts, started, strict=True):
        said, errors = process.communicate(timeout=120)
        assert process.returncode == 0, f"{path.name}: {errors}"
        assert f"{path.name}:" in said, path.name
