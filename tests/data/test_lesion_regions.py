import numpy as np

from dr_keras.data.lesion_regions import lesion_regions


def test_touching_pixels_are_one_lesion_and_specks_are_none():
    mask = np.zeros((1000, 1000), bool)  # at least 10 pixels
    mask[10:14, 20:24] = True
    mask[14, 24] = True  # touches by its corner
    mask[500, 500] = True  # a speck
    mask[900:903, 100:120] = True
    count, labels, areas, centres = lesion_regions(mask)
    assert count == 2 and areas.tolist() == [17, 60]
    assert labels[14, 24] == labels[10, 20] == 1 and labels[901, 110] == 2 and labels[500, 500] == 0
    np.testing.assert_allclose(centres[1], (901.5, 110))  # y, x: the first pixel's centre is at 0.5


def test_an_empty_mask():
    count, labels, areas, centres = lesion_regions(np.zeros((64, 64), bool))
    assert count == 0 and not labels.any() and len(areas) == 0 and centres.shape == (0, 2)
