import numpy as np
import pytest

from dr_keras.data.records import Record
from dr_keras.errors import InputError
from dr_keras.training import run_folder

FLAGS = "# python scripts/train.py --flagfile=THIS_FILE\n--epochs=3\n--resample\n--width=0.1\n"


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def records(*grades):
    return [Record(f"a,{i}.png", f"/x/{i}", grade, f"p{i // 2}") for i, grade in enumerate(grades)]


# Finding models


def test_model_file_leaf_and_stage(tmp_path):
    file = touch(tmp_path / "other.keras")
    assert run_folder.find_model(file) == file
    leaf = touch(tmp_path / "leaf" / "model.keras")
    assert run_folder.find_model(tmp_path / "leaf") == leaf
    assert run_folder.find_model(str(tmp_path / "leaf"), fold=3) == leaf  # a run without folds ignores it
    touch(tmp_path / "chain" / "128" / "model.keras")
    last = touch(tmp_path / "chain" / "1024" / "model.keras")
    assert run_folder.find_model(tmp_path / "chain") == last  # by number, not by name
    assert run_folder.stage_dir(tmp_path / "chain") == tmp_path / "chain" / "1024"
    assert run_folder.find_models(tmp_path / "chain") == [last]


def test_folds_in_order(tmp_path):
    models = [touch(tmp_path / "256" / f"fold_{fold}" / "model.keras") for fold in range(11)]
    touch(tmp_path / "128" / "fold_0" / "model.keras")
    touch(tmp_path / "256" / "fold_notes" / "x")
    assert run_folder.fold_dirs(tmp_path) == [model.parent for model in models]
    assert run_folder.find_model(tmp_path, fold=10) == models[10]
    assert run_folder.find_model(tmp_path / "128", fold=0) == tmp_path / "128" / "fold_0" / "model.keras"
    assert run_folder.find_models(tmp_path) == models
    with pytest.raises(InputError, match=r"holds 11 folds; name one of them, such as .*256/fold_0"):
        run_folder.find_model(tmp_path)
    with pytest.raises(InputError, match="no model.keras there"):
        run_folder.find_model(tmp_path, fold=11)


def test_no_model(tmp_path):
    with pytest.raises(InputError, match="none: no such model; expected a run folder or a .keras file"):
        run_folder.find_model(tmp_path / "none")
    with pytest.raises(InputError, match="no model.keras there; expected a run folder of scripts/train.py"):
        run_folder.find_model(tmp_path)


# Splits


def test_splits_round_trip(tmp_path):
    path = tmp_path / "split.csv"
    run_folder.write_splits(path, records(0, 4, None), ["train", "held_out", ""])
    assert path.read_text().splitlines()[:2] == ["image,patient,level,split", '"a,0.png",p0,0,train']
    assert run_folder.read_splits(path) == {"a,0.png": "train", "a,1.png": "held_out", "a,2.png": ""}
    assert run_folder.read_splits(tmp_path / "none.csv") == {}
    assert run_folder.read_patients(path) == {"a,0.png": "p0", "a,1.png": "p0", "a,2.png": "p1"}
    assert run_folder.read_patients(tmp_path / "none.csv") == {}


def test_splits_of_known_and_unknown_photographs(tmp_path):
    path = tmp_path / "split.csv"
    run_folder.write_splits(path, records(0, 4, None), ["train", "held_out", ""])
    met = records(0, 3, None, 1)  # the second has another grade here, the fourth is new
    assert run_folder.splits_of(path, met).tolist() == ["train", "unknown", "", "unknown"]
    np.testing.assert_array_equal(run_folder.splits_of(tmp_path / "none.csv", met), ["unknown"] * 4)


def test_splits_need_one_for_each_record(tmp_path):
    with pytest.raises(ValueError):
        run_folder.write_splits(tmp_path / "split.csv", records(0, 1), ["train"])
    assert list(tmp_path.iterdir()) == []


# Whose folder it is


