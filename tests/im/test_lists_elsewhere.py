"""Groups whose members and rules stand in lists of their own (RFC 4826 §3.1; OMA XDM)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.resource_lists import Entry, EntryRef, External, ResourceList, write_lists
from omaim.im.group_commands import serve_groups
from omaim.im.groups import GLOBAL, TREE, Group
from omaim.im.lists_elsewhere import DEPTH, DOCUMENTS, PEOPLE, Elsewhere, Lists
from omaim.net.network import ReactorNetwork
from omaim.node.config import NodeConfig
from omaim.node.node import Node
from omaim.stores.memory import memory_stores
from omaim.stores.records import Document
from tests.im.rooms import ALICE, BOB, CAROL, DAVE

ROOT = "http://xcap.north.example"
TEA = "sip:tea@north.example"
HERS = f"resource-lists/users/{ALICE}/index"
HIS = f"resource-lists/users/{BOB}/index"
SHARED = "resource-lists/global/staff"


class Library(SynchronousTestCase):
    def setUp(self) -> None:
        self.documents = memory_stores().documents
        self.lists = Lists(self.documents, (ROOT + "/",))
        self.etags: dict[str, str] = {}

    def put(self, path: str, body: bytes) -> None:
        etag = f"{int(self.etags.get(path, '0')) + 1}"
        document = Document(path, etag, "text/plain", body)
        self.successResultOf(self.documents.put(document, self.etags.get(path, "")))
        self.etags[path] = etag

    def keep(self, path: str, *items: Any, name: str = "friends") -> None:
        """Keep a document of one list; texts are addresses."""
        made = [Entry(one) if isinstance(one, str) else one for one in items]
        self.put(path, write_lists([ResourceList(tuple(made), name)]))

    def wait(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def find(self, pointer: str, owner: str = "") -> tuple[str, ...]:
        found: Elsewhere = self.wait(self.lists.find([pointer], owner))
        return found.at(pointer)


class ListTests(Library):
    def test_nested(self) -> None:
        """Entries, lists inside, references to entries and to whole lists count, each once."""
        self.keep(SHARED, DAVE, ALICE)
        self.keep(HIS, CAROL, BOB)
        self.keep(
            HERS,
            ALICE,
            ResourceList((Entry("im:bob@north.example"), Entry("nonsense:")), "near"),
            EntryRef(f'{HIS}/~~/resource-lists/list/entry[@uri="{CAROL}"]'),
            External(f"{ROOT}/{SHARED}/~~/resource-lists/list%5b@name=%22friends%22%5d"),
        )
        self.assertEqual(self.find(f"{ROOT}/{HERS}"), (ALICE, BOB, CAROL, DAVE))
        inner = f'{HERS}/~~/resource-lists/list[@name="friends"]/list[@name="near"]'
        self.assertEqual(self.find(inner), (BOB,))

    def test_cycle(self) -> None:
        """Lists that lead to one another end."""
        self.keep(HERS, ALICE, External(f"{ROOT}/{HIS}"), External(f"{ROOT}/{HERS}"))
        self.keep(HIS, BOB, External(f"{ROOT}/{HERS}"))
        self.assertEqual(self.find(HERS), (ALICE, BOB))

    def test_unreachable(self) -> None:
        """What cannot be read, or not yet, names nobody and is logged; the rest counts."""
        self.put("resource-lists/global/broken", b"<broken")
        self.keep(
            HERS,
            External("http://xcap.south.example/resource-lists/global/x"),
            External(f"{ROOT}/resource-lists/global/broken"),
            External(f"{ROOT}/resource-lists/global/missing"),
            EntryRef("pres-rules/global/x"),
            DAVE,
        )
        with capturedLogs() as logs:
            self.assertEqual(self.find(HERS), (DAVE,))
        self.assertEqual(len(logs), 4)
        self.assertIn("cannot be fetched yet", formatEvent(logs[0]))
        self.assertEqual(self.find("http://other.example/resource-lists/global/x"), ())

    def test_private(self) -> None:
        """Who points to the list of somebody else learns nothing of it (RFC 4825 §5.7: a user's
        documents are for that user); the operator may, and everybody to those of all."""
        self.keep(HERS, CAROL)
        self.keep(SHARED, DAVE, External(f"{ROOT}/{HERS}"))
        self.assertEqual(self.find(HERS, BOB), ())
        self.assertEqual(self.find(SHARED, BOB), (DAVE,))
        self.assertEqual(self.find(HERS, ALICE), (CAROL,))
        self.assertEqual(self.find(HERS), (CAROL,))

    def test_limits(self) -> None:
        """How deep lists lead, how many documents and how many people have limits."""
        for number in range(3 * DEPTH):
            self.keep(
                f"resource-lists/global/{number}",
                f"sip:{number}@b",
                External(f"{ROOT}/resource-lists/global/{number + 1}"),
            )
        self.assertEqual(len(self.find("resource-lists/global/0")), DEPTH)
        wide = [External(f"{ROOT}/resource-lists/global/w{one}") for one in range(2 * DOCUMENTS)]
        for number in range(2 * DOCUMENTS):
            people = [f"sip:{number}-{one}@b" for one in range(200)]
            self.keep(f"resource-lists/global/w{number}", *people)
        self.keep(SHARED, *wide)
        found: Elsewhere = self.wait(self.lists.find([SHARED]))
        self.assertEqual(len(found.at(SHARED)), PEOPLE)
        self.assertLessEqual(len(found.used), DOCUMENTS)

    @given(
        links=st.lists(st.lists(st.integers(0, 6), max_size=4, unique=True), min_size=1, max_size=7)
    )
    def test_any_links(self, links: list[list[int]]) -> None:
        """However lists lead to one another: who can be reached is found, each once."""
        self.setUp()
        for number, targets in enumerate(links):
            items = [External(f"{ROOT}/resource-lists/global/{one}") for one in targets]
            self.keep(f"resource-lists/global/{number}", f"sip:{number}@b", *items)
        reached, due = set(), [0]
        while due:
            one = due.pop()
            if one not in reached and one < len(links):
                reached.add(one)
                due += links[one]
        found = self.find("resource-lists/global/0")
        self.assertEqual(sorted(found), sorted(f"sip:{one}@b" for one in reached))


GROUP = """<group xmlns="urn:oma:xml:poc:list-service" xmlns:ocp="urn:oma:xml:xdm:common-policy"
    xmlns:cr="urn:ietf:params:xml:ns:common-policy" xmlns:oxe="urn:oma:xml:xdm:extensions">
  <list-service uri="sip:tea@north.example">
    <list><entry uri="sip:alice@north.example"/><external anchor="{members}"/></list>
    <invite-members>false</invite-members>
    <cr:ruleset>
      <cr:rule id="a"><cr:conditions><is-list-member/></cr:conditions>
        <cr:actions><join-handling>true</join-handling></cr:actions></cr:rule>
      <cr:rule id="b"><cr:conditions><ocp:external-list><ocp:entry anc="{owners}"/>
        </ocp:external-list></cr:conditions>
        <cr:actions><oxe:allow-expelling>true</oxe:allow-expelling></cr:actions></cr:rule>
    </cr:ruleset>
  </list-service>
