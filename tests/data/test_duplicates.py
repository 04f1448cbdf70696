import cv2
import numpy as np
import pytest

from dr_keras.data.decoding import decode_image, read_image
from dr_keras.data.duplicates import (
    COPY_SIMILARITY,
    NEAR_SIMILARITY,
    find_duplicates,
    find_pairs,
    fingerprint,
    group_pairs,
    match_duplicates,
)


def recompress(image, quality):
    data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    return decode_image(data, "copy.jpg")


@pytest.fixture(scope="module")
def photographs(draw_photograph):
    return [draw_photograph(seed) for seed in range(12)]


@pytest.fixture(scope="module")
def fingerprints(photographs):
    return np.stack([fingerprint(image) for image in photographs])


def test_fingerprint_is_normalised(fingerprints):
    assert fingerprints.dtype == np.float32 and fingerprints.shape == (12, 4096)
    np.testing.assert_allclose(np.linalg.norm(fingerprints, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(fingerprints.mean(axis=1), 0, atol=1e-5)


def test_different_photographs_are_no_duplicates(fingerprints):
    assert find_duplicates(fingerprints) == []


@pytest.mark.parametrize(
    ("change", "least"),
    [
        (lambda image: recompress(image, 50), COPY_SIMILARITY),
        (lambda image: cv2.resize(image, (640, 480), interpolation=cv2.INTER_CUBIC), COPY_SIMILARITY),
        (lambda image: cv2.resize(image, (213, 160), interpolation=cv2.INTER_AREA), NEAR_SIMILARITY),
        (lambda image: cv2.copyMakeBorder(image, 9, 40, 60, 3, cv2.BORDER_CONSTANT), NEAR_SIMILARITY),
        (lambda image: (image * 0.6).astype(np.uint8), NEAR_SIMILARITY),
    ],
    ids=["recompressed", "enlarged", "reduced", "bordered", "darkened"],
)
def test_copies_are_found(photographs, fingerprints, change, least):
    copy = fingerprint(change(photographs[7]))[None]
    matches = match_duplicates(copy, fingerprints, least)
    assert [(match.first, match.second) for match in matches] == [(0, 7)]


def test_pairs_and_groups_name_the_right_photographs(fingerprints):
    everything = np.concatenate([fingerprints, fingerprints[[4, 2, 4]]])
    pairs = find_pairs(everything)
    assert [(p.first, p.second) for p in pairs] == [(2, 13), (4, 12), (4, 14), (12, 14)]
    assert all(p.similarity == pytest.approx(1, abs=1e-3) for p in pairs)
    assert find_duplicates(everything) == [(2, 13), (4, 12, 14)]


def test_blocks_do_not_shift_indices(monkeypatch, fingerprints):
    everything = np.concatenate([fingerprints, fingerprints[[4, 2, 4]]])
    whole = find_pairs(everything)
    monkeypatch.setattr("dr_keras.data.duplicates._BLOCK", 4)
    assert sorted(find_pairs(everything)) == whole
    assert [m[:2] for m in match_duplicates(fingerprints, fingerprints)] == [(i, i) for i in range(12)]


def test_blank_photographs_are_not_called_copies():
    blank = np.stack([fingerprint(np.zeros((100, 120, 3), np.uint8))] * 2)
    assert not blank.any()
    assert find_duplicates(blank) == []


def test_links_join_over_others():
    assert group_pairs(6, [(0, 3), (5, 3), (1, 2)]) == [(0, 3, 5), (1, 2)]


def _fingerprints(folder, pattern):
    paths = sorted(folder.glob(pattern))
    return [int(path.stem[-3:].strip("_")) for path in paths], np.stack(
        [fingerprint(read_image(path, min_side=256)) for path in paths]
    )


def test_idrid_pairs_and_masked_photographs(shared_dir):
    numbers, graded = _fingerprints(shared_dir / "idrid", "B. Disease Grading/1. Original Images/a. */*.jpg")
    assert len(numbers) == 413

    def named(groups):
        return sorted(tuple(numbers[index] for index in group) for group in groups)

    copies = [(21, 391), (28, 327), (45, 333), (73, 375), (79, 279)]
    assert named(find_duplicates(graded, COPY_SIMILARITY)) == copies
    # 13 and 397 are two exposures of one eye
    assert named(find_duplicates(graded)) == [(13, 397), *copies]

    masked_numbers, masked = _fingerprints(
        shared_dir / "idrid", "A. Segmentation/1. Original Images/a. */*.jpg"
    )
    matches = match_duplicates(masked, graded)
    assert len(masked_numbers) == 54
    assert len({match.first for match in matches}) == 44
    exposed_again = [m for m in matches if m.similarity < COPY_SIMILARITY]
    assert [(masked_numbers[m.first], numbers[m.second]) for m in exposed_again] == [(26, 299), (39, 271)]
