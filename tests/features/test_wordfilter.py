"""The word filter and the announcement: hooks as a newcomer would write and test them."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

from omaim.features import announce, wordfilter
from omaim.node.hooks import Deliver, IFeature, Refuse
from omaim.node.questions import MayPost

HELLO = MayPost(
    domain="north.example",
    side="originating",
    sender="sip:alice@north.example",
    recipients=("sip:bob@north.example",),
    content_type="text/plain",
    text="Win at the Casino!",
    size=18,
)


class WordFilterTests(SynchronousTestCase):
    def ask(self, question: MayPost, **settings: Any) -> Any:
        config = wordfilter.Config(**settings)
        coroutine = wordfilter.wordfilter(question, config)
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def test_refuse(self) -> None:
        """A listed word in any case is refused with 403."""
        self.assertEqual(self.ask(HELLO, words=("casino",)).status, 403)

    def test_mask(self) -> None:
        """Masking keeps the length."""
        opinion = self.ask(HELLO, words=("casino",), action="mask")
        self.assertEqual(opinion, Deliver("Win at the ******!"))

    def test_no_opinion(self) -> None:
        """Parts of words, other words and the other side are left alone."""
        self.assertIsNone(self.ask(HELLO, words=("cas",)))
        self.assertIsNone(self.ask(HELLO))
        terminating = attrs.evolve(HELLO, side="terminating")
        self.assertIsNone(self.ask(terminating, words=("casino",)))
        self.assertNotIsInstance(self.ask(HELLO, words=("x",)), Refuse)


class AnnounceTests(SynchronousTestCase):
    def test_once_each(self) -> None:
        """Each recipient sees the line once."""
        config = announce.Config(text="Hello all")
        question = attrs.evolve(HELLO, side="terminating", text="hi")

        def ask(recipient: str) -> Any:
            asked = attrs.evolve(question, recipients=(recipient,))
            return self.successResultOf(Deferred.fromCoroutine(announce.announce(asked, config)))

        self.assertEqual(ask("sip:bob@north.example"), Deliver("hi\n-- Hello all"))
        self.assertIsNone(ask("sip:bob@north.example"))
        self.assertIsNotNone(ask("sip:carol@north.example"))


class DiscoveryTests(SynchronousTestCase):
    def test_both_are_found(self) -> None:
        """Ordinary plugin discovery finds both."""
        self.assertLessEqual({"wordfilter", "announce"}, {one.name for one in getPlugins(IFeature)})
