"""Pages in tests: reading a report without a browser, and a phone as a browser plays it."""

import base64
from html.parser import HTMLParser

import cv2
import numpy as np

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
VOID = {"meta", "img", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """A parsed page.

    Attributes:
        tags: list of (tag, attributes) in order.
        open: tags that were never closed; `wrong`: tags closed out of turn.
        words: the text, without styles.
    """

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.open, self.wrong, self._texts = [], [], [], []
        self.feed(text)
        self.close()
        self.words = " ".join(" ".join(self._texts).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        if "style" not in self.open:
            self._texts.append(data)

    def all(self, tag):
        """Attributes of each element of a kind."""
        return [attributes for name, attributes in self.tags if name == tag]

    def pictures(self):
        """Decoded images, by what they show."""
        found = {}
        for attributes in self.all("img"):
            kind, data = attributes["src"].split(",", 1)
            assert kind in ("data:image/png;base64", "data:image/jpeg;base64")
            picture = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
            found[attributes["alt"]] = picture[..., ::-1]
        return found
