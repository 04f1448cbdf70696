import cv2
import numpy as np
import pytest

from dr_keras.data.layouts.masked import find_masked_photographs
from dr_keras.errors import InputError


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((40, 60, 3), 200, "uint8"))


def test_ddr(tmp_path):
    root = tmp_path / "lesion_segmentation"
    for part, labels in (("train", "label"), ("valid", "segmentation label")):
        write(root / part / "image" / f"{part}-1.jpg")
        write(root / part / "image" / f"{part}-2.jpg")  # without a mask
        write(root / part / labels / "EX" / f"{part}-1.tif")
        for other in ("HE", "MA", "SE"):
            (root / part / labels / other).mkdir()
    found = find_masked_photographs(tmp_path)
    assert [one.image for one in found] == ["train/train-1", "valid/valid-1"]
    assert found == find_masked_photographs(root)
    assert list(found[0].masks) == ["hard_exudates"] and found[0].unmarked == ()


def test_fgadr(tmp_path):
    for name in ("0001_1", "0002_1"):
        write(tmp_path / "Seg-set" / "Original_Images" / f"{name}.png")
    write(tmp_path / "Seg-set" / "Hemohedge_Masks" / "0001_1.png")
    write(tmp_path / "Seg-set" / "SoftExudate_Masks" / "0002_1.png")
    first, second = find_masked_photographs(tmp_path)
    assert first.image == "0001_1" and list(first.masks) == ["haemorrhages"]
    assert list(second.masks) == ["soft_exudates"]
    assert first.unmarked == ("microaneurysms", "hard_exudates")  # their folders aren't there


def test_e_ophtha(tmp_path):
    """Its two parts mark one kind each: what the other part would mark is unknown, not absent."""
    exudates, aneurysms = tmp_path / "e_optha_EX", tmp_path / "e_optha_MA"
    write(exudates / "EX" / "E1" / "C1.jpg")
    write(exudates / "Annotation_EX" / "E1" / "C1_EX.png")
    write(aneurysms / "MA" / "E2" / "D2.JPG")
    write(aneurysms / "Annotation_MA" / "E2" / "D2.png")
    write(aneurysms / "healthy" / "E3" / "D3.JPG")
    first, second = find_masked_photographs(tmp_path)
    assert (first.image, second.image) == ("MA/E2/D2", "EX/E1/C1")
    assert first.masks["microaneurysms"].endswith("E2/D2.png")
    assert second.masks["hard_exudates"].endswith("C1_EX.png")
    assert "hard_exudates" in first.unmarked and "microaneurysms" in second.unmarked
    assert find_masked_photographs(exudates) == [second]


def test_plain_folders(tmp_path):
    write(tmp_path / "images" / "left" / "a.jpg")
    write(tmp_path / "images" / "b.jpg")
    write(tmp_path / "masks" / "haemorrhages" / "a.png")
    write(tmp_path / "masks" / "optic_disc" / "a.png")
    write(tmp_path / "masks" / "optic_disc" / "b.png")
    (found,) = find_masked_photographs(tmp_path)  # b has no lesion marked
    assert found.image == "left/a" and list(found.masks) == ["haemorrhages"]
    assert found.optic_disc.endswith("optic_disc/a.png")
    assert found.unmarked == ("microaneurysms", "hard_exudates", "soft_exudates")


def test_masks_without_photographs(tmp_path):
    (tmp_path / "images").mkdir()
    write(tmp_path / "masks" / "haemorrhages" / "a.png")
    with pytest.raises(InputError, match="no photograph there has a lesion mask"):
        find_masked_photographs(tmp_path)
