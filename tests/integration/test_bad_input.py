"""What users get wrong, and disks that fill: one line, a status that isn't 0, nothing half-written."""

import os
import time

import pytest
from script_runs import SMALL, check_refused, limit_files, run


def test_a_truncated_model(tmp_path, trained):
    whole = (trained[0] / "fold_0/model.keras").read_bytes()
    (tmp_path / "cut.keras").write_bytes(whole[: len(whole) // 2])
    done = run("predict", f"--model={tmp_path / 'cut.keras'}", f"--output={tmp_path / 'out.csv'}", trained[0])
    check_refused(done, tmp_path / "cut.keras", "not a model saved by this project")
    assert os.listdir(tmp_path) == ["cut.keras"]


def test_a_run_folder_of_other_flags(dataset, trained):
    run_dir, cache, _ = trained
    before = sorted((path, path.stat().st_mtime_ns) for path in run_dir.rglob("*"))
    arguments = [
        *SMALL,
        "--l2=0.1",
        f"--data_dir={dataset[0]}",
        f"--run_dir={run_dir}",
        f"--cache_dir={cache}",
    ]
    check_refused(run("train", *arguments), f"--run_dir={run_dir}", "l2: 0.0005 there, 0.1 now")
    assert sorted((path, path.stat().st_mtime_ns) for path in run_dir.rglob("*")) == before


def test_a_disk_that_fills_while_training(tmp_path, dataset, trained):
    arguments = [
        *SMALL,
        f"--data_dir={dataset[0]}",
        f"--run_dir={tmp_path / 'run'}",
        f"--cache_dir={trained[1]}",
    ]
    done = run("train", *arguments, preexec_fn=limit_files(60_000))
    check_refused(
        done, tmp_path / "run/fold_0/model.keras", "File too large; nothing half-written was left behind"
    )
    left = {path.name for path in (tmp_path / "run").rglob("*") if path.is_file()}
    expected = {"run.cfg", "audit.json", "split.csv", "seen.npz"}
    assert {name for name in left if "tfevents" not in name} == expected


def test_a_disk_that_fills_while_exporting(tmp_path, trained):
    arguments = [f"--model={trained[0]}", f"--output_dir={tmp_path / 'out'}"]
    done = run("export", *arguments, preexec_fn=limit_files(60_000))
    check_refused(done, tmp_path / "out", "File too large")
    assert os.listdir(tmp_path / "out") == []


def test_a_disk_that_fills_while_preparing(tmp_path, dataset):
    arguments = [f"--data_dir={dataset[0]}", f"--output_dir={tmp_path / 'out'}", "--image_size=128"]
    done = run("prepare_data", *arguments, preexec_fn=limit_files(200_000))
    check_refused(done, tmp_path / "out/shard-00000.npy", "File too large")
    assert os.listdir(tmp_path / "out") == []


BAD_LABELS = {
    "label 9": (
        "image,level\n00.png,1\n01.png,9\n",
        "labels.csv, row 3: label '9' isn't a whole number from 0 to 4",
    ),
    "no column": ("image,stage\n00.png,1\n", "labels.csv: no column 'level' (columns found: image, stage)"),
    "empty": ("", "labels.csv: the file is empty"),
    "contradiction": (
        "image,level\n00.png,1\n00.png,2\n",
        "row 3: 00.png is listed with grade 2, but with grade 1",
    ),
    "no photograph": ("image,level\nx.png,1\n", "1 photographs listed in labels.csv aren't on disk"),
}


@pytest.mark.parametrize("case", BAD_LABELS)
def test_labels_that_cannot_be_used(tmp_path, case):
    text, expected = BAD_LABELS[case]
    (tmp_path / "labels.csv").write_text(text)
    (tmp_path / "00.png").touch()
    (tmp_path / "01.png").touch()
    check_refused(run("audit_data", f"--data_dir={tmp_path}", f"--output={tmp_path}/audit.json"), expected)
    assert sorted(os.listdir(tmp_path)) == ["00.png", "01.png", "labels.csv"]


BAD_FLAGS = {
    "unknown layout": (
        "prepare_data --data_dir={0} --output_dir={0}/out --image_size=128",
        "{0}: no known dataset layout",
    ),
    "another layout": ("audit_data --data_dir={0} --dataset=idrid", "{0}: no idrid dataset here; looked for"),
    "no folder": (
        "train --image_size=128 --data_dir={0}/nowhere --run_dir={0}/run",
        "{0}/nowhere: no such folder",
    ),
    "layout alone": ("audit_data --dataset=eyepacs", "--dataset=eyepacs: expected --data_dir too"),
    "size": ("train --image_size=100 --run_dir={0}/run", "of 128, 256, 384, 512, 640, 768, 1024, increasing"),
    "size of the paper": (
        "train --image_size=384 --run_dir={0}/run",
        "net5 has 128, 256, 512, 768 px only",
    ),
    "size of a backbone": (
        "train --architecture=efficientnet_lite0 --image_size=128 --run_dir={0}/run",
        "efficientnet_lite0 has 256, 384, 512, 640, 768 px only",
    ),
    "width of a backbone": (
        "train --architecture=efficientnet_lite1 --image_size=256 --width=1 --run_dir={0}/run",
        "--width=1.0: efficientnet_lite1 doesn't have it; only net5, net4, ram_net5 do",
    ),
    "biases of a backbone": (
        "train --architecture=efficientnet_lite1 --image_size=256 --untied_biases --run_dir={0}/run",
        "--untied_biases=True: efficientnet_lite1 doesn't have it; only net5, net4, ram_net5 do",
    ),
    "dense head of a backbone": (
        "train --architecture=efficientnet_lite2 --image_size=256 --head=dense --run_dir={0}/run",
        "efficientnet_lite2 has --head=gap or multiscale only",
    ),
    "weights that nobody published": (
        "train --image_size=256 --trunk_weights=imagenet --run_dir={0}/run",
        "have published weights; expected --trunk_weights=none",
    ),
    "no weights file": (
        "train --architecture=efficientnet_lite0 --image_size=256 --trunk_weights={0}/no --run_dir={0}/run",
        "--trunk_weights={0}/no: no such file; expected imagenet, none or a file",
    ),
    "head of AlexNet": (
        "train --architecture=alexnet --image_size=256 --run_dir={0}/run",
        "alexnet has --head=regression or classification only",
    ),
    "classifier without its loss": (
        "train --architecture=alexnet --image_size=256 --head=classification --run_dir={0}/run",
        "--head=classification needs --loss=cross_entropy and --freeze_through",
    ),
    "hidden units of another": (
        "train --image_size=128 --hidden=8 --run_dir={0}/run",
        "--hidden=8: net5 doesn't have it; only alexnet, caffenet, alexnet_torchvision do",
    ),
    "caps": (
        "train --image_size=128 --caps=1,2 --run_dir={0}/run",
        "expected five whole numbers separated by commas",
    ),
    "stored size": (
        "prepare_data --output_dir={0}/out --image_size=100",
        "--image_size=100: value should be one of",
    ),
    "range": (
        "train --image_size=128 --run_dir={0}/run --validation_fraction=0.9",
        "--validation_fraction=0.9",
    ),
    "numbers": (
        "train --image_size=128 --run_dir={0}/run --learning_rate=fast",
        "expected numbers separated by commas",
    ),
    "thresholds": (
        "predict --model={0} --output={0}/o.csv --thresholds=1,0,2,3 x",
        "expected four increasing numbers",
    ),
    "closed set": (
        "train --image_size=128 --run_dir={0}/run --loss=mean",
        "should be one of <mse|mae|huber|euclidean|cross_entropy|bce_dice>",
    ),
    "no such flag": (
        "train --image_size=128 --run_dir={0}/run --epoch=3",
        "Unknown command line flag 'epoch'",
    ),
    "no flagfile": ("train --flagfile={0}/no.cfg", "--flagfile={0}/no.cfg: no such file"),
    "required": ("evaluate --model={0}", "--output_dir"),
    "stray word": ("audit_data {0}", "{0}: not a flag; expected --name=value"),
    "no run": (
        "evaluate --model={0} --output_dir={0}/out",
        "{0}: no model.keras there; expected a run folder",
    ),
    "one model twice": (
        "evaluate --model={0}/notes.txt --model={0}/notes.txt --output_dir={0}/out",
        "--model={0}/notes.txt: named twice; expected different models",
    ),
    "no predictions": (
        "evaluate --model={0}/notes.txt --classifier={0}/no.csv --synthetic_images=10 --output_dir={0}/out",
        "{0}/no.csv: expected a table of predictions",
    ),
    "no photographs to show": (
        "progression --model={0} --output_dir={0}/out --count=0",
        "--count=0",
    ),
    "no model": ("predict --model={0}/x.keras --output={0}/o.csv y.jpg", "{0}/x.keras: no such model"),
    "nothing named": ("predict --model={0} --output={0}/o.csv", "expected photographs, or folders of them"),
    "output below a file": (
        "audit_data --synthetic_images=10 --output={0}/notes.txt/a.json",
        "{0}/notes.txt",
    ),
    "output is a photograph": (
        "predict --output={0}/eye.JPG {0}/eye.JPG",
        "--output={0}/eye.JPG: expected the name of a file that ends in .csv",
    ),
    "output is a folder": (
        "audit_data --synthetic_images=10 --output={0}",
        "error: --output={0}: expected the name of a file",
    ),
    "file for a folder": (
        "explain --output_dir={0}/notes.txt/out eye.jpg",
        "error: --output_dir={0}/notes.txt/out: can't be written, since {0}/notes.txt is a file",
    ),
    "a folder that takes no files": (
        "predict --output=/proc/grades.csv eye.jpg",
        "error: --output=/proc/grades.csv: can't be written to /proc: ",
    ),
    "list": (
        "predict --thresholds=1,2,3 eye.jpg",
        "error: --thresholds=1,2,3: expected four increasing numbers",
    ),
    "missing": ("explain eye.jpg", "error: --output_dir: must be given"),
    "no number": ("serve --model=x --port=80a", "error: --port=80a: expected a whole number"),
    "masks and a start": (
        "train --flagfile=flags/dr_grader.cfg --masks_dir=masks --init_from=dr_grader",
        "--masks_dir=masks: --init_from brings a segmentation; drop one of the two",
    ),
}


@pytest.mark.parametrize("case", BAD_FLAGS)
def test_flags_that_cannot_be_used(tmp_path, case):
    words, expected = BAD_FLAGS[case]
    (tmp_path / "notes.txt").write_text("no dataset here")
    start = time.monotonic()
    script, *arguments = [word.format(tmp_path) for word in words.split()]
    check_refused(run(script, *arguments), expected.format(tmp_path))
    assert time.monotonic() - start < 20  # loose: the machine may be busy
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_a_flagfile_that_leads_to_itself(tmp_path):
    (tmp_path / "a.cfg").write_text(f"--flagfile={tmp_path}/b.cfg\n")
    (tmp_path / "b.cfg").write_text("--flagfile=a.cfg\n")
    check_refused(run("train", f"--flagfile={tmp_path}/a.cfg"), "--flagfile=a.cfg: leads to itself")
