"""Groups as documents say, and as an operator defines them."""

from __future__ import annotations

import shutil
import tempfile
from typing import Any

from click.testing import CliRunner
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from omaim.cli.main import main
from omaim.errors import OmaimError, PeerError, UsageError
from omaim.im.group_commands import is_of, serve_groups
from omaim.im.group_documents import ACTIONS, read_groups, write_group
from omaim.im.group_file import load_groups
from omaim.im.groups import GLOBAL, TREE, Group
from omaim.im.room_rules import CHAT, GUEST, MEMBER, NONE, OWNER, PREDEFINED, Rights
from omaim.net.network import ReactorNetwork
from omaim.node.config import NodeConfig
from omaim.node.control import listen_for_control
from omaim.node.node import Node
from omaim.node.people import make_user
from omaim.stores.memory import memory_stores
from omaim.stores.records import Document
from tests.im.rooms import ALICE, BOB, CAROL, DAVE

TEA = "sip:tea@north.example"
DOCUMENT = """<?xml version="1.0" encoding="UTF-8"?>
<group xmlns="urn:oma:xml:poc:list-service" xmlns:rl="urn:ietf:params:xml:ns:resource-lists"
    xmlns:cr="urn:ietf:params:xml:ns:common-policy" xmlns:ocp="urn:oma:xml:xdm:common-policy"
    xmlns:oxe="urn:oma:xml:xdm:extensions">
  <list-service uri="sip:Tea@North.example;x=y">
    <display-name>Tea</display-name>
    <list>
      <entry uri="sip:alice@north.example"/><entry uri="tel:+1-555-0100"/>
      <entry uri="sip:alice@North.example"/>
    </list>
    <invite-members>{invite}</invite-members>
    <max-participant-count>10</max-participant-count>
    <cr:ruleset>
      <cr:rule id="a"><cr:conditions>{condition}</cr:conditions><cr:actions>{actions}</cr:actions>
      </cr:rule>
    </cr:ruleset>
    <oxe:supported-services><oxe:service enabler="im"><oxe:group-media><oxe:message-session/>
      </oxe:group-media></oxe:service></oxe:supported-services>
    <oxe:subject>Biscuits</oxe:subject>
  </list-service>
</group>"""


def group(
    condition: str, actions: str = "<join-handling>true</join-handling>", **more: str
) -> Group:
    text = DOCUMENT.format(condition=condition, actions=actions, invite=more.get("invite", "true"))
    (found,) = read_groups(text.encode(), lambda: 0.0)
    return found


class ReadTests(SynchronousTestCase):
    def who(self, found: Group, anonymous: bool = False) -> list[str]:
        """Return who may come in."""
        people = ((ALICE,), (BOB,), ("tel:+15550100",), (CAROL, "tel:+15550100"))
        return [one[0] for one in people if found.rights(one, anonymous).join]

    def test_read(self) -> None:
        """A document says who is in a group and what it is for (OMA XDM)."""
        found = group("<is-list-member/>")
        self.assertEqual(
            (found.uri, found.name, found.subject), ("sip:Tea@north.example", "Tea", "Biscuits")
        )
        self.assertEqual(found.members, (ALICE, "tel:+15550100"))
        self.assertEqual((found.kind, found.most), (PREDEFINED, 10))
        self.assertEqual((found.sessions, found.pager), (True, False))
        self.assertEqual(group("<is-list-member/>", invite="false").kind, CHAT)

    def test_restricted(self) -> None:
        """Only members come in, by any of their addresses (OMA: restricted group)."""
        expected = [ALICE, "tel:+15550100", CAROL]
        self.assertEqual(self.who(group("<is-list-member/>")), expected)

    def test_unrestricted(self) -> None:
        """Everybody who is known comes in (OMA: unrestricted group)."""
        for condition in ("<ocp:other-identity/>", "<cr:identity><cr:many/></cr:identity>"):
            self.assertEqual(len(self.who(group(condition))), 4)

    def test_one(self) -> None:
        """Explicit identities come in."""
        condition = '<cr:identity><cr:one id="sip:bob@north.example"/></cr:identity>'
        self.assertEqual(self.who(group(condition)), [BOB])

    def test_anonymous(self) -> None:
        """Who wants to be anonymous comes in only where that is allowed."""
        self.assertEqual(self.who(group("<is-list-member/>"), True), [])
        both = "<join-handling>true</join-handling><allow-anonymity>true</allow-anonymity>"
        self.assertEqual(len(self.who(group("<is-list-member/>", both), True)), 3)

    def test_each_right(self) -> None:
        """Each action of a document is one right."""
        for name, tag in ACTIONS.items():
            prefix = "oxe:" if "extensions" in tag else ""
            local = prefix + tag.rpartition("}")[2]
            found = group("<is-list-member/>", f"<{local}>true</{local}>")
            self.assertEqual(found.rights((ALICE,), False), Rights(**{name: True}))
            self.assertEqual(found.rights((BOB,), False), NONE)

    def test_broken(self) -> None:
        """What is no group is an error of its author."""
        for data in (b"", b"<x/>", DOCUMENT.replace("sip:Tea@North.example", "nonsense").encode()):
            self.assertRaises(PeerError, read_groups, data, lambda: 0.0)

    def test_write(self) -> None:
        """What is written is read so."""
        data = write_group(
            TEA,
            PREDEFINED,
            (ALICE, BOB),
            name="Tea",
            subject="Biscuits",
            most=5,
            of_members=MEMBER,
            of_others=GUEST,
            owners=(CAROL,),
            of_owners=OWNER,
        )
        (found,) = read_groups(data, lambda: 0.0)
        self.assertEqual((found.kind, found.most, found.members), (PREDEFINED, 5, (ALICE, BOB)))
        rights = [found.rights((one,), False) for one in (ALICE, CAROL, DAVE)]
        self.assertEqual(rights, [MEMBER, OWNER, GUEST])
        (closed,) = read_groups(write_group(TEA, CHAT, (), of_members=MEMBER), lambda: 0.0)
        self.assertEqual((closed.rights((DAVE,), False), closed.most), (NONE, 0))


class CommandsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.stores = memory_stores()
        config = NodeConfig(state="memory:")
        self.node = Node(config, reactor, ReactorNetwork(reactor), self.stores)
        self.groups, self.commands = serve_groups(self.node, "im-north", "North.example")

    def tell(self, command: str, **values: Any) -> Any:
        asked = Deferred.fromCoroutine(self.node.control.run({"command": command, **values}))
        return self.successResultOf(asked)

    def refused(self, command: str, **values: Any) -> str:
        asked = Deferred.fromCoroutine(self.node.control.run({"command": command, **values}))
        return str(self.failureResultOf(asked, OmaimError).value)

    def get(self, uri: str = TEA) -> Any:
        return self.successResultOf(self.groups.get(uri))

    def test_add(self) -> None:
        """A group that was added is there at once, with rights for its people."""
        said = self.tell(
            "add-group",
            aor="tea@north.example",
            members="alice@north.example sip:bob@north.example",
            owners="sip:carol@south.example",
            kind="pre-defined",
            name="Tea",
            most=5,
        )
        self.assertEqual(
            (said["aor"], said["members"], said["everybody"]), (TEA, [ALICE, BOB], False)
        )
        found = self.get()
        self.assertEqual((found.kind, found.most), (PREDEFINED, 5))
        rights = [found.rights((one,), False) for one in (ALICE, CAROL, DAVE)]
        self.assertEqual(rights, [MEMBER, OWNER, NONE])
        self.assertIn("exists", self.refused("add-group", aor=TEA))

    def test_everybody(self) -> None:
        """A group may be open to all."""
        self.assertTrue(self.tell("add-group", aor=TEA, everybody="yes")["everybody"])
        self.assertEqual(self.get().rights((DAVE,), False), GUEST)

    def test_remove(self) -> None:
        """A group that was removed is gone, and can be added anew; watchers hear of it."""
        self.tell("add-group", aor=TEA, members=ALICE)
        told: list[int] = []
        self.groups.watch(TEA, lambda: told.append(1))
        self.assertEqual(self.tell("remove-group", aor=TEA), {"aor": TEA})
        self.assertEqual((told, self.get()), ([1], None))
        self.assertIn("not added here", self.refused("remove-group", aor=TEA))
        self.assertIn("no group", self.refused("group", aor=TEA))
        self.tell("add-group", aor=TEA, members=BOB)
        self.assertEqual(self.tell("group", aor=TEA)["members"], [BOB])

    def test_list(self) -> None:
        """All groups of the domain are listed, whoever defined them."""
        self.tell("add-group", aor=TEA)
        self.tell("add-group", aor="sip:a@chat.north.example", name="A")
        for place, uri in (
            ("users/x/index", "sip:b@north.example"),
            ("users/y/index", "sip:c@x.y"),
        ):
            body = write_group(uri, CHAT, (), of_members=MEMBER)
            document = Document(TREE + place, "1", "x", body)
            self.successResultOf(self.stores.documents.put(document))
        found = self.tell("groups")
        self.assertEqual(
            [one["aor"] for one in found["groups"]],
            ["sip:a@chat.north.example", "sip:b@north.example", TEA],
        )
        self.assertEqual([one["aor"] for one in self.tell("groups", after=TEA)["groups"]], [])
        self.assertIn("not added here", self.refused("remove-group", aor="sip:b@north.example"))

    def test_mistakes(self) -> None:
        """What cannot be is refused in words."""
        user = make_user("alice@north.example", "north.example", "pw", (ALICE,))
        self.successResultOf(self.stores.users.put(user))
        for word, values in (
            ("is a user", {"aor": ALICE}),
            ("not of north.example", {"aor": "sip:tea@south.example"}),
            ("not of north.example", {"aor": "sip:tea@evilnorth.example"}),
            ("no address", {"aor": "sip:"}),
            ("no address", {"aor": TEA, "members": "sip:"}),
            ("kind is", {"aor": TEA, "kind": "odd"}),
            ("number", {"aor": TEA, "most": -1}),
            ("number", {"aor": TEA, "most": "x"}),
        ):
            self.assertIn(word, self.refused("add-group", **values))
        found = self.successResultOf(self.stores.documents.get(GLOBAL + TEA))
        self.assertIsNone(found)

    def test_domain(self) -> None:
        """An address is of a domain, or of one below it."""
        self.assertTrue(is_of("sip:a@b.c", "b.c") and is_of("sip:a@x.b.c", "b.c"))
        self.assertFalse(is_of("sip:a@xb.c", "b.c") or is_of("sip:a@c", "b.c"))


