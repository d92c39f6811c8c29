"""A report as a browser would see it."""

from html.parser import HTMLParser

import pytest

from vreid_fast.report import write_report

VOID = {"meta", "link", "img", "br", "path"}


class Page(HTMLParser):
    """What a browser would see: elements, text, and tags that do not close in order."""

    def __init__(self, text: str):
        super().__init__()
        self.elements, self.words, self.stack, self.broken = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if not self.stack or self.stack.pop() != tag:
            self.broken.append(tag)

    def handle_data(self, data):
        if self.stack[-1:] not in (["style"], ["title"]):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def write(tmp_path):
    def page(**changes) -> Page:
        arguments = {
            "title": "A run",
            "config": {},
            "environment": {},
            "history": [],
            "result": {},
            "ranked": [],
        }
        path = write_report(tmp_path / "runs" / "report.html", **(arguments | changes))
        assert [file.name for file in path.parent.iterdir()] == ["report.html"]
        text = path.read_text(encoding="utf-8")
        assert text.startswith("<!DOCTYPE html>")
        page = Page(text)
        assert page.broken == [] and page.stack == []
        # Nothing is fetched: no address at all, and every reference is inline or within the page.
        assert "http:" not in text and "https:" not in text and "@import" not in text and "url(" not in text
        for _, attributes in page.elements:
            for name in ("src", "href"):
                assert attributes.get(name, "#").startswith(("data:", "#"))
        return page

    return page
