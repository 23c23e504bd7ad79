"""One message, one user: what either may cost is bounded."""

from __future__ import annotations

import gc
from time import process_time
from typing import Final

from tests.security.support import (
    NORTH,
    NORTH_IM,
    AttackCase,
    Attacker,
    Insider,
    Layout,
    ScenarioNetwork,
    text_of,
    transactions,
)

ALICE: Final = "sip:alice@north.example"
BOB: Final = "sip:bob@north.example"
SIZE: Final = 15_000  # octets of a header line, just under the limit
LINES: Final = 3  # of them, just under the limit of all together
MOST: Final = 600  # times the cost of a usual message: by octets it is 100

_ITEMS: Final = {
    "Via": "SIP/2.0/UDP a;branch=z9hG4bKa",
    "Route": "<sip:127.0.1.1;lr>",
    "Record-Route": "<sip:a;lr>",
    "Contact": "<sip:a@b>",
    "P-Asserted-Identity": "<sip:a@b>",
    "P-Preferred-Identity": "<sip:a@b>",
    "Accept-Contact": "*;a",
    "Reject-Contact": "*;a",
    "Supported": "a",
    "Require": "a",
    "Proxy-Require": "a",
    "Accept": "a/b",
    "Path": "<sip:a;lr>",
    "Privacy": "a",
    "Proxy-Authorization": "Digest a=b",
    "Authorization": "Digest a=b",
    "P-Charging-Vector": "a=b",
    "P-Served-User": "<sip:a@b>",
}
_CHAINS: Final = ("(", '"', "<", ";a", ";a=b", "\\", "%41", "[", ",", " ", "\r\n ", "é", "&a=b")


async def usual_cost(net: ScenarioNetwork, attacker: Attacker) -> float:
    """Return what one message of usual length costs here and now, in seconds of processor."""
    rounds = 20
    began = process_time()
    for number in range(rounds):
        source = attacker.source()
        attacker.forge(
            source, text_of("MESSAGE", BOB, source, sender=ALICE, branch=f"z9hG4bKu{number}")
        )
        await net.sleep(0.2)
    return (process_time() - began) / rounds


class HeaderTests(AttackCase):
    def setUp(self) -> None:
        super().setUp()
        gc.collect()
        gc.disable()  # looking through everything for garbage would count for whoever is measured
        self.addCleanup(gc.enable)

    def test_long_lists(self) -> None:
        """Thousands of values in any header that servers read cost no more than in proportion."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            usual = await usual_cost(net, attacker)
            worst: list[tuple[float, str]] = []
            for number, (name, item) in enumerate(_ITEMS.items()):
                value = ",".join([item] * (SIZE // (len(item) + 1)))
                for target in (NORTH, NORTH_IM):
                    for method in ("MESSAGE", "REGISTER", "SUBSCRIBE"):
                        source = attacker.source()
                        data = text_of(
                            method,
                            BOB if method != "REGISTER" else "sip:north.example",
                            source,
                            sender=ALICE,
                            to=ALICE if method == "REGISTER" else BOB,
                            branch=f"z9hG4bK{number}{method}",
                            headers=(f"{name}: {value}",) * LINES,
                        )
                        began = process_time()
                        attacker.forge(source, data, target)
                        await net.sleep(0.2)
                        worst.append((process_time() - began, f"{method} {name} {target}"))
            self.assertLess(max(worst)[0], MOST * usual, sorted(worst)[-3:])

        self.play(script)

    def test_long_chains(self) -> None:
        """So do thousands of parameters, escapes, quotes and brackets, wherever they stand."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            usual = await usual_cost(net, attacker)
            worst: list[tuple[float, str]] = []
            for number, piece in enumerate(_CHAINS):
                long = piece * (SIZE // len(piece))
                for place in (b"From: ", b"To: ", b";tag=m", b";branch", b"Call-ID: ", b"CSeq: "):
                    source = attacker.source()
                    data = text_of("MESSAGE", BOB, source, sender=ALICE, branch=f"z9hG4bKc{number}")
                    for spoilt in (
                        data.replace(place, place + long.encode(), 1),
                        data.replace(place, long.encode() + place, 1),
                    ):
                        began = process_time()
                        attacker.forge(source, spoilt)
                        await net.sleep(0.2)
                        worst.append((process_time() - began, f"{piece!r} at {place!r}"))
                for uri in (
                    f"sip:a{piece * 2000}@north.example",
                    f"sip:bob@north.example{long[:7000]}",
                ):
                    source = attacker.source()
                    data = text_of("MESSAGE", uri, source, sender=ALICE, to=BOB)
                    began = process_time()
                    attacker.forge(source, data)
                    await net.sleep(0.2)
                    worst.append((process_time() - began, f"{piece!r} in the URI"))
            self.assertLess(max(worst)[0], MOST * usual, sorted(worst)[-3:])

        self.play(script)


class UserTests(AttackCase):
    def test_contacts(self) -> None:
        """A user has so many contacts and no more, each of bounded size."""

        async def script(net: ScenarioNetwork) -> None:
            alice = Insider(Attacker(net))
            statuses = set()
            for number in range(40):
                response = await alice.register(f"<sip:alice@127.0.1.66:{6000 + number}>")
                statuses.add(response.status)
            many = [f"<sip:alice@127.0.1.66:{7000 + number}>" for number in range(100)]
            statuses.add((await alice.register(*many)).status)
            bound = await net.nodes["core-north"].stores.bindings.get(ALICE)
            self.assertLessEqual(len(bound.bindings), 10)
            self.assertEqual(len(statuses - {200}), 1, statuses)

        self.play(script)

    def test_messages_kept(self) -> None:
        """Nobody fills the store for somebody who is away: above the quota it is refused."""

        async def script(net: ScenarioNetwork) -> None:
            alice = Insider(Attacker(net))
            statuses = [(await alice.say(BOB, b"x" * 1000)).status for _ in range(30)]
            self.assertEqual(statuses[:20], [202] * 20)
            self.assertEqual(len(set(statuses[20:])), 1)
            self.assertGreaterEqual(statuses[-1], 400)
            kept = await net.nodes["im-north"].stores.deferred.usage(BOB)
            self.assertEqual(kept.count, 20)

        self.play(script, Layout(settings={"im-north": {"quota_count": 20}}))

    def test_subscriptions(self) -> None:
        """A subscription for a third party, which does not answer, ends after its first NOTIFY."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            alice = Insider(attacker)
            await alice.register()
            victim = attacker.source("127.77.7.7", 5060)
            attacker._watched[victim].received = lambda data, source: attacker.heard.append(
                (victim, data)
            )
            for _ in range(120):
                await alice.ask(
                    "SUBSCRIBE",
                    ALICE,
                    "Event: reg",
                    "Expires: 600",
                    f"Contact: <sip:alice@{victim[0]}:{victim[1]}>",
                )
            await net.sleep(60)
            heard = [data for pair, data in attacker.heard if pair == victim]
            # Each ends when its first NOTIFY is not answered, after twelve tries; 32 at a time.
            self.assertLessEqual(len(heard), 12 * 120)
            before = len(heard)
            await alice.register()
            await net.sleep(60)
            heard = [data for pair, data in attacker.heard if pair == victim]
            # Who does not answer a NOTIFY has no subscription any more (RFC 6665 §4.2.2).
            self.assertEqual(len(heard), before)
            await net.sleep(60)
            self.assertLess(transactions(net), 5)

        self.play(script)
