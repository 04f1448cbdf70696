"""The page in a browser, used as a person does."""

import json
import os
import re

import cv2
import numpy as np
import pytest
from html_pages import PHONE, Page
from PIL import Image
from running_server import serving


@pytest.fixture(scope="module")
def server(tiny):
    with serving(tiny) as running:
        yield running


@pytest.fixture(scope="module")
def files(photographs, tmp_path_factory):
    """Folder with two photographs, a picture of no retina, and a file that is no picture."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in (1, 3):
        (folder / f"eye{number}.jpg").write_bytes(photographs[number])
    cv2.imwrite(str(folder / "blue.png"), np.full((300, 400, 3), (200, 120, 30), np.uint8))
    (folder / "notes.jpg").write_text("<b>no picture</b>")
    return folder


def open_page(browser, server, **options):
    """The page, and the addresses of all that it asks for."""
    page, asked = browser.new_page(**options), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server.page)
    return page, asked


def grade(page, *paths):
    """Chooses files and waits until all are done; returns their cards, in the order chosen."""
    page.set_input_files("#choose", [str(path) for path in paths])
    page.locator("#status", has_text=re.compile("^Done")).wait_for(timeout=60000)
    return page.locator("article")


def keep_picture(page, name):
    """Writes a screenshot into the folder that SCREENSHOTS names, to be looked at."""
    if os.environ.get("SCREENSHOTS"):
        page.screenshot(path=f"{os.environ['SCREENSHOTS']}/{name}.png", full_page=True)


def test_photograph_gets_grade_overlay_and_report(browser, server, tiny, files, photographs, tmp_path):
    page, asked = open_page(browser, server, viewport={"width": 1280, "height": 900})
    assert "Research use only." in page.locator(".notice").inner_text()
    card = grade(page, files / "eye3.jpg")
    expected = server.post("/grade", photographs[3])[1]
    assert card.locator("h3").inner_text() == "eye3.jpg"
    assert card.locator(".grade").inner_text() == f"Grade {expected['grade']}: {expected['grade_name']}"
    facts = card.locator("dl").inner_text()
    chance = f"probability of referable disease {expected['referable_probability']:.2f}"
    chance = f"{'yes' if expected['referable'] else 'no'}; {chance}"
    assert f"{expected['score']:.2f}" in facts and chance in facts
    shown = page.evaluate("[...document.images].map((image) => [image.naturalWidth, image.offsetWidth > 0])")
    assert shown == [[Image.open(files / "eye3.jpg").width, True]] * 3
    overlay, slider = card.locator(".overlay"), card.get_by_label("Opacity of the map")
    assert overlay.evaluate("(image) => getComputedStyle(image).opacity") == "1"
    slider.fill("40")
    assert overlay.evaluate("(image) => getComputedStyle(image).opacity") == "0.4"
    scale = card.locator(".scale")
    assert scale.inner_text().split() == ["\u221212", "0", "+12", "grade", "units"]
    gradient = scale.evaluate("(bar) => getComputedStyle(bar, '::before').backgroundImage")
    assert gradient.startswith("linear-gradient(to right, rgb(") and gradient.count("rgb(") == 17
    assert tiny.metadata["sha256"] in page.locator("footer").inner_text()
    keep_picture(page, "desktop")
    first = overlay.get_attribute("src")
    card.get_by_label("Occlusion").check()
    card.get_by_alt_text("Occlusion map over the photograph").wait_for(timeout=60000)
    assert overlay.get_attribute("src") != first
    assert overlay.evaluate("(image) => getComputedStyle(image).opacity") == "0.4"
    assert "loses when a part is hidden" in card.locator(".map figcaption").inner_text()
    assert scale.inner_text().split() == ["\u22121", "0", "+1", "grade", "unit"]
    slider.fill("90")
    assert overlay.evaluate("(image) => getComputedStyle(image).opacity") == "0.9"
    keep_picture(page, "occlusion")
    card.get_by_label("Regression activation map").check()
    assert overlay.get_attribute("src") == first and [url for url in asked if url.endswith("/explain")] == []
    with page.expect_download() as download:
        card.get_by_role("button", name="Download report").click()
    assert download.value.suggested_filename == "eye3_report.html"
    download.value.save_as(tmp_path / "report.html")
    report = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "eye3.jpg" in report.words and expected["grade_name"] in report.words
    assert len(report.pictures()) == 2
    assert all(url.startswith((server.page, "blob:", "data:")) for url in asked), asked
    page.goto(f"file://{tmp_path}/report.html")
    keep_picture(page, "report")


def test_bad_files_are_told_and_stop_nothing(browser, server, files):
    page, _ = open_page(browser, server)
    cards = grade(page, files / "blue.png", files / "notes.jpg", files / "eye1.jpg")
    assert cards.count() == 3 and page.locator("#status").inner_text() == "Done. 1 of 3 photographs graded."
    blue, notes, eye = (cards.nth(k) for k in range(3))
    assert re.fullmatch(r"Grade \d: .+", eye.locator(".grade").inner_text())
    assert not eye.locator(".problem").is_visible()
    assert "not an image" in notes.get_by_role("alert").inner_text()
    assert not notes.locator("img").first.is_visible()
    assert "no visible retina" in blue.get_by_role("alert").inner_text()
    assert blue.locator(".grade").inner_text() == "Not gradable" and not blue.locator(".map").is_visible()
    keep_picture(page, "bad_files")
    page.get_by_role("button", name="Clear all results").click()
    assert cards.count() == 0 and page.evaluate("document.activeElement.id") == "choose"


def test_a_dicom_file_is_shown_though_no_browser_knows_it(browser, server, photographs, tmp_path):
    import dicom_files as made

    pixels = cv2.imdecode(np.frombuffer(photographs[3], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    (tmp_path / "eye.dcm").write_bytes(made.file_bytes(made.dataset_of(pixels)))
    page, _ = open_page(browser, server)
    assert ".dcm" in page.locator("#choose").get_attribute("accept")
    card = grade(page, tmp_path / "eye.dcm")
    assert card.locator(".grade").inner_text().startswith("Grade ")
    widths = card.locator("img:visible").evaluate_all("(all) => all.map((image) => image.naturalWidth)")
    assert widths == [pixels.shape[1]] * 3
    keep_picture(page, "dicom")


def test_phone(browser, server, files):
    page, _ = open_page(browser, server, **PHONE)
    assert page.locator("#take").get_attribute("capture") == "environment"
    page.set_input_files("#take", str(files / "eye1.jpg"))
    page.locator("#status", has_text=re.compile("^Done")).wait_for(timeout=60000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_label("Occlusion").check()
    page.get_by_alt_text("Occlusion map over the photograph").wait_for(timeout=60000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    keep_picture(page, "phone")
    for label in page.locator("label.button").all():
        assert label.bounding_box()["height"] >= 44
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    notice = page.locator(".notice").bounding_box()
    assert notice["y"] == 0 and notice["height"] > 20  # still in sight


def test_keyboard_and_screen_reader(browser, server, files):
    page, _ = open_page(browser, server)
    grade(page, files / "eye1.jpg")
    page.evaluate("document.activeElement.blur()")
    order = []
    for _ in range(5):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id || document.activeElement.type"))
    assert order[:3] == ["choose", "radio", "range"] and order[3] in ("submit", "button")
    assert order[4] == "clear"
    page.get_by_label("Opacity of the map").focus()
    page.keyboard.press("ArrowLeft")
    assert page.get_by_label("Opacity of the map").get_attribute("aria-valuetext") == "95 percent"
    status = page.get_by_role("status")
    assert status.get_attribute("aria-live") == "polite" and "eye1.jpg: Grade" in status.inner_text()
    unnamed = page.evaluate(
        "[...document.querySelectorAll('input, button')].filter((item) => item.offsetParent !== null && "
        "!item.labels?.length && !item.innerText && !item.getAttribute('aria-label')).length"
    )
    assert unnamed == 0
    assert page.evaluate("[...document.images].every((image) => image.hasAttribute('alt'))")


def test_photographs_can_be_dropped(browser, server, files, photographs):
    page, _ = open_page(browser, server)
    transfer = page.evaluate_handle(
        "(bytes) => { const all = new DataTransfer(); "
        "all.items.add(new File([new Uint8Array(bytes)], 'dropped.jpg')); return all; }",
        list(photographs[1]),
    )
    page.dispatch_event("main", "drop", {"dataTransfer": transfer})
    page.locator("#status", has_text="Done. dropped.jpg: Grade").wait_for(timeout=60000)


def test_token_is_asked_for(browser, tiny, files):
    with serving(tiny, token="a-token-of-some-length") as server:
        page, _ = open_page(browser, server)
        card = grade(page, files / "eye1.jpg")
        assert "asks for its access token" in card.get_by_role("alert").inner_text()
        page.get_by_label("Access token").fill("a-token-of-some-length")
        cards = grade(page, files / "eye3.jpg")
        page.locator("#status", has_text="eye3.jpg: Grade").wait_for(timeout=60000)
        assert re.match("Grade", cards.first.locator(".grade").inner_text())
        assert json.loads(page.locator("body").get_attribute("data-model"))["needs_token"]


def test_photograph_that_cannot_be_kept_is_shown_with_its_grade(browser, tiny, files, tmp_path):
    with serving(tiny, save_dir=tmp_path / "kept") as server:
        (tmp_path / "kept").rmdir()
        (tmp_path / "kept").write_text("")  # in the folder's place
        page, _ = open_page(browser, server)
        card = grade(page, files / "eye1.jpg")
        assert re.match("Grade", card.locator(".grade").inner_text())
        assert "Graded, but the server couldn't keep" in card.get_by_role("alert").inner_text()