</group>"""


class GroupTests(Library):
    def setUp(self) -> None:
        super().setUp()
        stores = memory_stores()
        self.documents = stores.documents
        config = NodeConfig(state="memory:")
        node = Node(config, reactor, ReactorNetwork(reactor), stores)
        self.groups, _ = serve_groups(node, "im-north", "north.example")

    def define(self, path: str = GLOBAL + TEA, members: str = HERS, owners: str = SHARED) -> None:
        text = GROUP.format(members=f"{ROOT}/{members}", owners=f"{ROOT}/{owners}")
        self.put(path, text.encode())

    def group(self) -> Group:
        found: Any = self.successResultOf(self.groups.get(TEA))
        assert found is not None
        return found

    def may(self, name: str) -> list[str]:
        group = self.group()
        return [
            one for one in (ALICE, BOB, CAROL, DAVE) if getattr(group.rights((one,), False), name)
        ]

    def test_in_force(self) -> None:
        """Members come from the list, too, and rules hold for those in the lists they name."""
        self.keep(HERS, BOB)
        self.keep(SHARED, CAROL)
        self.define()
        self.assertEqual(self.group().members, (ALICE, BOB))
        self.assertEqual((self.may("join"), self.may("expel")), ([ALICE, BOB], [CAROL]))

    def test_nobody(self) -> None:
        """A list that cannot be read is nobody's: it never lets all in (RFC 4745 §10)."""
        self.define(members="resource-lists/global/missing", owners="nonsense")
        with capturedLogs() as logs:
            self.assertEqual((self.may("join"), self.may("expel")), ([ALICE], []))
        self.assertEqual(len(logs), 2)

    def test_follows(self) -> None:
        """A change of the list changes the group that is in force, and who watches it is told."""
        self.keep(HERS, BOB)
        self.define()
        self.assertEqual(self.may("expel"), [])
        told: list[Callable[[], object]] = []
        self.groups.watch(TEA, lambda: told.append(lambda: None))
        self.wait(self.groups.follow())
        self.assertEqual(told, [])
        self.keep(HERS, CAROL)
        self.wait(self.groups.follow())
        self.assertEqual(len(told), 1)
        self.assertEqual(self.may("join"), [ALICE, CAROL])
        self.keep(SHARED, DAVE)  # which was not there
        self.wait(self.groups.refresh())
        self.assertEqual(len(told), 2)
        self.assertEqual(self.may("expel"), [DAVE])
        self.successResultOf(self.documents.remove(HERS, self.etags[HERS]))
        self.assertEqual(self.may("join"), [ALICE])

    def test_owner(self) -> None:
        """A user's group may point to that user's lists, and not to those of others."""
        self.keep(HERS, BOB)
        self.keep(HIS, CAROL)
        self.define(f"{TREE}users/{BOB}/index", owners=HIS)
        self.assertEqual((self.may("join"), self.may("expel")), ([ALICE], [CAROL]))
