"""The memory beside the tables: packing, expiry, identities."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.stores.cache import (
    UserCache,
    pack_bindings,
    pack_user,
    profile_of,
    unpack_bindings,
    unpack_user,
)
from omaim.stores.interfaces import Conflict
from omaim.stores.records import NEVER, Binding, Credential, PublicIdentity, User
from omaim.testing.store_contract import ALICE, user

texts = st.text(st.characters(codec="utf-8"), max_size=12)
numbers = st.integers(0, 2**31)
moments = st.floats(0, 1e10) | st.just(NEVER)

bindings = st.builds(
    Binding,
    st.just(ALICE),
    texts,
    texts,
    numbers,
    moments,
    st.floats(0, 1),
    st.lists(texts, max_size=3).map(tuple),
    texts,
    numbers,
    *[texts] * 7,
    moments,
    texts,
    moments,
)
users = st.builds(
    User,
    st.just("alice"),
    st.lists(
        st.builds(PublicIdentity, texts, st.booleans(), numbers, texts, st.booleans()), max_size=3
    ).map(tuple),
    st.lists(st.builds(Credential, texts, texts, texts), max_size=3).map(tuple),
    texts,
    st.booleans(),
    texts,
    st.lists(texts, max_size=2).map(tuple),
    st.lists(texts, max_size=2).map(tuple),
    st.lists(st.tuples(texts, texts), max_size=2).map(tuple),
    numbers,
)


class PackingTests(SynchronousTestCase):
    """Rows hold records as text."""

    @given(st.lists(bindings, max_size=3).map(tuple))
    def test_bindings(self, given: tuple[Binding, ...]) -> None:
        """What was packed is unpacked, whatever it holds."""
        self.assertEqual(unpack_bindings(ALICE, pack_bindings(given)), given)

    @given(users)
    def test_users(self, given: User) -> None:
        """The same for users; the profile is replaced by what stands for it."""
        packed = pack_user(given, "p")
        self.assertEqual(profile_of(packed), "p")
        self.assertEqual(unpack_user("alice", packed, {"p": given.profile}), given)

    def test_older_text(self) -> None:
        """A text from before some fields has their defaults."""
        packed = '[["sip:a@192.0.2.1","c",1,5.0,1.0,[]]]'
        self.assertEqual(
            unpack_bindings(ALICE, packed), (Binding(ALICE, "sip:a@192.0.2.1", "c", 1, 5.0),)
        )


class UserCacheTests(SynchronousTestCase):
    """Of users that stay packed."""

    def test_packed(self) -> None:
        """Packed users are as good as others, however many are asked for."""
        cache = UserCache()
        names = [f"u{number}" for number in range(17000)]
        given = [user(name, identities=(PublicIdentity(f"sip:{name}@x"),)) for name in names]
        cache.load(
            [(one.private_id, pack_user(one, "p")) for one in given],
            [(one.identities[0].uri, one.private_id) for one in given],
            [("p", given[0].profile)],
        )
        for one in given:
            self.assertEqual(cache.peek_by_identity(one.identities[0].uri), one)
        self.assertLess(len(cache._unpacked), 16385)
        self.assertTrue(cache.remove(given[0].private_id))
        self.assertIsNone(cache.peek_by_identity("sip:u0@x"))
        changed = attrs.evolve(given[1], im_service=False, version=9)
        cache.set(changed, pack_user(changed, "p"))
        self.assertEqual(cache.peek(changed.private_id), changed)

    def test_check(self) -> None:
        """An identity that another user has, or is about to have, is refused."""
        cache = UserCache()
        cache.set(user("alice"))
        cache.check([user("alice"), user("bob")])
        taken = (PublicIdentity(ALICE),)
        self.assertRaises(Conflict, cache.check, [user("bob", identities=taken)])
        twins = [user(name, identities=(PublicIdentity("sip:n@x"),)) for name in ("b", "c")]
        self.assertRaises(Conflict, cache.check, twins)


class UserTests(SynchronousTestCase):
    """Of what a user record says about itself."""

    def test_registered_with(self) -> None:
        """Registering one identity registers its set, the default and unbarred ones first."""
        alice = User(
            "alice",
            (
                PublicIdentity("sip:barred@x", barred=True),
                PublicIdentity("sip:second@x"),
                PublicIdentity("sip:first@x", default=True),
                PublicIdentity("sip:other@x", implicit_set=2),
                PublicIdentity("sip:own@x", implicit_set=0),
                PublicIdentity("sip:own2@x", implicit_set=0),
            ),
        )
        for asked, together in (
            ("sip:second@x", ["sip:first@x", "sip:second@x", "sip:barred@x"]),
            ("sip:barred@x", ["sip:first@x", "sip:second@x", "sip:barred@x"]),
            ("sip:other@x", ["sip:other@x"]),
            ("sip:own@x", ["sip:own@x"]),
            ("sip:nobody@x", []),
        ):
            self.assertEqual([one.uri for one in alice.registered_with(asked)], together)

    def test_no_secret_shown(self) -> None:
        """Neither secrets nor contents are in what a log would show."""
        shown = repr(user(credentials=(Credential("MD5", "x", "5eC2e7"),), secret="5eC2e7"))
        self.assertNotIn("5eC2e7", shown)
