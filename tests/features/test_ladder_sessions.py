"""omaim/features/ladder_sessions.py and the points of MSRP: whose is a session."""

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.features.ladder import Ladder, climb, name_clients
from omaim.features.ladder_sessions import Sessions, name_sessions, sessions_in
from omaim.net.wire import IN, OUT, WireRecord
from omaim.node.directory import Directory, Place
from tests.features import ladders
from tests.features.sessions import (
    ALICE,
    AT,
    IM,
    ROOM,
    answer,
    both,
    cpim,
    directory,
    into,
    invite,
    out,
    request,
    sdp,
    send,
)

BOB = "msrp://10.0.1.11:2855/bob1;tcp"
RELAY = "msrps://10.0.1.3:2855/relay1;tcp"
HER_AOR, HIS_AOR = "sip:alice@north.example", "sip:bob@north.example"
SIP_AT = {"alice": ("10.0.1.10", 5060), "bob": ("10.0.1.11", 5060), **AT}


def sip(time: float, source: str, target: str, data: bytes, direction: str = IN) -> WireRecord:
    """A SIP message as one side saw it."""
    here, there = (target, source) if direction == IN else (source, target)
    return WireRecord(time, here, direction, "SIP", "UDP", SIP_AT[here], SIP_AT[there], data)


def drawn(seen: list[WireRecord], known: Directory) -> Ladder:
    name_clients(seen, known)
    return climb(seen, known, sessions=name_sessions(seen, known))


class NameTests(SynchronousTestCase):
    """Clients that wrote no trace, all on one address: only the sessions tell them apart."""

    def seen(self) -> list[WireRecord]:
        host = "10.0.1.99"
        behind = {"alice": (host, 5062), "bob": (host, 5064)}
        his = invite(sdp(BOB), by=HIS_AOR)
        seen = [
            attrs.evolve(
                sip(0.0, "alice", "core-north", invite(sdp(ALICE))), remote=behind["alice"]
            ),
            attrs.evolve(sip(0.1, "bob", "core-north", his), remote=behind["bob"]),
            # The core passes on what they said: that makes no session its own.
            sip(0.2, "core-north", "im-north", invite(sdp(ALICE)), OUT),
            attrs.evolve(into(1.0, "alice", "im-north", send()), remote=(host, 40001)),
            attrs.evolve(into(1.1, "bob", "im-north", send(by=BOB)), remote=(host, 40002)),
        ]
        back = answer(to=ALICE, by=IM)
        return [*seen, attrs.evolve(out(1.2, "im-north", "alice", back), remote=(host, 40001))]

    def test_named(self) -> None:
        """The URI of a=path names the socket (RFC 4975 §8.2); the point is IM-7."""
        steps = [step for step in drawn(self.seen(), directory()).steps if step.protocol == "MSRP"]
        self.assertEqual(
            [(step.source.name, step.target.name, step.point) for step in steps],
            [
                ("alice", "im-north", "IM-7"),
                ("bob", "im-north", "IM-7"),
                ("im-north", "alice", "IM-7"),
            ],
        )
        self.assertEqual(str(steps[2].summary), "200 OK (SEND)")

    def test_kept(self) -> None:
        """What was learned once names later messages, too."""
        seen, known = self.seen(), directory()
        drawn(seen[:5], known)
        (step,) = climb(seen[5:], known).steps
        self.assertEqual((step.target.name, step.point), ("alice", "IM-7"))

    def test_not_fooled(self) -> None:
        """A peer may write any path: whose address is known keeps its name, and a URI that
        nobody described names nobody."""
        known = directory()
        seen = self.seen()
        forged = attrs.evolve(into(2.0, "im-south", "im-north", send(tid="forged1")))
        claimed = into(
            2.1, "alice", "im-north", send(by="msrp://10.0.2.2:2855/x;tcp", tid="forged2")
        )
        claimed = attrs.evolve(claimed, remote=("10.0.1.99", 40009))
        steps = drawn([*seen, forged, claimed], known).steps
        self.assertEqual([step.source.name for step in steps[-2:]], ["im-south", "10.0.1.99:40009"])

    def test_multipart(self) -> None:
        """A session description beside a list of recipients counts (RFC 5366 §4)."""
        data = invite(
            b"--x\r\nContent-Type: application/sdp\r\n\r\n" + sdp(ALICE) + b"\r\n--x--\r\n"
        ).replace(
            b"Content-Type: application/sdp\r\nContent-L",
            b"Content-Type: multipart/mixed;boundary=x\r\nContent-L",
        )
        self.assertEqual(sessions_in(data), {"msrp://10.0.1.10:49152/alice1"})
        self.assertEqual(sessions_in(b"junk"), set())

    def test_bounded(self) -> None:
        """Only so many sessions are remembered."""
        sessions = Sessions(directory(), most=2)
        paths = [f"msrp://10.0.1.10:1/{number};tcp" for number in range(5)]
        sessions.learn([sip(0.0, "im-north", "core-north", invite(sdp(path))) for path in paths])
        self.assertEqual(
            [sessions.described(path) is not None for path in paths], [False] * 3 + [True] * 2
        )

    @given(seen=st.lists(ladders.records, max_size=8))
    def test_anything(self, seen: list[WireRecord]) -> None:
        """Whatever was recorded, nothing is raised and nobody known is renamed."""
        known = ladders.directory()
        before = set(known.places())
        name_sessions(seen, known)
        self.assertLessEqual(before, set(known.places()))


