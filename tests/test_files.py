import csv
import json
import os
import resource
import stat
import subprocess
import sys
import threading

import pytest

from dr_keras import files


def test_text_replaces_the_file(tmp_path):
    path = tmp_path / "new" / "folder" / "note.txt"
    files.write_text(path, "first, longer")
    files.write_text(path, "größer")
    assert path.read_text(encoding="utf-8") == "größer"
    assert os.listdir(path.parent) == ["note.txt"]


@pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_who_may_read_the_file_is_the_umasks_to_say(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        files.write_text(tmp_path / "note.txt", "text")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "note.txt").stat().st_mode) == mode


def test_a_name_as_long_as_can_be(tmp_path):
    files.write_text(tmp_path / ("n" * 251 + ".txt"), "text")
    assert [len(name) for name in os.listdir(tmp_path)] == [255]


def test_names_that_are_no_text_are_kept_byte_for_byte(tmp_path):
    name = os.fsdecode(b"eye\xff.jpg")
    files.write_json(tmp_path / "a.json", {"image": name})
    with files.csv_rows(tmp_path / "a.csv", ["image"]) as write:
        write([name])
    assert b"eye\xff.jpg" in (tmp_path / "a.json").read_bytes()
    assert (tmp_path / "a.csv").read_bytes() == b"image\neye\xff.jpg\n"


def test_a_name_that_a_spreadsheet_would_run_gets_a_quote(tmp_path):
    names = ["=cmd|' /C calc'!A0.jpg", "+1.jpg", "-1.jpg", "@sum.jpg", "plain.jpg", "'quoted.jpg"]
    with files.csv_rows(tmp_path / "a.csv", ["image", "score"]) as write:
        for name in names:
            write([name, -0.5])
    with open(tmp_path / "a.csv", newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert [row[0] for row in rows] == ["'" + name for name in names[:4]] + names[4:]
    assert {row[1] for row in rows} == {"-0.5"}  # a number is one
    assert [files.plain_text(row[0]) for row in rows] == names


def test_what_a_killed_writer_left_is_removed_and_a_living_ones_is_not(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    with files.atomic_path(tmp_path / "first.txt") as living:
        (tmp_path / living.name.replace(f".{os.getpid()}.", f".{dead.pid}.")).write_text("half")
        (tmp_path / ".part-00000000.1.abcdef12-other.txt").write_text("another host's")
        files._cleared.clear()
        with files.atomic_path(tmp_path / "second.txt"):
            left = sorted(path.name for path in tmp_path.glob(".part-*"))
        assert len(left) == 3 and not any(f".{dead.pid}." in name for name in left)


def test_the_temporary_file_lies_beside_with_the_same_suffix(tmp_path):
    with files.atomic_path(tmp_path / "map.png") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".png"
        assert not (tmp_path / "map.png").exists()
        temporary.write_bytes(b"whole")
    assert (tmp_path / "map.png").read_bytes() == b"whole"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "note.txt"
    path.write_text("old")
    with pytest.raises(error):
        with files.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["note.txt"]


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            files.write_text(tmp_path / "note.txt", "x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == []


def test_json_has_null_for_nan(tmp_path):
    value = {"kappa": float("nan"), "rows": [1, (2.5, float("nan"))], "name": "é"}
    files.write_json(tmp_path / "metrics.json", value)
    text = (tmp_path / "metrics.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"kappa": None, "rows": [1, [2.5, None]], "name": "é"}
    assert text.startswith('{\n  "kappa": null')
    assert text.endswith("}\n")


def test_a_full_disk_is_told_with_the_file_that_was_meant(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError) as caught:
            files.write_text(tmp_path / "note.txt", "x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(tmp_path / "note.txt")


def test_the_sole_writer_clears_what_a_killed_one_left(tmp_path):
    (tmp_path / ".part-note-abcd1234.txt").write_text("half")
    (tmp_path / "note.txt").write_text("whole")
    with files.sole_writer(tmp_path):
        assert os.listdir(tmp_path) == ["note.txt"]


def test_a_second_writer_waits_for_the_first(tmp_path):
    entered = threading.Event()

    def second():
        with files.sole_writer(tmp_path / "folder"):
            entered.set()

    with files.sole_writer(tmp_path / "folder"):
        thread = threading.Thread(target=second)
        thread.start()
        assert not entered.wait(0.2)
    assert entered.wait(10)
    thread.join()


def test_a_folder_is_refused_before_the_work_that_the_file_was_to_hold(tmp_path):
    with pytest.raises(IsADirectoryError, match="Is a directory"), files.atomic_path(tmp_path):
        pytest.fail("the block ran")
