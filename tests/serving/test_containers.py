"""The container files against the project: what they copy, mount and call is there."""

import re
import shlex
from pathlib import Path

import pytest
from script_runs import run

ROOT = Path(__file__).resolve().parents[2]
SERVING = ROOT / "serving"


def dockerfile():
    """The Dockerfile's instructions: list of (name, rest), continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", (SERVING / "Dockerfile").read_text("utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(maxsplit=1)) for line in lines]


def test_what_the_image_copies_is_in_the_checkout():
    copied = [
        shlex.split(rest)[:-1] for name, rest in dockerfile() if name == "COPY" and "--from" not in rest
    ]
    names = [name for some in copied for name in some]
    assert {"setup.cfg", "dr_keras", "scripts", "flags", "savedmodels"} <= set(names)
    assert all((ROOT / name).exists() for name in names)


def test_the_image_serves_as_a_user_with_flags_that_exist():
    steps = dict(dockerfile())
    assert steps["USER"] != "root" and "/healthz" in steps["HEALTHCHECK"]
    command, verb, *flags = re.findall(r'"([^"]+)"', steps["ENTRYPOINT"])
    assert (command, verb) == ("dr-keras", "serve")
    known = set(re.findall(r"^\s+--(?:\[no\])?(\w+):", run("serve", "--helpfull").stdout, re.MULTILINE))
    assert {flag.split("=")[0].removeprefix("--") for flag in flags} <= known


def test_compose_mounts_files_that_exist_and_publishes_on_this_machine_alone():
    yaml = pytest.importorskip("yaml", reason="PyYAML isn't installed")
    services = yaml.safe_load((SERVING / "compose.yaml").read_text("utf-8"))["services"]
    assert set(services) == {"grader", "tensorflow-serving", "prometheus"}
    for service in services.values():
        assert service["read_only"] and service["cap_drop"] == ["ALL"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        for mount in service["volumes"]:
            if mount.startswith("./"):
                assert (SERVING / mount.split(":")[0]).is_file()
    targets = yaml.safe_load((SERVING / "prometheus.yaml").read_text("utf-8"))["scrape_configs"]
    hosts = {target.split(":")[0] for job in targets for target in job["static_configs"][0]["targets"]}
    assert hosts == set(services) - {"prometheus"}
