import cv2
import numpy as np
import pytest
from html_pages import Page

from dr_keras.report import html_page

PNG = cv2.imencode(".png", np.full((2, 3, 3), (10, 20, 30), np.uint8))[1].tobytes()
JPEG = cv2.imencode(".jpg", np.full((8, 16, 3), 90, np.uint8))[1].tobytes()


def whole(*blocks, name="first"):
    section = html_page.Section(name, "A & B", blocks)
    return html_page.page("Title", "Lead <1>", [section])


def test_a_page_is_whole_and_its_text_escaped():
    parsed = Page(whole("score < 1 & \"more\" <script>alert('x')</script>"))
    assert parsed.open == [] and parsed.wrong == []
    assert "script" not in {tag for tag, _ in parsed.tags}
    assert "score < 1 & \"more\" <script>alert('x')</script>" in parsed.words
    assert "A & B" in parsed.words and "Lead <1>" in parsed.words
    assert (
        parsed.words.count("Research use only. No output may guide") == 2
    )  # at the top, always in sight, and at the end
    assert [link["href"] for link in parsed.all("a")] == ["#first"]
    assert parsed.all("section")[0]["id"] == "first"
    assert parsed.all("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in parsed.all("meta")


def test_dollars_in_the_text_stay():
    assert "costs $5 and $title" in Page(whole("costs $5 and $title")).words


def test_pictures_are_inside_the_page():
    parsed = Page(whole(html_page.figure(PNG, 'a "picture"', "how to read it")))
    assert parsed.pictures()['a "picture"'].tolist() == [[[30, 20, 10]] * 3] * 2
    assert "how to read it" in parsed.words
    assert Page(html_page.image(JPEG, "x")).all("img")[0]["src"].startswith("data:image/jpeg;base64,")
    with pytest.raises(ValueError, match="`data` must be a PNG or JPEG file"):
        html_page.image(b"GIF89a", "x")


def test_tables_scroll_in_a_box_of_their_own():
    parsed = Page(html_page.table(("grade", "n"), [("0 <no>", 3), (1, "4 & 5")], "Caption"))
    assert parsed.all("div")[0]["class"] == "scroll"
    assert parsed.all("div")[0]["tabindex"] == "0"
    assert parsed.words == "Caption grade n 0 <no> 3 1 4 & 5"
    assert [cell["scope"] for cell in parsed.all("th")] == ["col", "col", "row", "row"]
    with pytest.raises(ValueError, match="`rows` must have 2 cells each"):
        html_page.table(("grade", "n"), [(1, 2, 3)], "Caption")


def test_photographs_of_a_row_are_equally_high():
    parsed = Page(html_page.photographs([([(PNG, "a", 1.5), (JPEG, "b", 2)], "below")], wide=True))
    assert [box["style"] for box in parsed.all("div") if "style" in box] == ["flex: 1.5000", "flex: 2.0000"]
    assert list(parsed.pictures()) == ["a", "b"]
    assert parsed.words == "below"


def test_sections_have_names_of_their_own():
    section = html_page.Section("one", "One", ())
    with pytest.raises(ValueError, match="`sections` must have names of their own"):
        html_page.page("t", "l", [section, section])
