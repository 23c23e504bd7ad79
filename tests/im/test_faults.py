"""Whatever devices answer and whenever the server dies: in order, nothing lost, nothing twice."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis.strategies import lists, one_of, sampled_from, tuples

from omaim.roles.incoming import Incoming
from omaim.sip.message import Response
from tests.im.support import BOB, XENIA, ImTestCase

ACTS = ("send", "send now", "register", "restart", "wait", "absent")
ANSWERS = (200, 202, 408, 480, 486, 500, 503, None)


class FaultTests(ImTestCase):
    @settings(max_examples=40)
    @given(lists(tuples(sampled_from(ACTS), one_of(sampled_from(ANSWERS))), max_size=12))
    def test_order(self, steps: list[tuple[str, int | None]]) -> None:
        """After any history a good registration leaves each acknowledged message confirmed
        once, and all of them in the order in which they came (RFC 3428 §7, §8)."""
        super().setUp()
        confirmed: list[bytes] = []

        def confirm(incoming: Incoming) -> Response:
            confirmed.append(incoming.request.body)
            return incoming.response(200)

        sent: list[bytes] = []
        for act, answer in steps:
            self.core.otherwise = confirm if answer in (200, 202) else answer
            if act in ("send", "send now", "absent"):
                body = str(len(sent)).encode()
                state = "reg" if act == "send now" else "unreg"
                response = self.send("term", XENIA, BOB, body, state=state)
                self.assertIn(response.status, (200, 202))
                sent.append(body)
                self.clock.advance(1)  # an answer that is on its way may be lost in a restart
            elif act == "register":
                self.register(BOB)
            elif act == "restart":
                # Nobody can know of an answer that is on its way when the server dies.
                self.clock.run(lambda: not self.im.delivery._flying, 0.1)
                self.stop()
                self.start()
            else:
                self.clock.advance(50)
        self.core.otherwise = confirm
        self.clock.advance(60)  # who is under way has been answered or has timed out
        self.register(BOB)
        self.clock.advance(60)
        self.assertEqual(self.waiting(BOB), [])
        self.assertEqual(confirmed, sent)
        self.stop()

    def setUp(self) -> None:
        """Each example makes its own."""
