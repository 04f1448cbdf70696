import numpy as np
from handmade_explanations import explanation

from dr_keras.explain.contact_sheet import ContactSheet, score_text


def test_tiles_stand_by_grade_and_score():
    sheet = ContactSheet("Title", "True grade")
    for grade, score, grey in ((1, 1.0, 30), (3, 2.0, 60), (3, 3.0, 90)):
        sheet.add(explanation(score=score, grey=grey), f"eye{grey}", grade)
    assert len(sheet) == 3
    page = sheet.draw()
    found = {grey: np.argwhere((page == (200, grey, 40)).all(axis=-1)).mean(axis=0) for grey in (30, 60, 90)}
    assert abs(found[60][0] - found[90][0]) < 1 and found[90][1] < found[60][1]  # one row, falling scores
    assert found[30][0] > found[60][0] + 200  # the lower grade below
    assert abs(found[30][1] - found[90][1]) < 1


def test_each_tile_has_the_photograph_and_its_map():
    sheet = ContactSheet("Title", "Predicted grade", limit=4.0)
    sheet.add(explanation(heat=np.full((120, 200), -4.0, "float32")), "eye", 2)
    page = sheet.draw().astype(int)
    photograph = np.argwhere((page == (200, 110, 40)).all(axis=-1))
    blue = np.argwhere(page[..., 2] - page[..., 0] > 150)
    blue = blue[blue[:, 1] < 440 + 14]  # left of the colour bar
    assert 190 < np.ptp(photograph[:, 0]) <= 220 and 190 < np.ptp(photograph[:, 1]) <= 220
    assert blue[:, 1].min() >= photograph[:, 1].max()


def test_a_full_grade_keeps_its_first_and_tells_of_the_rest():
    sheet = ContactSheet("Title", "Predicted grade", most=2)
    for number in range(5):
        sheet.add(explanation(), f"eye{number}", 0)
    assert len(sheet) == 5
    assert sheet._heading(0) == "Predicted grade 0, no DR: the first 2 of 5"


def test_score_of_each_scale():
    assert score_text(explanation(score=5.46, scores=(6.01, 4.91))) == "score 5.46 (6.01, 4.91)"
    assert score_text(explanation(score=1.0, scores=(1.0,))) == "score 1.00"
