import cv2
import numpy as np
import pytest

from dr_keras.data import synthetic
from dr_keras.data.lesion_masks import ANY_LESION, masked_synthetic_photographs
from dr_keras.data.records import Record
from dr_keras.errors import InputError
from dr_keras.evaluation.maps.localisation import MEASURES
from dr_keras.evaluation.maps.map_evaluation import (
    evaluate_maps,
    find_unseen_networks,
    model_labels,
    untrained_networks,
)
from dr_keras.evaluation.maps.method_comparison import table
from dr_keras.inference.grader import load_grader
from dr_keras.models.grader_model import build_grader
from dr_keras.models.nets import net5, ram_net5
from dr_keras.report import map_figures
from dr_keras.training.run_folder import write_splits

NUM_EYES = 4


@pytest.fixture(scope="module")
def eyes(tmp_path_factory):
    """Graded photographs of four eyes, and the same photographs at another size and quality."""
    folder = tmp_path_factory.mktemp("eyes")
    graded, copies = [], []
    for number in range(NUM_EYES):
        image = synthetic.draw_fundus((9, number), 2, 300).image[..., ::-1]
        small = cv2.resize(image, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f"graded_{number}.png"), image)
        cv2.imwrite(str(folder / f"masked_{number}.jpg"), small)
        path = str(folder / f"graded_{number}.png")
        graded.append(Record(f"graded_{number}.png", path, 2, str(number)))
        copies.append(Record("", str(folder / f"masked_{number}.jpg"), None, ""))
    return graded, copies


@pytest.fixture(scope="module")
def run(tmp_path_factory, eyes):
    """A run of two folds: the first holds out eye 0, the second eye 1; both know eye 2, and eye 3 is new."""
    folder = tmp_path_factory.mktemp("run")
    for fold in range(2):
        leaf = folder / f"fold_{fold}"
        leaf.mkdir()
        network = ram_net5(128, width=0.05, seed=fold)
        build_grader(network, 128, (90, 60, 30), (70, 50, 30)).save(leaf / "model.keras")
        splits = ["held_out" if eye == fold else "validation" if eye == 2 else "train" for eye in range(3)]
        write_splits(leaf / "split.csv", eyes[0][:3], splits)
    return folder


def test_copies_are_judged_only_by_networks_that_never_saw_their_eye(run, eyes):
    graded, copies = eyes
    unseen, matched = find_unseen_networks([load_grader(run)], copies, graded)
    assert matched == NUM_EYES
    assert [(one.photograph, one.networks) for one in unseen] == [
        (copies[0], ((0,),)),
        (copies[1], ((1,),)),
        (copies[3], ((0, 1),)),
    ]  # eye 2 is known to both


def test_every_model_needs_a_network(run, eyes):
    graded, copies = eyes
    models = [load_grader(run), load_grader(run / "fold_0")]
    unseen, _ = find_unseen_networks(models, copies, graded)
    assert [(one.photograph, one.networks) for one in unseen] == [
        (copies[0], ((0,), (0,))),
        (copies[3], ((0, 1), (0,))),
    ]


def test_photographs_of_other_origin_are_judged_by_all(run):
    photographs = masked_synthetic_photographs(5, seed=1)
    unseen, matched = find_unseen_networks([load_grader(run)], photographs, [])
    assert matched == 0 and {one.networks for one in unseen} == {((0, 1),)}


def test_unreadable_photograph_is_named(run, eyes, tmp_path):
    broken = Record("", str(tmp_path / "broken.jpg"), None, "")
    with pytest.raises(InputError, match="broken.jpg: can't be read"):
        find_unseen_networks([load_grader(run)], [broken], eyes[0])


@pytest.fixture(scope="module")
def scored(run, tmp_path_factory):
    plain = tmp_path_factory.mktemp("plain") / "net.keras"
    build_grader(net5(128, width=0.05), 128, (90, 60, 30), (70, 50, 30)).save(plain)
    models = [load_grader(run), load_grader(plain)]
    unseen, _ = find_unseen_networks(models, masked_synthetic_photographs(5, seed=1)[:2], [])
    return models, unseen, evaluate_maps(models, unseen, ("ram", "gradcam"), max_side=200)


def test_every_method_is_beside_the_baselines(scored):
    _, _, result = scored
    assert set(result) == {
        "ram/ram_net5_128", "ram/net5_128", "gradcam/ram_net5_128", "gradcam/net5_128", "fused",
        "randomised/ram_net5_128", "randomised/net5_128", "random", "centre",
    }  # fmt: skip
    for rows in result.values():
        assert rows[ANY_LESION]["n"] == 2
        for measure in MEASURES:
            assert set(rows[ANY_LESION][measure]) == {"value", "low", "high"}
    prevalences = {rows[ANY_LESION]["prevalence"]["value"] for rows in result.values()}
    assert len(prevalences) == 1 and 0 < prevalences.pop() < 0.3


def test_the_randomised_baseline_has_as_many_networks_all_of_other_weights(scored):
    run = scored[0][0]
    first, second = untrained_networks(run.networks)
    images = np.random.default_rng(0).integers(0, 256, (4, 128, 128, 3)).astype("float32")
    scores = [np.ravel(network(images)) for network in (first, second)]
    assert len(run.networks) == 2 and np.isfinite(scores).all()
    assert np.abs(scores[0] - scores[1]).max() > 1e-3


def test_grad_cam_of_pooled_networks_scores_as_their_ram(scored):
    result = scored[2]
    for label in ("ram_net5_128", "net5_128"):
        ram, cam = (
            result[f"{method}/{label}"][ANY_LESION]["auprc"]["value"] for method in ("ram", "gradcam")
        )
        assert ram == pytest.approx(cam, rel=0.02)


def test_same_seed_same_figures(scored):
    models, unseen, result = scored
    again = evaluate_maps(models, unseen, ("ram",), max_side=200)
    assert again["random"][ANY_LESION] == result["random"][ANY_LESION]


def test_table_and_files(scored, tmp_path):
    models, unseen, result = scored
    text = "\n".join(table(result))
    assert "fused above" in text and "gradcam/net5_128 beats every baseline on" in text
    assert "prevalence" in text and "ram/ram_net5_128" in text and "pointing game" in text
    map_figures.write_maps(tmp_path, result, models, unseen)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["examples.png", "maps.json", "maps.png"]
    for name in ("examples.png", "maps.png"):
        assert np.ptp(cv2.imread(str(tmp_path / name))) > 100


def test_models_alike_are_numbered(run):
    model = load_grader(run)
    assert model_labels([model]) == ["ram_net5_128"]
    assert model_labels([model, model]) == ["ram_net5_128_1", "ram_net5_128_2"]
