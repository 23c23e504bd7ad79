"""Groups by their URI: made for one session, and written in documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from omaim.errors import PeerError
from omaim.im.groups import (
    GLOBAL,
    TREE,
    AdHocGroups,
    AllGroups,
    Definitions,
    DocumentGroups,
    Group,
    IGroups,
)
from omaim.im.policy import Refusal
from omaim.im.room_rules import AD_HOC, MEMBER, NONE, OWNER, PREDEFINED, Rules
from omaim.stores.memory import memory_stores
from omaim.stores.records import Document
from tests.im.rooms import ALICE, BOB, CAROL, DAVE

TEA = "sip:tea@north.example"
LOBBY = "sip:lobby@north.example"


def read(body: bytes) -> list[Group]:
    """Return groups of a document that holds a URI and a name on each line."""
    if body == b"broken":
        raise PeerError("it is broken")
    lines = [line.split() for line in body.decode().splitlines()]
    return [Group(uri, lambda identities, hidden: MEMBER, name=name) for uri, name in lines]


async def never(path: str, body: bytes) -> Definitions:
    """Read nothing."""
    raise AssertionError(path)


async def always(used: Mapping[str, str]) -> bool:
    """Nothing else has changed."""
    return True


class AdHocTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.groups = AdHocGroups(most=3)

    def test_interface(self) -> None:
        """All are sources of groups."""
        for one in (
            self.groups,
            AllGroups(),
            DocumentGroups(memory_stores().documents, never, always, float),
        ):
            verifyObject(IGroups, one)

    def test_rights(self) -> None:
        """Who makes it may do everything, the others less, strangers nothing (RFC 5366 §5)."""
        group = self.groups.make(TEA, ALICE, [BOB, ALICE, BOB, CAROL], "Tea")
        self.assertEqual(group.members, (ALICE, BOB, CAROL))
        self.assertEqual((group.kind, group.most, group.subject), (AD_HOC, 3, "Tea"))
        found = [group.rights((one,), False) for one in (ALICE, BOB, DAVE)]
        self.assertEqual(found, [OWNER, MEMBER, NONE])
        self.assertEqual(group.rights(("tel:+1555", CAROL), True), MEMBER)
        self.assertIs(self.successResultOf(self.groups.get(TEA)), group)

    def test_cap(self) -> None:
        """More people than an ad-hoc session may have are refused with 486 (OMA)."""
        error = self.assertRaises(Refusal, self.groups.make, TEA, ALICE, [BOB, CAROL, DAVE])
        self.assertEqual((error.status, len(self.groups)), (486, 0))

    def test_forget(self) -> None:
        """With the session the group goes, and who watches it is told."""
        told: list[str] = []
        self.groups.make(TEA, ALICE, [BOB])
        end = self.groups.watch(TEA, lambda: told.append("gone"))
        self.groups.forget(TEA)
        self.groups.forget(TEA)
        self.assertIsNone(self.successResultOf(self.groups.get(TEA)))
        end()
        end()
        self.assertEqual(told, ["gone"])

    def test_rules(self) -> None:
        """The group says what kind of room it is, and the smaller limit counts."""
        rules = Rules(most=10, idle=60.0)
        group = self.groups.make(TEA, ALICE, [])
        self.assertEqual(group.rules(rules), Rules(AD_HOC, 3, 2, idle=60.0))
        other = Group(LOBBY, group.rights, PREDEFINED, most=20)
        self.assertEqual(other.rules(rules), Rules(PREDEFINED, 10, 1, idle=60.0))
        self.assertEqual(other.rules(Rules()).most, 20)
        self.assertEqual(Group(LOBBY, group.rights).rules(Rules()).most, 0)


class DocumentTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 0.0
        self.documents = memory_stores().documents
        self.etags: dict[str, str] = {}
        self.reads = 0
        self.groups = DocumentGroups(self.documents, self.read, always, lambda: self.now)

    async def read(self, path: str, body: bytes) -> Definitions:
        self.reads += 1
        return Definitions(read(body))

    def put(self, path: str, *lines: str) -> None:
        etag = f"{int(self.etags.get(path, '0')) + 1}"
        document = Document(path, etag, "text/plain", "\n".join(lines).encode())
        self.successResultOf(self.documents.put(document, self.etags.get(path, "")))
        self.etags[path] = etag

    def remove(self, path: str) -> None:
        self.successResultOf(self.documents.remove(path, self.etags.pop(path)))

    def refresh(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.groups.refresh()))

    def name(self, uri: str) -> str | None:
        found: Any = self.successResultOf(self.groups.get(uri))
        return None if found is None else found.name

    def test_global(self) -> None:
        """A group is found by its URI in the global tree, at once and as it is now."""
        self.assertIsNone(self.name(TEA))
        self.put(GLOBAL + TEA, f"{TEA} one")
        self.assertEqual(self.name(TEA), "one")
        self.put(GLOBAL + TEA, f"{TEA} two")
        self.assertEqual(self.name(TEA), "two")
        self.assertEqual(self.name(TEA), "two")
        self.assertEqual(self.reads, 2)
        self.remove(GLOBAL + TEA)
        self.assertIsNone(self.name(TEA))

    def test_users(self) -> None:
        """A document of a user, of any name, holds groups, too; looked for now and then."""
        path = TREE + "users/sip:alice@north.example/friends"
        self.put(path, f"{TEA} tea", f"{LOBBY} lobby")
        self.put("org.openmobilealliance.other/users/x", "nonsense")
        self.assertEqual((self.name(TEA), self.name(LOBBY)), ("tea", "lobby"))
        self.put(path, f"{LOBBY} hall")
        self.assertIsNone(self.name(TEA))
        self.assertEqual(self.name(LOBBY), "hall")
        self.put(TREE + "users/sip:bob@north.example/index", f"{TEA} his")
        self.assertIsNone(self.name(TEA))
        self.now = 1.0
        self.assertEqual(self.name(TEA), "his")

    def test_first_counts(self) -> None:
        """Nobody takes over the URI of a group that the operator, or somebody before, has."""
        self.put(TREE + "users/b/index", f"{TEA} b")
        self.put(TREE + "users/a/index", f"{TEA} a")
        self.assertEqual(self.name(TEA), "a")
        self.put(GLOBAL + "zzz", f"{TEA} ours")
        self.refresh()
        self.assertEqual(self.name(TEA), "ours")
        self.remove(GLOBAL + "zzz")
        self.assertEqual(self.name(TEA), "a")
        self.assertEqual([one.name for one in self.groups.known()], ["a"])

    def test_broken(self) -> None:
        """A document that cannot be read hides no other, and is not read again until it changes."""
        self.put(GLOBAL + TEA, "broken")
        self.put(TREE + "users/a/index", f"{TEA} a")
        self.assertEqual(self.name(TEA), "a")
        reads = self.reads
        self.now = 10.0
        self.refresh()
        self.assertEqual(self.reads, reads)

    def test_watch(self) -> None:
        """Who watches a group is told of each change, and of nothing else."""
        told: list[str] = []
        self.put(GLOBAL + TEA, f"{TEA} one")
        self.put(GLOBAL + LOBBY, f"{LOBBY} one")
        self.refresh()
        ends = [self.groups.watch(TEA, lambda: told.append("tea"))]
        ends.append(self.groups.watch(TEA, lambda: 1 // 0))
        self.refresh()
        self.put(GLOBAL + LOBBY, f"{LOBBY} two")
        self.refresh()
        self.assertEqual(told, [])
        self.put(GLOBAL + TEA, f"{TEA} two")
        self.refresh()
        self.assertEqual(told, ["tea"])
        self.remove(GLOBAL + TEA)
        self.refresh()
        self.assertEqual(told, ["tea", "tea"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        for end in ends:
            end()
        self.put(GLOBAL + TEA, f"{TEA} three")
        self.refresh()
        self.assertEqual(told, ["tea", "tea"])

    def test_many(self) -> None:
        """All documents are looked at, however many."""
        for number in range(1203):
            self.put(f"{TREE}users/{number}/index", f"sip:{number}@north.example g{number}")
        self.refresh()
        self.assertEqual(len(self.groups.known()), 1203)

    def test_all(self) -> None:
        """Of several sources the first that knows a group counts."""
        ad_hoc = AdHocGroups(0)
        both = AllGroups(ad_hoc, self.groups)
        told: list[int] = []
        end = both.watch(TEA, lambda: told.append(1))
        self.put(GLOBAL + TEA, f"{TEA} document")
        found: Any = self.successResultOf(both.get(TEA))
        self.assertEqual((found.name, told), ("document", [1]))
        made = ad_hoc.make(TEA, ALICE, [])
        self.assertIs(self.successResultOf(both.get(TEA)), made)
        self.assertIsNone(self.successResultOf(both.get(LOBBY)))
        end()
        ad_hoc.forget(TEA)
        self.assertEqual(told, [1])
