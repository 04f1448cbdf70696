"""Running the scripts as a user does."""

import resource
import signal
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
SMALL = (
    "--image_size=128",
    "--width=0.1",
    "--epochs=1",
    "--batch_size=8",
    "--folds=2",
    "--thresholds=0.05,0.1,0.2,3",
)


def command(script, *arguments):
    return [sys.executable, str(SCRIPTS / f"{script}.py"), *map(str, arguments)]


def run(script, *arguments, **options):
    return subprocess.run(command(script, *arguments), capture_output=True, text=True, timeout=200, **options)


def check_refused(done, *expected):
    """One line on stderr, and no stack trace; returns the line."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert lines == done.stderr.splitlines()[-1:], done.stderr
    for text in expected:
        assert str(text) in lines[0]
    return lines[0]


def hear_ctrl_c():
    """Undoes what a shell does to programs in its background: they, and what they start, ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def limit_files(size):
    """Makes the disk full from `size` bytes a file on."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