class RoomTests(SynchronousTestCase):
    def test_private(self) -> None:
        """In a room's session, what is not for the room is private, both ways (RFC 7701 §6.2)."""
        granted = invite(
            sdp(IM, "a=chatroom:nickname private-messages"),
            status="200 OK",
            contact="<sip:focus.7@im.north.example>;isfocus",
        )
        seen = [
            sip(0.0, "alice", "core-north", invite(sdp(ALICE, "a=chatroom"))),
            sip(0.1, "im-north", "core-north", granted),
            *both(1.0, "alice", "im-north", send(cpim(ROOM), kind="message/cpim")),
            *both(1.1, "alice", "im-north", send(cpim(HIS_AOR), "priv1", kind="message/cpim")),
            *both(
                1.2,
                "im-north",
                "alice",
                send(cpim(HER_AOR, by=HIS_AOR), "priv2", kind="message/cpim", to=ALICE, by=IM),
            ),
        ]
        told = [str(step.summary) for step in drawn(seen, directory()).steps]
        self.assertEqual(
            told,
            [
                "INVITE alice→room.cafe MSRP",
                "200 OK (INVITE) alice→room.cafe MSRP focus",
                "SEND alice→room.cafe “Hello”",
                "SEND alice→bob private “Hello”",
                "SEND bob→alice private “Hello”",
            ],
        )

    def test_no_room(self) -> None:
        """Between two people nothing is private, whatever their clients can do, and the server
        between them says in their place."""
        seen = [
            sip(0.0, "alice", "core-north", invite(sdp(ALICE, "a=chatroom"), to=HIS_AOR)),
            sip(0.1, "im-north", "core-north", invite(sdp(IM, "a=chatroom"), status="200 OK")),
            *both(1.0, "alice", "im-north", send(cpim(HIS_AOR), kind="message/cpim")),
        ]
        self.assertEqual(str(drawn(seen, directory()).steps[2].summary), "SEND alice→bob “Hello”")


