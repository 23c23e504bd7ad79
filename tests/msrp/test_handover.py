"""What waits for one session goes by another: omaim/msrp/outgoing.py (RFC 4975 §5.4)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.msrp import CLOSED, Limits, Outgoing
from omaim.msrp.frame import NO, PARTIAL, YES
from omaim.msrp.outgoing import Outbox
from tests.msrp.support import User, World, heads, text

WINDOW = Limits().window


class HandoverTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.old, self.new = World(), World()
        self.bob, self.later = User(), User()
        self.one, _ = self.old.pair(User(), self.bob)
        self.two, _ = self.new.pair(User(), self.later)
        self.statuses: list[tuple[str, int]] = []

    def hold_up(self) -> None:
        self.old.near.stuck = True
        self.old.near.kept = WINDOW

    def say(self, name: str, size: int = 0, report: str = PARTIAL, whole: bool = True) -> Outgoing:
        body = name.encode() + b"x" * size
        end = lambda status: self.statuses.append((name, status))  # noqa: E731
        if whole:
            return self.one.send(text(body, failure_report=report, on_end=end))
        made = Outgoing("text/plain", failure_report=report, on_end=end)
        self.one.send(made)
        made.write(body)
        return made

    def carry(self) -> None:
        self.old.carry()
        self.new.carry()

    def take_over(self) -> None:
        self.two.outbox.take_over(self.one.outbox)

    def test_order(self) -> None:
        """What waits goes in its order, once, whichever reports it asks for; and it counts for
        the session that has it."""
        self.say("gone")
        self.carry()
        self.hold_up()
        for number, report in enumerate((PARTIAL, YES, NO)):
            self.say(str(number), 1000, report)
        self.assertEqual(self.one.pending, 3003)
        self.take_over()
        self.assertEqual((self.one.pending, self.one.burden), (0, 0))
        self.two.send(text(b"after"))
        self.carry()
        self.assertEqual(self.two.burden, 0)
        names = [body[:1] for body in self.later.bodies]
        self.assertEqual((self.bob.bodies, names), ([b"gone"], [b"0", b"1", b"2", b"a"]))
        ended = [("0", 200), ("1", 200), ("2", 200), ("gone", 200)]
        self.assertEqual(sorted(self.statuses), ended)
        self.one.close()
        self.assertEqual(len(self.statuses), 4)

    def test_before_it_is_open(self) -> None:
        """A session that has no connection yet keeps what it has taken over."""
        self.hold_up()
        self.say("one")
        self.say("two")
        waiting = self.new.near.session(User())
        listener = self.new.far.session(self.later)
        waiting.outbox.take_over(self.one.outbox)
        self.assertEqual(waiting.pending, 6)
        waiting.lead_to(listener.path)
        listener.lead_to(waiting.path)
        self.new.near.channel.bind(waiting, True)
        self.carry()
        self.assertEqual(self.later.bodies, [b"one", b"two"])

    def test_under_way(self) -> None:
        """The rest of a message goes behind what has left, and what has left is answered no more
        by the session before."""
        made = self.say("head", 100_000, whole=False)
        self.carry()
        position = made.position
        self.assertGreater(position, 0)
        self.take_over()
        made.write(b"tail" * 1000)
        made.finish()
        data = self.new.near.take()
        (head,) = heads(data)
        self.assertEqual(head.get(b"Byte-Range"), b"%d-*/*" % (position + 1))
        self.assertIn(b"+\r\n", self.old.near.take())  # the chunk before is one of several
        self.assertEqual(self.statuses, [("head", 200)])
        self.one.close()
        self.assertEqual(self.statuses, [("head", 200)])

    def test_late_refusal(self) -> None:
        """A refusal of what the session before has sent does no harm to the rest."""
        made = self.say("head", 100_000, whole=False)
        chunk = heads(self.old.near.take())[0].transaction
        self.take_over()
        own, to = str(self.one.uri), str(self.one.remote_path[-1])
        refusal = f"MSRP {chunk.decode()} 413 no\r\nTo-Path: {own}\r\nFrom-Path: {to}\r\n"
        self.old.near.channel.received(f"{refusal}-------{chunk.decode()}$\r\n".encode())
        self.assertFalse(made.ended)
        made.finish()
        self.assertEqual(self.statuses, [("head", 200)])

    def test_answers_due(self) -> None:
        """What the peer has to answer a part of remains where the answer comes."""
        made = self.say("head", 100_000, YES, whole=False)
        self.take_over()
        self.assertIs(made.outbox, self.one.outbox)
        made.finish()
        self.carry()
        self.assertEqual((self.statuses, len(self.bob.bodies)), ([("head", 200)], 1))

    def test_heir(self) -> None:
        """A session that is lost leaves what was not sent to its heir."""
        heir = Outbox(self.old.near.means, lambda why: None, lambda: None)
        self.one.heir = heir
        self.hold_up()
        self.say("one")
        self.say("two")
        self.old.near.channel.lost("cut")
        self.assertEqual((self.one.state, heir.pending, self.statuses), (CLOSED, 6, []))
        self.two.outbox.take_over(heir)
        self.carry()
        self.assertEqual(self.later.bodies, [b"one", b"two"])
        self.assertEqual((heir.pending, heir.burden), (0, 0))

    def test_heir_closes(self) -> None:
        """What nobody takes from an heir ends as lost (481)."""
        heir = Outbox(self.old.near.means, lambda why: None, lambda: None)
        self.one.heir = heir
        self.hold_up()
        self.say("one")
        self.one.close()
        heir.close()
        self.assertEqual((self.statuses, heir.pending), ([("one", 481)], 0))

    @given(
        acts=st.lists(
            st.sampled_from(["small", "large", "stream", "hold", "go", "carry"]), max_size=30
        ),
        at=st.integers(0, 30),
    )
    def test_any(self, acts: list[str], at: int) -> None:
        """Whenever it is handed over: each message that fits into a frame arrives once, in order,
        and nothing remains counted."""
        self.setUp()
        session, said = self.one, []
        for number, act in enumerate(acts):
            if number == at:
                self.take_over()
                session = self.two
            if act == "hold" and session is self.one:
                self.hold_up()
            elif act == "go" and session is self.one:
                self.old.near.stuck, self.old.near.kept = False, 0
                self.old.near.channel.drained()
            elif act == "carry":
                self.carry()
            elif act == "small":
                said.append(b"#%d" % number)
                session.send(text(said[-1], message_id=f"message{number}", failure_report=PARTIAL))
            elif act in ("large", "stream"):
                made = Outgoing("text/plain", None, f"message{number}", failure_report=PARTIAL)
                session.send(made)
                made.write(b"L" * 100_000)
                if act == "large":
                    made.finish()
        if at >= len(acts):
            self.take_over()
        self.old.near.stuck, self.old.near.kept = False, 0
        self.old.near.channel.drained()
        self.carry()
        small = [one for one in self.bob.bodies + self.later.bodies if one.startswith(b"#")]
        self.assertEqual(small, said)
        self.one.close()
        self.two.close()
        self.carry()
        self.assertEqual((self.one.pending, self.two.pending), (0, 0))
