"""Many of anything: memory stays bounded, victims hear little, and others are still served."""

from __future__ import annotations

import tracemalloc
from typing import Final

from omaim.net.limits import StreamLimits
from tests.security.support import (
    NORTH,
    NORTH_IM,
    SIP,
    SIPS,
    AttackCase,
    Attacker,
    Insider,
    ScenarioNetwork,
    text_of,
    transactions,
)

ALICE: Final = "sip:alice@north.example"
BOB: Final = "sip:bob@north.example"
XENIA: Final = "sip:xenia@south.example"


class DatagramFloodTests(AttackCase):
    def test_registers_keep_nothing(self) -> None:
        """Thousands of unproved REGISTERs from anywhere leave no state (RFC 3261 §26.3.2.4)."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            core = net.entities["core-north"]
            most = 0
            for number in range(1, 5001):
                source = (f"127.66.{number % 250}.{number // 250}", 5060)
                data = text_of(
                    "REGISTER", "sip:north.example", source, sender=ALICE, to=ALICE, number=number
                )
                attacker.forge(source, data)
                if number % 100 == 0:
                    await net.sleep(0.01)
                    most = max(most, transactions(net))
            self.assertEqual(most, 0)
            self.assertEqual(core.endpoint.counters["crashed"], 0)
            self.assertEqual((await Insider(attacker).register()).status, 200)

        self.play(script)

    def test_wrong_credentials_keep_little(self) -> None:
        """Nor do wrong answers: what is counted of them is small, whatever names they use."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            source = attacker.source()
            first = text_of("REGISTER", "sip:north.example", source, sender=ALICE, to=ALICE)
            challenge = (await attacker.ask(first, source)).all("WWW-Authenticate")[0]
            nonce = challenge.partition('nonce="')[2].partition('"')[0]
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            for number in range(2, 2002):
                name = f"{number}" + "n" * 3500
                proof = (
                    f'Digest username="{name}", realm="north.example", nonce="{nonce}", '
                    f'uri="sip:north.example", response="{"0" * 64}", algorithm=SHA-256, '
                    'qop=auth, nc=00000001, cnonce="x"'
                )
                data = text_of(
                    "REGISTER",
                    "sip:north.example",
                    source,
                    sender=ALICE,
                    to=ALICE,
                    number=number,
                    headers=(f"Authorization: {proof}",),
                )
                attacker.forge(source, data)
                if number % 50 == 0:
                    await net.sleep(0.01)
                    attacker.heard.clear()
                    net.records.clear()
            await net.sleep(60)
            attacker.heard.clear()
            net.records.clear()
            grown = tracemalloc.get_traced_memory()[0] - before
            tracemalloc.stop()
            self.assertLess(grown, 2_000_000)

        self.play(script)

    def test_reflection(self) -> None:
        """A victim whose address is forged gets few octets, each answer once, nothing later."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            kinds = (
                ("REGISTER", "sip:north.example", ALICE),
                ("MESSAGE", BOB, ALICE),
                ("INVITE", BOB, ALICE),
                ("OPTIONS", "sip:north.example", ALICE),
                ("SUBSCRIBE", BOB, ALICE),
                ("MESSAGE", BOB, "sip:mallory@evil.example"),
                ("INVITE", BOB, "sip:mallory@evil.example"),
                ("NONSENSE", BOB, ALICE),
            )
            for host in (NORTH, NORTH_IM):
                for number, (method, uri, sender) in enumerate(kinds):
                    victim = attacker.source(f"127.77.7.{number + 1}", 5060)
                    before = len(attacker.heard)
                    data = text_of(
                        method,
                        uri,
                        victim,
                        sender=sender,
                        branch=f"z9hG4bKr{host}{number}",
                    )
                    attacker.forge(victim, data, host)
                    await net.sleep(60)
                    got = [one for pair, one in attacker.heard[before:] if pair == victim]
                    what = f"{method} from {sender} to {host}: {len(got)}"
                    self.assertLessEqual(sum(map(len, got)), 3 * len(data), what)
                    self.assertLessEqual(len(got), 1, what)

        self.play(script)

    def test_reflection_in_bulk(self) -> None:
        """However much is sent in a victim's name, what it gets is limited."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            victim = attacker.source("127.77.7.7", 5060)
            for number in range(1, 4001):
                data = text_of("MESSAGE", BOB, victim, sender=ALICE, number=number)
                attacker.forge(victim, data)
                if number % 400 == 0:
                    await net.sleep(0.1)
            await net.sleep(5)
            got = sum(len(one) for pair, one in attacker.heard if pair == victim)
            self.assertLess(got, attacker.sent / 2)

        self.play(script)

    def test_via_names_another(self) -> None:
        """Answers go where the request came from, not where its Via says (RFC 3261 §18.2.2)."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            victim = attacker.source("127.77.7.7", 5060)
            source = attacker.source()
            lies = (
                f"SIP/2.0/UDP {victim[0]}:5060",
                f"SIP/2.0/UDP {source[0]}:5060;maddr={victim[0]}",
                f"SIP/2.0/UDP {victim[0]}:5060;received={victim[0]};rport=5060",
                f"SIP/2.0/TCP {victim[0]}:5060",
            )
            for number, via in enumerate(lies, 1):
                data = text_of("MESSAGE", BOB, source, sender=ALICE, number=number)
                via_line = data.split(b"\r\n")[1]
                branch = via_line.partition(b";branch")[2]
                data = data.replace(via_line, b"Via: " + via.encode() + b";branch" + branch)
                attacker.forge(source, data)
                junk = data.replace(b"CSeq: ", b"CSeq: x").replace(b"z9hG4bK", b"z9hG4bKj")
                attacker.forge(source, junk)
            await net.sleep(40)
            heard = [one for pair, one in attacker.heard if pair == victim]
            self.assertEqual(heard, [])

        self.play(script)

    def test_responses_from_nowhere(self) -> None:
        """Responses that nobody asked for change nothing and are not passed on."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            victim = attacker.source("127.77.7.7", 5060)
            own = f"SIP/2.0/UDP {NORTH}:5060;branch=z9hG4bKguess"
            for number in range(50):
                lines = [
                    "SIP/2.0 200 OK",
                    f"Via: {own}{number}",
                    f"Via: SIP/2.0/UDP {victim[0]}:5060;branch=z9hG4bKv{number}",
                    f"From: <{ALICE}>;tag=a",
                    f"To: <{BOB}>;tag=b",
                    f"Call-ID: stray-{number}",
                    f"CSeq: 1 {'INVITE' if number % 2 else 'MESSAGE'}",
                    "Content-Length: 0",
                    "",
                    "",
                ]
                attacker.forge(("127.66.6.6", 5060), "\r\n".join(lines).encode())
            await net.sleep(2)
            self.assertEqual(attacker.heard, [])
            self.assertEqual(transactions(net), 0)

        self.play(script)

    def test_branches_and_tags_collide(self) -> None:
        """Requests that share branch, tags or Call-ID with others are nobody else's."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            alice, bob = Insider(attacker), Insider(attacker, "bob")
            await bob.register()
            # A stranger uses each branch that alice is going to use, first.
            thief = attacker.source()
            for number in range(alice.number, alice.number + 6):
                data = text_of("MESSAGE", BOB, thief, sender=ALICE, branch=f"z9hG4bK{number}")
                attacker.forge(thief, data)
            await net.sleep(0.5)
            attacker.heard.clear()
            self.assertEqual((await alice.say(BOB, b"mine")).status, 200)
            self.assertEqual(len(attacker.requests(bob.source)), 1)
            # And afterwards he cannot fetch the answer with the same branch.
            data = text_of(
                "MESSAGE",
                BOB,
                thief,
                sender=ALICE,
                number=alice.number,
                branch=f"z9hG4bK{alice.number}",
                call_id=f"alice-{alice.number}",
            )
            self.assertEqual((await attacker.ask(data, thief)).status, 407)
            # Nor cancel anything of hers.
            cancel = data.replace(b"MESSAGE", b"CANCEL")
            self.assertEqual((await attacker.ask(cancel, thief)).status, 481)

        self.play(script)


class StreamFloodTests(AttackCase):
    def test_slow_loris(self) -> None:
        """Who sends one octet at a time, or none, is dropped in the time that limits say."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            connections = net.entities["core-north"].endpoint.connections
            limits = connections.limits
            silent = [attacker.line(port=port) for port in (SIP, SIPS) for _ in range(100)]
            slow = [attacker.line(port=port) for port in (SIP, SIPS) for _ in range(100)]
            data = text_of("MESSAGE", BOB, ("127.66.6.6", 5060), transport="TCP")
            for at in range(20):
                for line in slow:
                    line.send(data[at : at + 1])
                await net.sleep(1.0)
            self.assertEqual({line.state for line in slow}, {"gone"})
            await net.sleep(limits.first)
            self.assertEqual({line.state for line in silent}, {"gone"})
            self.assertEqual(len(connections), 0)

        self.play(script)

    def test_half_messages(self) -> None:
        """Half messages are kept for seconds, and no more than one message's worth each."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            connections = net.entities["core-north"].endpoint.connections
            head = text_of("MESSAGE", BOB, ("127.66.6.6", 5060), transport="TCP")
            body = head.replace(b"Content-Length: 0", b"Content-Length: 1000000")
            lines = [attacker.line() for _ in range(20)]
            for line in lines[:10]:
                line.send(body + b"x" * 300_000)
            for line in lines[10:]:
                line.send(head[:-4] + b"\r\nX: " + b"y" * 100_000)
            await net.sleep(2)
            self.assertEqual({line.state for line in lines[:10]}, {"up"})
            self.assertGreaterEqual(connections._begun_sum, 3_000_000)
            self.assertEqual({line.state for line in lines[10:]}, {"gone"})
            await net.sleep(connections.limits.half)
            self.assertEqual({line.state for line in lines}, {"gone"})
            self.assertEqual((len(connections), connections._begun_sum), (0, 0))

        self.play(script)

    def test_deaf_peer(self) -> None:
        """Who asks and does not read is not read either, and dropped before it costs much."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            endpoint = net.entities["core-north"].endpoint
            line = attacker.line()
            await net.sleep(0.1)
            assert line.stream is not None
            line.stream.pause()
            for number in range(1, 6001):
                line.send(
                    text_of(
                        "MESSAGE",
                        BOB,
                        ("127.66.6.6", 5060),
                        sender=ALICE,
                        number=number,
                        transport="TCP",
                    )
                )
                if number % 500 == 0:
                    await net.sleep(0.5)
            streams = endpoint.connections._streams
            unread = max((one._stream.buffered for one in streams if one._stream), default=0)
            self.assertLessEqual(unread, endpoint.connections.limits.unread)
            await net.sleep(endpoint.connections.limits.idle + 60)
            self.assertEqual(len(endpoint.connections), 0)

        self.play(script)

    def test_limits_hold(self) -> None:
        """More connections than allowed are refused; a gone one makes room for the next."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            connections = net.entities["core-north"].endpoint.connections
            connections.limits = StreamLimits(total=300, per_host=100)
            crowd = [attacker.line() for _ in range(150)]
            await net.sleep(0.5)
            self.assertEqual([line.state for line in crowd].count("up"), 100)
            others = [attacker.line(host=f"127.66.7.{n % 50 + 1}") for n in range(300)]
            await net.sleep(0.5)
            self.assertEqual([line.state for line in others].count("up"), 200)
            self.assertEqual(len(connections), 300)
            for line in crowd:
                if line.stream is not None:
                    line.stream.close()
            await net.sleep(0.5)
            self.assertEqual(len(connections), 200)
            late = attacker.line(host="127.66.8.1")
            await net.sleep(0.5)
            self.assertEqual(late.state, "up")

        self.play(script)

    def test_idle_connections_are_cheap(self) -> None:
        """A hundred thousand idle connections fit: each costs a few kilobytes at most."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            endpoint = net.entities["core-north"].endpoint
            endpoint.connections.limits = StreamLimits(total=100_000, per_host=100_000)
            attacker.line()
            await net.sleep(0.5)
            tracemalloc.start()
            before = tracemalloc.take_snapshot()
            lines = [attacker.line() for _ in range(1000)]
            await net.sleep(0.5)
            after = tracemalloc.take_snapshot()
            tracemalloc.stop()
            self.assertEqual(len(endpoint.connections), 1001)
            # What the test's own network and our side of the stream cost is not the server's.
            ours = [
                one.size_diff
                for one in after.compare_to(before, "filename")
                if "/omaim/" in one.traceback[0].filename
                and "/testing/" not in one.traceback[0].filename
            ]
            self.assertLess(sum(ours) / 1000, 4000)
            self.assertEqual({line.state for line in lines}, {"up"})
            await net.sleep(40)
            self.assertEqual(len(endpoint.connections), 0)

        self.play(script)

    def test_shipped_limits(self) -> None:
        """What is allowed as shipped fits into memory: connections times what each may hold."""
        limits = StreamLimits()
        self.assertGreaterEqual(limits.total, 10_000)
        self.assertLess(limits.per_host, limits.total)
        idle = 4000  # octets, see above
        self.assertLess(limits.total * idle + limits.begun, 2**28)
        self.assertLess(limits.begun_per_host, limits.begun)
        self.assertLessEqual(limits.half, 30)
        self.assertLessEqual(limits.first, 60)

    def test_pings(self) -> None:
        """A flood of keep-alives costs nothing and does not count as a message."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            line = attacker.line()
            line.send(b"\r\n\r\n" * 20_000)
            await net.sleep(2)
            self.assertLessEqual(len(line.heard), 2 * 20_000)
            self.assertEqual(transactions(net), 0)
            await net.sleep(40)
            self.assertEqual(line.state, "gone")

        self.play(script)


class LoopTests(AttackCase):
    def test_no_hops_left(self) -> None:
        """Max-Forwards 0 is 483, for MESSAGE and INVITE (RFC 3261 §16.3 item 3)."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            source = attacker.source()
            for number, method in enumerate(("MESSAGE", "INVITE", "SUBSCRIBE"), 1):
                data = text_of(method, BOB, source, sender=ALICE, number=number)
                data = data.replace(b"Max-Forwards: 70", b"Max-Forwards: 0")
                self.assertEqual((await attacker.ask(data, source)).status, 483)

        self.play(script)

    def test_two_domains(self) -> None:
        """Users who forward to each other across two domains make no endless loop (RFC 5393)."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            alice, xenia = Insider(attacker), Insider(attacker, "xenia", "south.example")
            alice.rport = xenia.rport = ""
            self.assertEqual((await alice.register(f"<{XENIA}>")).status, 200)
            self.assertEqual((await xenia.register(f"<{ALICE}>")).status, 200)
            before = len(net.records)
            alice.source = attacker.source("127.0.1.67")
            try:
                await alice.say(XENIA, b"round and round")
            except AssertionError:
                pass  # no answer is one, too (RFC 4320 §4.2)
            await net.sleep(60)
            requests = [
                one
                for one in net.sightings(direction="out")[before:]
                if one.record.data.startswith(b"MESSAGE")
            ]
            self.assertLess(len(requests), 100)
            for name in ("core-north", "core-south", "im-north", "im-south"):
                self.assertEqual(transactions(net, name), 0, name)

        self.play(script)

    def test_forking_to_oneself(self) -> None:
        """Many contacts that lead back do not multiply (RFC 5393 §3)."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            alice, bob = Insider(attacker), Insider(attacker, "bob")
            alice.rport = bob.rport = ""
            contacts = [f"<{BOB};n={n}>" for n in range(10)]
            self.assertEqual((await alice.register(*contacts)).status, 200)
            contacts = [f"<{ALICE};n={n}>" for n in range(10)]
            self.assertEqual((await bob.register(*contacts)).status, 200)
            net.records.clear()
            for method in ("MESSAGE", "INVITE"):
                try:
                    await alice.ask(method, BOB, "Content-Type: text/plain", body=b"x")
                except AssertionError:
                    pass  # no answer in time
                await net.sleep(300)
                sent = [
                    one
                    for one in net.records
                    if one.direction == "out" and one.data.startswith(method.encode())
                ]
                self.assertLess(len(sent), 600, method)
                net.records.clear()

        self.play(script)
