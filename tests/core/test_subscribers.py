"""The users as routing wants them: worked out once, and anew when they change."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from omaim.core.service_profile import Profile
from omaim.core.subscribers import profile_of, subscribers_of, user_of
from omaim.node.people import make_user
from omaim.stores.memory import MemoryUserStore
from omaim.stores.records import User

ALICE = "sip:alice@one.example"
NUMBER = "tel:+15550100"
HIDDEN = "sip:a@one.example"


class SubscriberTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.asked: list[str] = []
        self.users = MemoryUserStore()
        self.found = subscribers_of(self.users, self.profile_of, 2)
        alice = make_user("alice", "one.example", "w", (ALICE, NUMBER), (HIDDEN,))
        self.successResultOf(self.users.put(alice))

    def profile_of(self, user: User, aor: str) -> Profile:
        self.asked.append(aor)
        return Profile(media_profile=len(self.asked))

    def test_identities(self) -> None:
        """Each identity leads to the same bindings; a barred one is told as such."""
        for aor, barred in ((ALICE, False), (NUMBER, False), (HIDDEN, True)):
            served = self.found.of(aor)
            assert served is not None
            self.assertEqual((served.aor, served.primary, served.barred), (aor, ALICE, barred))
            self.assertEqual(served.subscriber.usable, (ALICE, NUMBER))
            self.assertEqual(served.subscriber.private_id, "alice")
            self.assertEqual(user_of(served), self.users.peek("alice"))
            self.assertEqual(
                (served.plain, (profile_of(served).media_profile or 0) > 0), (True, True)
            )
        self.assertIsNone(self.found.of("sip:nobody@one.example"))

    def test_once(self) -> None:
        """It is worked out once, until the user changes or is removed."""
        first = self.found.of(ALICE)
        self.assertIs(self.found.of(ALICE), first)
        self.assertEqual(self.asked, [ALICE])
        user = self.users.peek("alice")
        assert user is not None
        identities = tuple(attrs.evolve(one, barred=True) for one in user.identities)
        self.successResultOf(self.users.put(attrs.evolve(user, identities=identities)))
        served = self.found.of(ALICE)
        assert served is not None
        self.assertEqual((served.barred, served.subscriber.usable), (True, ()))
        self.assertEqual(self.asked, [ALICE, ALICE])
        self.successResultOf(self.users.remove("alice"))
        self.assertIsNone(self.found.of(ALICE))

    def test_bound(self) -> None:
        """However many are asked for, a bounded number is held."""
        for aor in (ALICE, NUMBER, HIDDEN) * 3:
            self.assertIsNotNone(self.found.of(aor))
            self.assertLessEqual(len(self.found), 2)
