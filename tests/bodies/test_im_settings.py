"""urn:oma:xml:im:service-settings."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import binary, booleans, builds, none
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.im_settings import (
    NAMESPACE,
    SERVICE,
    SIZE,
    ServiceSettings,
    parse_settings,
    write_settings,
)
from omaim.errors import PeerError
from tests.bodies.test_deferred_list import words

flags = none() | booleans()
settings = builds(
    ServiceSettings,
    active=flags,
    deferred=flags,
    visible=flags,
    history_session=flags,
    history_pager=flags,
    automatic=flags,
    service=words,
)


def document(inside: str, root: str = "service-settings") -> bytes:
    """Return a document with this inside."""
    return f'<{root} xmlns="{NAMESPACE}">{inside}</{root}>'.encode()


class SettingsTests(SynchronousTestCase):
    @given(settings)
    def test_law(self, found: ServiceSettings) -> None:
        """What is written is read again, and what is not said stays unsaid."""
        self.assertEqual(parse_settings(write_settings(found)), found)

    @given(binary(max_size=200))
    def test_junk(self, data: bytes) -> None:
        """Junk raises PeerError only."""
        try:
            parse_settings(data)
        except PeerError:
            pass

    def test_forms(self) -> None:
        """A value may be text, an attribute, or just there (spec 10 §10)."""
        for text, value in (
            ("<active>1</active>", True),
            ('<active active="false"/>', False),
            ("<active/>", True),
            ("<active> FALSE </active>", False),
        ):
            for root in ("service-settings", "im-settings"):
                self.assertEqual(parse_settings(document(text, root)).active, value)
        inside = "<vis-settings><vis-status>invisible</vis-status></vis-settings><more/>"
        self.assertEqual(parse_settings(document(inside)), ServiceSettings(visible=False))

    def test_answer_mode(self) -> None:
        """The answer mode has the words of RFC 4354 §6."""
        for word, value in (("automatic", True), ("manual", False), ("", True)):
            inside = f"<am-settings><answer-mode>{word}</answer-mode></am-settings>"
            self.assertEqual(parse_settings(document(inside)), ServiceSettings(automatic=value))

    def test_history(self) -> None:
        """Each mode has an activation of its own, or both are in one."""
        both = "<hist-activation><session-mode/><pager-large-mode>0</pager-large-mode>"
        one = "<hist-activation><pager-large-mode/></hist-activation>"
        self.assertEqual(
            parse_settings(document(f"<hist-settings>{both}</hist-activation></hist-settings>")),
            ServiceSettings(history_session=True, history_pager=False),
        )
        self.assertEqual(
            parse_settings(document(f"<hist-settings>{one}</hist-settings>")),
            ServiceSettings(history_pager=True),
        )
        self.assertEqual(parse_settings(document("<hist-settings/>")), ServiceSettings())

    def test_refused(self) -> None:
        """Another root, another namespace, a value that is none, and too much of it."""
        for data, status in (
            (document("", "settings"), 400),
            (b"<service-settings/>", 400),
            (document("<active>maybe</active>"), 400),
            (document("<active>automatic</active>"), 400),
            (document("<active/>" * 100), 400),
            (document(f"<service-id>{'x' * (SERVICE + 1)}</service-id>"), 413),
            (document(" " * SIZE), 413),
        ):
            error = self.assertRaises(PeerError, parse_settings, data)
            self.assertEqual(error.status, status)
