"""What a MESSAGE carries, however it is wrapped."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import binary, sampled_from, text
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.cpim import Cpim
from omaim.bodies.mime import Part
from omaim.bodies.multipart import Multipart
from omaim.errors import PeerError
from omaim.im.content import Content
from omaim.sip.message import Request
from tests.im.support import cpim


def mixed(*parts: tuple[str, bytes]) -> Content:
    """Return a multipart of these types and contents."""
    made = Multipart("mixed", [Part([("Content-Type", kind)], data) for kind, data in parts])
    return Content(*made.write())


WRAPPINGS = (
    Content("text/plain", b"hello"),
    Content("TEXT/Plain ; charset=iso-8859-1", b"hello"),
    Content("message/cpim", cpim()),
    mixed(("image/png", b"\x89"), ("text/plain", b"hello")),
    mixed(("message/cpim", cpim()), ("application/pdf", b"%")),
)


class ContentTests(SynchronousTestCase):
    def test_text(self) -> None:
        """The text is found in every wrapping."""
        for content in WRAPPINGS:
            self.assertEqual(content.text, "hello", content.content_type)

    @given(sampled_from(WRAPPINGS), text(max_size=40))
    def test_with_text(self, content: Content, other: str) -> None:
        """Another text takes its place, and what is around it stays."""
        changed = content.with_text(other)
        self.assertEqual(changed.text, other)
        self.assertEqual(changed.media_type, content.media_type)
        self.assertEqual(changed.message_id, content.message_id)

    @given(
        sampled_from(("text/plain", "message/cpim", "multipart/mixed;boundary=b", "", "x")),
        binary(max_size=200),
    )
    def test_junk(self, kind: str, body: bytes) -> None:
        """Junk raises PeerError only."""
        content = Content(kind, body)
        for read in (
            lambda: content.cpim,
            lambda: content.inner,
            lambda: content.text,
            lambda: content.is_report,
            lambda: content.is_composing,
            lambda: content.plain(),
            lambda: content.with_text("x"),
        ):
            try:
                read()
            except PeerError:
                pass

    def test_length_inside(self) -> None:
        """A length inside CPIM is not left wrong."""
        part = Part([("Content-Type", "text/plain"), ("Content-Length", "5")], b"hello")
        message = Cpim(Cpim.parse(cpim()).headers, part)
        changed = Content("message/cpim", message.to_bytes()).with_text("longer than five")
        again = Cpim.parse(changed.body)
        self.assertEqual(again.part.first("Content-Length"), "")
        self.assertEqual(again.part.text(), "longer than five")

    def test_plain(self) -> None:
        """Only text goes without its CPIM wrapper."""
        plain = Content("message/cpim", cpim()).plain()
        assert plain is not None
        self.assertEqual((plain.content_type, plain.body), ("text/plain", b"hello"))
        report = cpim().replace(b"text/plain", b"message/imdn+xml")
        self.assertIsNone(Content("message/cpim", report).plain())
        self.assertIsNone(Content("text/plain", b"x").plain())

    def test_kinds(self) -> None:
        """Reports and typing notices are known, bare or wrapped."""
        for kind, name in (
            ("message/imdn+xml", "is_report"),
            ("application/im-iscomposing+xml", "is_composing"),
        ):
            wrapped = cpim().replace(b"text/plain", kind.encode())
            for content in (Content(kind, b"<x/>"), Content("message/cpim", wrapped)):
                self.assertTrue(getattr(content, name))
        for content in WRAPPINGS:
            self.assertFalse(content.is_report or content.is_composing)

    def test_coded(self) -> None:
        """A body with a Content-Encoding is not looked into."""
        headers = [("Content-Type", "text/plain"), ("Content-Encoding", "gzip")]
        content = Content.of(Request.make("MESSAGE", "sip:a@b", headers, b"\x1f\x8b"))
        self.assertEqual((content.text, content.media_type), ("", "application/octet-stream"))

    def test_empty(self) -> None:
        """No body is no content."""
        content = Content.of(Request.make("MESSAGE", "sip:a@b", []))
        self.assertEqual((content.body, content.media_type, content.text), (b"", "", ""))
