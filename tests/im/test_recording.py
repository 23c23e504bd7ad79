"""What is recorded of sessions, and what a life of the server leaves behind."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from omaim.ids import Ids
from omaim.im.policy import ISettings, Settings
from omaim.im.recording import CONFERENCE, Recorder
from omaim.stores.memory import memory_stores
from omaim.stores.records import NEVER, Conversation, Quota
from tests.im.rooms import ALICE, BOB, CAROL, ROOM


@implementer(ISettings)
class Wanted:
    """Everybody has everything recorded."""

    def of(self, user: str) -> Settings:
        return Settings(history_pager=True, history_session=True)


class RecordingTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 1000.0
        self.stores = memory_stores()
        self.recorder = self.life()

    def life(self) -> Recorder:
        """Return the recorder of another life of the server."""
        return Recorder(
            "im",
            Wanted(),
            self.stores.history,
            self.stores.outbox,
            Ids(int(self.now)),
            lambda owner: owner.endswith("@north.example"),
            lambda: self.now,
            Quota(100, 100_000),
            500.0,
        )

    def wait(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def get(self, owner: str, reference: str) -> Conversation:
        found: Any = self.successResultOf(self.stores.history.get(owner, reference))
        assert found is not None
        return found  # type: ignore[no-any-return]


class CutOffTests(RecordingTestCase):
    def test_ends(self) -> None:
        """What went on when the process died has an end in the next life: the time of its last
        message, or of its start; others, and those that have ended, are left alone."""
        begin = self.recorder.begin
        session, stay, over = (
            self.wait(begin(owner, peer, kind=kind))
            for owner, peer, kind in (
                (ALICE, BOB, "session"),
                (BOB, ROOM, CONFERENCE),
                (ALICE, CAROL, "session"),
            )
        )
        self.now = 1100.0
        self.wait(self.recorder.message(ALICE, session, ALICE, BOB, "text/plain", b"hi", "m1"))
        self.wait(self.recorder.end(ALICE, over))
        strange = Conversation(CAROL, "r", "session", BOB, 1000.0)
        self.successResultOf(self.stores.history.record(strange))
        self.now = 1200.0
        changed: list[str] = []
        later = self.life()
        later.on_change = changed.append
        self.assertEqual(self.wait(later.cut_off()), 2)
        self.assertEqual(sorted(changed), [ALICE, BOB])
        for owner, reference, ended, cut_off in (
            (ALICE, session, 1100.0, True),
            (BOB, stay, 1000.0, True),
            (ALICE, over, 1100.0, False),
            (CAROL, "r", NEVER, False),
        ):
            found = self.get(owner, reference)
            self.assertEqual((found.ended_at, found.cut_off), (ended, cut_off))
        self.assertEqual(self.get(ALICE, session).expires_at, 1600.0)
        self.assertEqual(self.wait(self.life().cut_off()), 0)
