"""omaim/features/ladder_svg.py: the ladder in a browser."""

import re

from hypothesis import given
from hypothesis import strategies as st
from lxml import etree, html
from twisted.trial.unittest import SynchronousTestCase

from omaim.features.ladder import climb
from omaim.features.ladder_svg import draw_html, draw_svg
from omaim.net.wire import WireRecord
from tests.features import sessions
from tests.features.ladders import both, directory, records, request, response, sent, walk

SVG = "{http://www.w3.org/2000/svg}"


class PageTests(SynchronousTestCase):
    def test_click_shows_the_message(self) -> None:
        """Every arrow links to its message, which is on the page in full."""
        ladder = climb(walk(), directory())
        page = html.fromstring(draw_html(ladder, "A & B"))
        links = [link.get("href") for link in page.iter("a")]
        self.assertEqual(links, [f"#m{number}" for number in range(14)])
        for number, step in enumerate(ladder.steps):
            section = page.get_element_by_id(f"m{number}")
            self.assertEqual(section.find("pre").text, step.data.decode().replace("\r\n", "\n"))
            self.assertIn(step.point, section.text_content())
        self.assertEqual(page.findtext(".//title"), "A & B")

    def test_nothing_from_outside(self) -> None:
        """The page fetches nothing and runs nothing."""
        page = draw_html(climb(walk(), directory()))
        self.assertIn("default-src 'none'", page)
        for needle in ("<script", "src=", "@import", "url(", "onclick"):
            self.assertNotIn(needle, page.replace("default-src", ""))
        self.assertEqual(set(re.findall(r'href="(.)', page)), {"#"})

    def test_hostile_octets(self) -> None:
        """A message cannot bring markup into the page."""
        data = request(1, b"</pre></section><script>alert(1)</script>\x1b")
        page = draw_html(climb(both(0.0, "alice", "bob", data), directory()))
        self.assertNotIn("<script", page)
        self.assertNotIn("\x1b", page)
        self.assertIn("&lt;script&gt;", page)


class PictureTests(SynchronousTestCase):
    def test_kinds(self) -> None:
        """Answers, refusals and losses look different; a repetition is marked."""
        seen = [
            sent(0.0, "alice", "core-north", request()),
            *both(0.5, "alice", "core-north", request()),
            *both(0.6, "core-north", "alice", response(1, "403 Forbidden")),
            *both(0.7, "core-north", "core-north", request(2)),
        ]
        root = etree.fromstring(draw_svg(climb(seen, directory())).encode())
        kinds = [group.get("class") for group in root.iter(f"{SVG}g")]
        self.assertEqual(kinds, ["lost", "", "answer bad", ""])
        self.assertIn("↻", "".join(root.itertext()))

    def test_media(self) -> None:
        """MSRP looks different from SIP, and what goes over TLS says so."""
        seen = [
            *both(0.0, "alice", "core-north", request(), "TLS"),
            *sessions.both(0.1, "alice", "im-north", sessions.send()),
        ]
        root = etree.fromstring(draw_svg(climb(seen, sessions.directory())).encode())
        groups = list(root.iter(f"{SVG}g"))
        self.assertEqual([group.get("class") for group in groups], ["", "msrp"])
        said = ["".join(group.itertext()) for group in groups]
        self.assertEqual(["TLS" in text.replace("/TLS", "") for text in said], [True, False])

    @given(seen=st.lists(records, max_size=8))
    def test_anything(self, seen: list[WireRecord]) -> None:
        """Whatever was seen, the picture is well-formed, with one group a message."""
        ladder = climb(seen, directory())
        root = etree.fromstring(draw_svg(ladder).encode())
        self.assertEqual(len(list(root.iter(f"{SVG}g"))), len(ladder.steps))
        names = [text.text for text in root.iter(f"{SVG}text") if text.get("class") == "name"]
        self.assertEqual(len(names), len(ladder.parties))