class CommandLineTests(TestCase):
    timeout = 30

    async def test_group(self) -> None:
        """``omaim group`` adds, lists, shows and removes, at a process with two IM Servers."""
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        path = f"{folder}/s"
        node = Node(NodeConfig(state="memory:"), reactor, ReactorNetwork(reactor), memory_stores())
        self.addCleanup(node.stopService)
        for domain in ("north.example", "south.example"):
            serve_groups(node, f"im-{domain}", domain)
        listen_for_control(node, path)
        node.startService()

        def run(*arguments: str) -> Deferred[str]:
            call = ["group", "--control", path, *arguments]
            return deferToThread(lambda: CliRunner().invoke(main, call).output)

        tea = ("add", "tea@north.example", "--member", "alice@north.example", "--invite")
        self.assertIn("was added", await run(*tea, "--name", "Tea", "--subject", "Biscuits"))
        self.assertIn("exists", await run(*tea))
        lobby = ("add", "lobby@south.example", "--everybody", "--most", "50", "--owner", "b@c.d")
        self.assertIn("was added", await run(*lobby))
        listed = await run("list")
        self.assertIn("pre-defined, 1 members  Tea", listed)
        self.assertIn("chat, 0 members, 50 at a time", listed)
        self.assertEqual(len(listed.splitlines()), 2)
        shown = await run("show", "tea@north.example")
        for word in ("Biscuits", "open to    members", "member     sip:alice@north.example"):
            self.assertIn(word, shown)
        self.assertIn("everybody", await run("show", "lobby@south.example"))
        self.assertIn("was removed", await run("remove", "tea@north.example"))
        self.assertEqual(len((await run("list")).splitlines()), 1)


class FileTests(SynchronousTestCase):
    def setUp(self) -> None:
        config = NodeConfig(state="memory:")
        node = Node(config, reactor, ReactorNetwork(reactor), memory_stores())
        self.groups, self.commands = serve_groups(node, "im-north", "north.example")
        self.path = self.mktemp()

    def load(self, text: str) -> Any:
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(text)
        return Deferred.fromCoroutine(load_groups(self.commands, self.path))

    def test_defined(self) -> None:
        """The groups of the file are there; what was changed meanwhile is not written again."""
        text = """
            [[group]]
            address = "tea@north.example"
            name = "Tea"
            members = ["alice@north.example"]
            owners = ["sip:carol@south.example"]
            most = 5

            [[group]]
            address = "sip:lobby@north.example"
            everybody = true
        """
        self.assertEqual(self.successResultOf(self.load(text)), 2)
        found = self.successResultOf(self.groups.get(TEA))
        self.assertEqual((found.name, found.most, found.kind), ("Tea", 5, CHAT))
        rights = [found.rights((one,), False) for one in (ALICE, CAROL, DAVE)]
        self.assertEqual(rights, [MEMBER, OWNER, NONE])
        lobby = self.successResultOf(self.groups.get("sip:lobby@north.example"))
        self.assertTrue(lobby.rights((DAVE,), False).join)
        self.assertEqual(self.successResultOf(self.load(text)), 0)

    def test_wrong(self) -> None:
        """What is wrong in a file is told with the place; nothing is guessed."""
        for text, why in (
            ("group = 1", "write each group under"),
            ("[[group]]", "group 1: needs an address"),
            ('[[group]]\naddress = "a@north.example"\ncolour = "red"', "group 1: unknown colour"),
            ('[[group]]\naddress = "a@north.example"\nmembers = "bob"', "members is a list"),
            ('[[group]]\naddress = "a@north.example"\neverybody = "no"', "true or false"),
            ('[[group]]\naddress = "a@north.example"\nmost = true', "most is a number"),
            ('[[group]]\naddress = "a@north.example"\nname = 1', "name is a text"),
            ('[[group]]\naddress = "a@elsewhere.example"', "group 1: .*is not of north.example"),
            ('[[group]]\naddress = "a@north.example"\nkind = "x"', "group 1: kind is chat or"),
            ("[[group]", "is not TOML"),
        ):
            failure = self.failureResultOf(self.load(text), UsageError)
            self.assertRegex(str(failure.value), why)