class PointTests(SynchronousTestCase):
    """At which reference point a frame passes."""

    def setUp(self) -> None:
        self.directory = directory()
        for name, role in (("alice", "client"), ("bob", "client"), ("relay", "relay")):
            self.directory.note(Place(name, role, *AT[name], "north.example"))
        self.directory.note(Place("relay-bob", "relay", *AT["relay-bob"], "north.example"))

    def points(
        self, *hops: tuple[str, str, bytes], set_up: tuple[WireRecord, ...] = ()
    ) -> list[str]:
        seen = [*set_up]
        for number, (source, target, data) in enumerate(hops):
            seen += both(10.0 + number, source, target, data)
        steps = climb(seen, self.directory).steps
        return [step.point for step in steps if step.protocol == "MSRP"]

    def test_direct(self) -> None:
        self.assertEqual(
            self.points(
                ("alice", "im-north", send()),
                ("im-north", "alice", answer()),
                ("im-north", "im-south", send(tid="across1")),
                ("im-south", "im-north", answer("across1")),
                ("alice", "bob", send(tid="direct1")),
                ("im-north", "im-north", send(tid="itself1")),
            ),
            ["IM-7", "IM-7", "IM-8", "IM-8", "IM-9", ""],
        )

    def test_itself(self) -> None:
        """A server with both legs of a session draws an arrow to itself; nothing is lost."""
        port = ("10.0.1.2", 40000)
        seen = [
            attrs.evolve(out(1.0, "im-north", "im-north", send()), local=port),
            attrs.evolve(into(1.1, "im-north", "im-north", send()), remote=port),
        ]
        (step,) = climb(seen, self.directory).steps
        self.assertEqual((step.source, step.target, step.lost), (step.target, step.source, False))

    def test_relay(self) -> None:
        """A relay stands for who is behind it: client and server are at IM-7 on both hops."""
        path = f"{RELAY} {ALICE}"
        set_up = (sip(0.0, "alice", "core-north", invite(sdp(path))),)
        up, relayed = send(to=f"{RELAY} {IM}"), send(tid="relayed1", by=path)
        down, last = (
            send(tid="down1", to=path, by=IM),
            send(tid="last1", by=f"{RELAY} {IM}", to=ALICE),
        )
        hops = (
            ("alice", "relay", up),
            ("relay", "alice", answer(by=RELAY)),
            ("relay", "im-north", relayed),
            ("im-north", "relay", answer("relayed1", to=RELAY)),
            ("im-north", "relay", down),
            ("relay", "alice", last),
        )
        self.assertEqual(self.points(*hops, set_up=set_up), ["IM-7"] * 6)

    def test_two_relays(self) -> None:
        """Two clients, each behind a relay, are at IM-9 on all three hops (RFC 4976 §3)."""
        other = "msrps://10.0.1.4:2855/relay2;tcp"
        hers, his = f"{RELAY} {ALICE}", f"{other} {BOB}"
        set_up = (
            sip(0.0, "alice", "core-north", invite(sdp(hers), to=HIS_AOR)),
            sip(0.1, "bob", "core-north", invite(sdp(his), to=HIS_AOR, status="200 OK")),
        )
        hops = (
            ("alice", "relay", send(tid="hop1", to=f"{RELAY} {his}")),
            ("relay", "relay-bob", send(tid="hop2", to=his, by=hers)),
            ("relay-bob", "bob", send(tid="hop3", to=BOB, by=f"{other} {hers}")),
        )
        self.assertEqual(self.points(*hops, set_up=set_up), ["IM-9"] * 3)

    def test_relay_unknown(self) -> None:
        """Without a session a relay is the client's to a server; between a client and its own
        relay there is no point: both are on one side."""
        stranger = "msrp://unknown.example:1/x;tcp"
        self.assertEqual(
            self.points(
                ("alice", "relay", request("AUTH", to=RELAY)),
                ("relay", "alice", answer("b123", "401 Who")),
                ("relay", "im-north", send(by=f"{RELAY} {stranger}")),
            ),
            ["", "", "IM-7"],
        )

    def test_columns(self) -> None:
        """A relay stands beside the clients."""
        seen = [
            *both(0.0, "relay", "im-north", send()),
            *both(1.0, "alice", "relay", send(tid="xyz1")),
        ]
        names = [party.name for party in climb(seen, self.directory).parties]
        self.assertEqual(names, ["alice", "relay", "im-north"])
