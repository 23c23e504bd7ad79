"""A client behind an MSRP relay, over loopback sockets (RFC 4976)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from omaim.client import Client
from omaim.client.access import server_uri
from omaim.client.conversation import Conversation
from omaim.client.failures import Failure
from omaim.errors import UsageError
from omaim.net.msrp import NOWHERE
from omaim.node.people import make_user
from tests.net.loopback import OURS
from tests.net.support import Authority
from tests.relay.support import DOMAIN, RelayCase


class RelayTests(RelayCase):
    """Alice cannot be reached, and has a relay; bob talks to her directly."""

    timeout = 60

    async def open(self, name: str, server: str, **more: Any) -> Client:
        ca = Path(self.mktemp())
        ca.write_bytes(OURS.pem)
        client = Client(
            f"{name}@{DOMAIN}",
            f"{name}-secret",
            server,
            username=name,
            listen=more.pop("listen"),
            ca=str(ca),
            clock=reactor,
            **more,
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(client.close()))
        await client.open()
        return client

    async def pair(self, relay: str, **more: Any) -> tuple[Client, Client]:
        """Return alice, whose relay this is, and bob; they reach one another without a server."""
        bob = await self.open("bob", "127.0.0.1:9", listen="127.0.0.1")
        port = bob.endpoint.listeners[0].port
        alice = await self.open(
            "alice", f"127.0.0.1:{port}", listen="127.0.0.1", relay=relay, **more
        )
        bob.auto_accept = True
        return alice, bob

    def test_talk(self) -> Any:
        """She offers her relay's URI, he connects to it, and both talk (§5.1). Her own relay may be
        where she goes to no peer."""

        async def run() -> None:
            relay = await self.relay("127.0.0.1")
            alice, bob = await self.pair(self.uri(relay), msrp_networks=["10.0.0.0/8"])
            begun: Deferred[Conversation] = Deferred()
            bob.on_conversation(begun.callback)
            hers = await alice.invite("bob")
            his = await begun
            medium = hers.talk.medium
            assert medium is not None
            self.assertEqual(medium.session.uri.port, NOWHERE)
            self.assertEqual(len(medium.session.path), 2)
            await hers.send("from behind")
            self.assertEqual((await his.next()).text, "from behind")
            await his.send("to behind")
            self.assertEqual((await hers.next()).text, "to behind")
            path = Path(self.mktemp())
            path.write_bytes(b"x" * 300_000)
            bob.files.folder = Path(self.mktemp())
            upload = await hers.send_file(path)
            await upload.done()
            (taken,) = bob.files.folder.iterdir()
            self.assertEqual(taken.read_bytes(), path.read_bytes())
            alice.files.folder = Path(self.mktemp())
            upload = await his.send_file(path)
            await upload.done()
            (taken,) = alice.files.folder.iterdir()
            self.assertEqual(taken.read_bytes(), path.read_bytes())
            await hers.leave()

        return Deferred.fromCoroutine(run())

    async def talking(self, relay: str, caller: bool) -> tuple[Conversation, Conversation]:
        """Return alice's and bob's ends of a conversation; alice goes through the relay.

        Args:
            caller: she has invited him, else he has invited her.
        """
        alice, bob = await self.pair(relay)
        begun: Deferred[Conversation] = Deferred()
        if caller:
            bob.on_conversation(begun.callback)
            hers = await alice.invite("bob")
            return hers, await begun
        alice.auto_accept = True
        alice.on_conversation(begun.callback)
        port = alice.endpoint.listeners[0].port
        bob._access._server = server_uri(f"127.0.0.1:{port}", DOMAIN, "udp")
        his = await bob.invite("alice", secure=True)
        return await begun, his

    def test_renewed(self) -> Any:
        """Her relay's URIs end after two seconds; the relay gives others, of which he is told by
        another offer in time. Whatever both say meanwhile arrives, once and in order (§5.1)."""

        async def run() -> None:
            relay = await self.relay("127.0.0.1", min_expires=1, default_expires=2)
            for caller in (True, False):
                hers, his = await self.talking(self.uri(relay), caller)
                got: dict[str, list[str]] = {"hers": [], "his": []}
                collect(hers, got["hers"])
                collect(his, got["his"])
                assert hers.talk.medium is not None
                first = hers.talk.medium.session
                self.assertEqual(len(first.path), 2)
                said: list[Deferred[Any]] = []
                for number in range(100):
                    for end in (hers, his):
                        said.append(Deferred.fromCoroutine(end.send(str(number), reports=())))
                    await self.pause(0.05)
                for sent in said:
                    await sent
                wanted = [str(number) for number in range(100)]
                await self.until(lambda got=got: len(got["hers"]) == len(got["his"]) == 100)
                self.assertEqual(got, {"hers": wanted, "his": wanted})
                self.assertIsNot(hers.talk.medium.session, first)
                self.assertTrue(first.closed)
                await hers.leave()

        return Deferred.fromCoroutine(run())

    def test_not_renewed(self) -> Any:
        """When her relay refuses to renew her way, the conversation ends with it and both know;
        another one gets another way as soon as the relay lets her."""

        async def run() -> None:
            relay = await self.relay("127.0.0.1", min_expires=1, default_expires=2)
            hers, his = await self.talking(self.uri(relay), True)
            users = relay.node.stores.users  # type: ignore[attr-defined]
            known = await users.get("alice")
            another = make_user("alice", DOMAIN, "another", (f"sip:alice@{DOMAIN}",))
            await users.put(attrs.evolve(another, version=known.version))
            ends: list[str] = []
            hers.on_end(ends.append)
            his.on_end(ends.append)
            await self.until(lambda: len(ends) == 2)
            self.assertRegex(hers.why, "our way through the relay has ended: .*401")
            version = (await users.get("alice")).version
            await users.put(attrs.evolve(known, version=version))
            hers, his = await self.talking(self.uri(relay), True)
            await hers.send("again")
            self.assertEqual((await his.next()).text, "again")

        return Deferred.fromCoroutine(run())

    def test_cut_off(self) -> Any:
        """When the connection to her relay is lost, she offers another way and both talk on,
        whoever has called; when the relay is gone as well, both know."""

        async def run() -> None:
            for caller in (True, False):
                relay = await self.relay("127.0.0.1")
                hers, his = await self.talking(self.uri(relay), caller)
                await hers.send("one")
                for leg in relay.relay.legs:
                    leg.end("enough")
                medium = hers.talk.medium
                await self.until(lambda hers=hers, old=medium: hers.talk.medium is not old)
                await hers.send("two")
                await his.send("three")
                texts = [(await his.next()).text, (await his.next()).text]
                self.assertEqual((texts, (await hers.next()).text), (["one", "two"], "three"))
                hers._mending._broken_at = -1e9
                ends: list[str] = []
                hers.on_end(ends.append)
                his.on_end(ends.append)
                await relay.node.stopService()  # type: ignore[attr-defined]
                await self.until(lambda ends=ends: len(ends) == 2)

        return Deferred.fromCoroutine(run())

    def test_both_offer(self) -> Any:
        """When both offer another session at the same moment, one of them is made, and it is
        through her relay, whoever has called: also where his offer is the one that counts
        (RFC 4976 §5.1; RFC 3261 §14.1)."""

        async def run() -> None:
            relay = await self.relay("127.0.0.1")
            for caller in (True, False):
                hers, his = await self.talking(self.uri(relay), caller)
                old = hers.talk.medium
                for leg in relay.relay.legs:
                    leg.end("enough")
                await self.until(lambda his=his, hers=hers: not (his.talk.open or hers.talk.open))
                his._mending._offer_in(0.0)
                hers._mending._offer_in(0.0)
                said = [Deferred.fromCoroutine(end.send("on", reports=())) for end in (hers, his)]
                await self.until(lambda hers=hers, old=old: hers.talk.medium is not old)
                for sent in said:
                    await sent
                self.assertEqual([(await end.next()).text for end in (hers, his)], ["on", "on"])
                assert hers.talk.medium is not None
                self.assertEqual(len(hers.talk.medium.session.path), 2)
                await hers.leave()

        return Deferred.fromCoroutine(run())

    def test_his_offer(self) -> Any:
        """When he offers another session, her answer has another way through her relay, too
        (RFC 4976 §5.1)."""

        async def run() -> None:
            relay = await self.relay("127.0.0.1")
            for caller in (True, False):
                hers, his = await self.talking(self.uri(relay), caller)
                old = hers.talk.medium
                await his._renew()
                await self.until(lambda hers=hers, old=old: hers.talk.medium is not old)
                assert hers.talk.medium is not None
                self.assertEqual(len(hers.talk.medium.session.path), 2)
                await hers.send("from behind", reports=())
                await his.send("to behind", reports=())
                texts = ((await his.next()).text, (await hers.next()).text)
                self.assertEqual(texts, ("from behind", "to behind"))
                await hers.leave()

        return Deferred.fromCoroutine(run())

    def test_ended_meanwhile(self) -> Any:
        """When the call ends while her relay is asked for another way, whoever has offered, nobody
        keeps that way (RFC 4976 §5.1)."""

        async def run() -> None:
            relay = await self.relay("127.0.0.1")
            for offers in (True, False):
                hers, his = await self.talking(self.uri(relay), True)
                negotiation = hers.leg.negotiation
                ways = negotiation._ways
                asked: Deferred[None] = Deferred()
                go_on: Deferred[None] = Deferred()
                assert ways is not None

                async def slow(
                    *more: Any, ways: Any = ways, asked: Any = asked, go_on: Any = go_on
                ) -> Any:
                    asked.callback(None)
                    await go_on
                    return await ways(*more)

                negotiation._ways = slow
                renewing = Deferred.fromCoroutine((hers if offers else his)._renew())
                await asked
                await hers.leave()
                go_on.callback(None)
                with self.assertRaises(Failure):
                    await renewing
                await self.until(lambda hers=hers: not hers.leg._changing.locked)
                await self.pause(0.1)
                kept = hers._means.media._relay.kept
                self.assertEqual([one for one in kept if not one._passage.released], [])

        return Deferred.fromCoroutine(run())

    def test_no_way(self) -> Any:
        """Where the relay cannot be trusted, or refuses, nobody is invited."""

        async def run() -> None:
            stranger = await self.relay("127.0.0.1", authority=Authority())
            alice, _ = await self.pair(self.uri(stranger))
            with self.assertRaises(Failure):
                await alice.invite("bob")
            self.assertEqual(alice.sessions._means.legs, set())
            relay = await self.relay("127.0.0.1")
            alice, _ = await self.pair(self.uri(relay).replace("msrps", "msrp"))
            with self.assertRaises(Failure):
                await alice.invite("bob")

        return Deferred.fromCoroutine(run())

    def test_no_way_to_answer(self) -> Any:
        """Who invites her hears 480 at once when her relay gives her no way; what came along is
        among her messages (RFC 3261 §21.4.18)."""

        async def run() -> None:
            stranger = await self.relay("127.0.0.1", authority=Authority())
            alice, bob = await self.pair(self.uri(stranger))
            alice.auto_accept = True
            port = alice.endpoint.listeners[0].port
            bob._access._server = server_uri(f"127.0.0.1:{port}", DOMAIN, "udp")
            got: list[Any] = []
            alice.on_message(got.append)
            inviting = Deferred.fromCoroutine(bob.invite("alice", secure=True, first="hello"))
            inviting.addTimeout(10, reactor)
            with self.assertRaises(Failure) as caught:
                await inviting
            self.assertEqual(caught.exception.status, 480)
            self.assertNotIn("relay", str(caught.exception))
            self.assertEqual([one.text for one in got], ["hello"])

        return Deferred.fromCoroutine(run())

    def test_networks(self) -> Any:
        """Peers have a client connect only to the networks that it was told (RFC 4975 §14)."""

        async def run() -> None:
            alice, _ = await self.pair("", msrp_networks=["10.0.0.0/8"], msrp_lowest_port=20)
            talk = await alice.invite("bob")
            ended: Deferred[str] = Deferred()
            talk.on_end(ended.callback)
            await ended
            endpoint = alice._media.endpoint
            assert endpoint is not None
            self.assertTrue(endpoint.counters["refused_targets"])
            self.assertEqual(endpoint.counters["connections_opened"], 0)

        return Deferred.fromCoroutine(run())

    def test_no_uri(self) -> None:
        """A relay is an MSRP URI."""
        with self.assertRaises(UsageError):
            Client("alice@north.example", relay="relay.north.example")


def collect(conversation: Conversation, texts: list[str]) -> None:
    """Put what comes in a list."""
    conversation.on_message(lambda message: texts.append(message.text))