def test_claim_makes_and_recognises_a_folder(tmp_path):
    run_dir = tmp_path / "runs" / "a"
    run_folder.claim_run_dir(run_dir, FLAGS)
    assert (run_dir / "run.cfg").read_text() == FLAGS
    touch(run_dir / "history.csv")
    run_folder.claim_run_dir(run_dir, FLAGS.replace("# python", "# another remark: python"))
    assert (run_dir / "run.cfg").read_text() == FLAGS


def test_other_flags_are_named(tmp_path):
    run_folder.claim_run_dir(tmp_path / "a", FLAGS)
    touch(tmp_path / "a" / "history.csv")
    other = FLAGS.replace("epochs=3", "epochs=30").replace("--width=0.1", "--seed=5")
    with pytest.raises(InputError) as caught:
        run_folder.claim_run_dir(tmp_path / "a", other)
    message = str(caught.value)
    assert message.startswith(f"--run_dir={tmp_path / 'a'}: belongs to other flags (")
    assert "--epochs: 3 there, 30 now" in message
    assert "--seed: None there, 5 now" in message and "--width: 0.1 there, None now" in message
    assert "resample" not in message and "\n" not in message
    assert (tmp_path / "a" / "run.cfg").read_text() == FLAGS


def test_a_switched_flag_is_named(tmp_path):
    run_folder.claim_run_dir(tmp_path / "a", FLAGS)
    touch(tmp_path / "a" / "history.csv")
    with pytest.raises(InputError, match="resample"):
        run_folder.claim_run_dir(tmp_path / "a", FLAGS.replace("--resample", "--noresample"))


def test_a_folder_in_which_nothing_was_trained_may_be_taken(tmp_path):
    run_folder.claim_run_dir(tmp_path / "a", FLAGS)
    touch(tmp_path / "a" / "audit.json")
    other = FLAGS.replace("epochs=3", "epochs=30")
    run_folder.claim_run_dir(tmp_path / "a", other)
    assert (tmp_path / "a" / "run.cfg").read_text() == other


def test_folders_that_hold_something_else(tmp_path):
    touch(tmp_path / "photographs" / "1.png")
    for folder in (tmp_path / "photographs", tmp_path / "photographs" / "1.png"):
        with pytest.raises(InputError, match="not empty and no run folder"):
            run_folder.claim_run_dir(folder, FLAGS)
    (tmp_path / "empty").mkdir()
    run_folder.claim_run_dir(tmp_path / "empty", FLAGS)


def test_flags_of_a_run_are_found_from_inside_it(tmp_path):
    run_folder.claim_run_dir(tmp_path / "run", FLAGS)
    model = touch(tmp_path / "run" / "128" / "fold_1" / "model.keras")
    expected = {"epochs": "3", "resample": "true", "width": "0.1"}
    for path in (model, model.parent, model.parent.parent, tmp_path / "run"):
        assert run_folder.read_flags(path) == expected
    assert run_folder.read_flags(tmp_path) == {}


def test_a_report_does_not_replace_the_runs_own(tmp_path):
    run_folder.claim_run_dir(tmp_path / "run", FLAGS)
    with pytest.raises(InputError, match="holds a run and its own report; name another folder"):
        run_folder.check_report_dir(tmp_path / "run")
    touch(tmp_path / "run" / "fold_0" / "split.csv")
    with pytest.raises(InputError, match="holds a run"):
        run_folder.check_report_dir(tmp_path / "run" / "fold_0")
    run_folder.check_report_dir(tmp_path / "report")


def test_a_second_training_says_that_the_first_is_running(tmp_path):
    run_folder.claim_run_dir(tmp_path / "run", "--seed=1\n")
    with run_folder.held(tmp_path / "run"):
        with pytest.raises(InputError, match="run: another training is running in it"):
            with run_folder.held(tmp_path / "run"):
                pass
    with run_folder.held(tmp_path / "run"):
        pass
