"""Nobody is whom they say until they prove it, and what they may say ends at the edge."""

from __future__ import annotations

from omaim.sip.message import Response
from tests.security.support import (
    NORTH,
    NORTH_IM,
    SOUTH,
    AttackCase,
    Attacker,
    Insider,
    ScenarioNetwork,
    online,
    text_of,
)

XENIA = "sip:xenia@south.example"
BOB = "sip:bob@north.example"
ALICE = "sip:alice@north.example"


LIST_HEADERS = (
    "Require: recipient-list-message",
    'Content-Type: multipart/mixed;boundary="b"',
)
LIST = (
    b"--b\r\nContent-Type: text/plain\r\n\r\nto many\r\n"
    b"--b\r\nContent-Type: application/resource-lists+xml\r\n"
    b"Content-Disposition: recipient-list\r\n\r\n"
    b'<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list>'
    b'<entry uri="sip:bob@north.example"/></list></resource-lists>\r\n--b--\r\n'
)


class SpoofingTests(AttackCase):
    def test_unproved(self) -> None:
        """A user's From without proof is 407, whatever else the request claims (RFC 3261 §22.3)."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            source = attacker.source()
            claims = (
                (),
                (f"P-Asserted-Identity: <{ALICE}>",),
                (f"P-Preferred-Identity: <{ALICE}>",),
                (f"P-Served-User: <{ALICE}>;sescase=orig;regstate=reg",),
                (f"Route: <sip:{NORTH}:5060;lr;orig>",),
                ('Authorization: Digest username="alice@north.example"',),
            )
            for number, headers in enumerate(claims, 1):
                data = text_of("MESSAGE", BOB, source, sender=ALICE, number=number, headers=headers)
                self.assertEqual((await attacker.ask(data, source)).status, 407, headers)

        self.play(script)

    def test_sender_of_another(self) -> None:
        """A user who proves to be alice is not let out as anybody else (RFC 3325 §5)."""

        async def script(net: ScenarioNetwork) -> None:
            alice = Insider(Attacker(net))
            response = await alice.ask("MESSAGE", XENIA, body=b"x", sender=BOB)
            self.assertEqual(response.status, 403)
            response = await alice.ask(
                "MESSAGE", XENIA, f"P-Preferred-Identity: <{BOB}>", body=b"x"
            )
            self.assertEqual(response.status, 403)
            response = await alice.ask(
                "MESSAGE", XENIA, body=b"x", sender="sip:ceo@elsewhere.example"
            )
            self.assertEqual(response.status, 403)

        self.play(script)

    def test_registering_another(self) -> None:
        """Nobody registers for somebody else: 403 (RFC 3261 §10.3 step 4)."""

        async def script(net: ScenarioNetwork) -> None:
            alice = Insider(Attacker(net))
            response = await alice.ask(
                "REGISTER", "sip:north.example", "Contact: <sip:a@127.66.6.6>", to=BOB
            )
            self.assertEqual(response.status, 403)
            bindings = await net.nodes["core-north"].stores.bindings.get(BOB)
            self.assertEqual(bindings.bindings, ())

        self.play(script)

    def test_claims_end_at_the_edge(self) -> None:
        """What a client says with network headers reaches nobody (RFC 3325 §6, RFC 7315 §4)."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            alice = Insider(attacker)
            xenia = Insider(attacker, "xenia", "south.example")
            self.assertEqual((await xenia.register()).status, 200)
            response = await alice.say(
                XENIA,
                b"hello",
                f"P-Asserted-Identity: <{BOB}>",
                "P-Asserted-Identity: <tel:+15551234>",
                "P-Charging-Vector: icid-value=forged;orig-ioi=evil.example",
                "P-Charging-Function-Addresses: ccf=evil.example",
                f"P-Served-User: <{BOB}>;sescase=term;regstate=reg",
            )
            self.assertEqual(response.status, 200)
            (seen,) = attacker.requests(xenia.source)
            self.assertEqual(seen.all("P-Asserted-Identity"), [f"<{ALICE}>"])
            for name in ("P-Charging-Vector", "P-Charging-Function-Addresses", "P-Served-User"):
                self.assertFalse(seen.has(name), name)
            for sighting in net.sightings("core-south", "in"):
                self.assertNotIn(b"evil.example", sighting.record.data)
                self.assertNotIn(b"forged", sighting.record.data)
            self.assertFalse(response.has("P-Charging-Vector"))

        self.play(script)

    def test_answers_do_not_assert(self) -> None:
        """A callee cannot slip identities or charging into its answer (RFC 3325 §5)."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            attacker.lies = [
                f"P-Asserted-Identity: <{BOB}>",
                "P-Charging-Vector: icid-value=forged;term-ioi=evil.example",
                "P-Charging-Function-Addresses: ccf=evil.example",
            ]
            zoe = Insider(attacker, "zoe", "south.example")
            self.assertEqual((await zoe.register()).status, 200)
            alice = Insider(attacker)
            response = await alice.say("sip:zoe@south.example", b"hello")
            self.assertEqual(response.status, 200)
            self.assertEqual(len(attacker.requests(zoe.source)), 1)
            for name in (
                "P-Asserted-Identity", "P-Charging-Vector", "P-Charging-Function-Addresses",
            ):  # fmt: skip
                self.assertFalse(response.has(name), name)

        self.play(script)


class RelayTests(AttackCase):
    def test_strangers(self) -> None:
        """A sender from nowhere gets 403 and nothing is passed on, to us or to others."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            source = attacker.source()
            victim = attacker.source("127.66.7.7", 5060)
            uris = (BOB, "sip:a@127.66.7.7", XENIA, "tel:+15551234", "sip:127.66.7.7")
            for number, uri in enumerate(uris, 1):
                data = text_of("MESSAGE", uri, source, number=number)
                self.assertEqual((await attacker.ask(data, source)).status, 403, uri)
            self.assertEqual(attacker.requests(victim), [])
            self.assertEqual(net.seen("core-south", "MESSAGE"), [])

        self.play(script)

    def test_forged_routes(self) -> None:
        """Routes that we did not give out are not followed: 403 (RFC 3261 §16.12, §26.1)."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            source = attacker.source()
            victim = attacker.source("127.66.7.7", 5060)
            alice = Insider(attacker)
            routes = (
                "<sip:127.66.7.7;lr>",
                f"<sip:{NORTH}:5060;lr>, <sip:127.66.7.7;lr>",
                f"<sip:{NORTH}:5060;lr>, <sip:{NORTH_IM}:5060;lr>",
                f"<sip:{NORTH}:5060;lr>, <sip:{SOUTH}:5060;lr>",
            )
            for number, route in enumerate(routes, 1):
                for to in ("", ";tag=x"):
                    data = text_of(
                        "MESSAGE",
                        "sip:a@127.66.7.7",
                        source,
                        number=number + (50 if to else 0),
                        headers=(f"Route: {route}",),
                    ).replace(b"To: <sip:a@127.66.7.7>", b"To: <sip:a@127.66.7.7>" + to.encode())
                    self.assertEqual((await attacker.ask(data, source)).status, 403, route)
                response = await alice.say(XENIA, b"x", f"Route: {route}")
                self.assertEqual(response.status, 403, route)
            self.assertEqual(attacker.requests(victim), [])
            self.assertEqual(net.seen("im-north", "MESSAGE"), [])

        self.play(script)

    def test_forged_place_in_the_chain(self) -> None:
        """An original-dialog identifier works for servers only, and only if it is ours."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            source = attacker.source()
            alice, xenia = Insider(attacker), Insider(attacker, "xenia", "south.example")
            await xenia.register()
            await alice.say(XENIA, b"to see a real token")
            seen = net.seen("im-north", "MESSAGE")
            token = seen[0].all("Route")[-1].partition("odi=")[2].strip(">")
            self.assertGreater(len(token), 20)
            for number, odi in enumerate((token, token[:-2] + "AA", "A", "", "=" * 9, "é"), 1):
                data = text_of(
                    "MESSAGE",
                    XENIA,
                    source,
                    sender=BOB,
                    number=number,
                    headers=(f"Route: <sip:{NORTH}:5060;lr;odi={odi}>",),
                )
                status = (await attacker.ask(data, source)).status
                self.assertIn(status, (400, 403, 407), odi)
            # And from the server's address, which UDP does not prove.
            before = len(attacker.requests(xenia.source))
            forged = text_of(
                "MESSAGE",
                XENIA,
                (NORTH_IM, 5060),
                sender=BOB,
                number=77,
                headers=(f"Route: <sip:{NORTH}:5060;lr;odi={token[:-4]}AAAA>",),
            )
            attacker.forge((NORTH_IM, 5060), forged)
            await net.sleep(1)
            self.assertEqual(len(attacker.requests(xenia.source)), before)

        self.play(script)

    def test_no_transit(self) -> None:
        """A peer reaches our users only, not third parties through us."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            victim = attacker.source("127.66.7.7", 5060)
            for number, uri in enumerate(("sip:a@127.66.7.7", XENIA), 1):
                data = text_of("MESSAGE", uri, (SOUTH, 5060), number=number)
                attacker.forge((SOUTH, 5060), data)
            await net.sleep(1)
            self.assertEqual(attacker.requests(victim), [])
            refused = [
                one.message.status
                for one in net.sightings("core-north", "out")
                if isinstance(one.message, Response)
            ]
            self.assertEqual(refused, [403, 403])

        self.play(script)

    def test_services_serve_the_core_only(self) -> None:
        """The IM Server answers strangers 403 and does nothing for them (IM-2)."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            source = attacker.source()
            bob = await online(net, "bob")
            cases = (
                ("MESSAGE", BOB, ()),
                ("REGISTER", "sip:im.north.example", ()),
                ("SUBSCRIBE", "sip:deferred@north.example", ("Event: x",)),
                ("MESSAGE", "sip:deferred@north.example", ()),
                ("MESSAGE", "sip:exploder@north.example", ()),
                ("PUBLISH", BOB, ()),
                ("INVITE", BOB, ()),
            )
            for number, (method, uri, more) in enumerate(cases, 1):
                headers = (
                    f"P-Asserted-Identity: <{ALICE}>",
                    f"P-Served-User: <{BOB}>;sescase=term;regstate=reg",
                    *more,
                )
                data = text_of(method, uri, source, sender=ALICE, number=number, headers=headers)
                self.assertEqual((await attacker.ask(data, source, NORTH_IM)).status, 403, method)
            await net.nothing(bob)

        self.play(script)

    def test_contacts_inside(self) -> None:
        """A Contact that leads to a server of ours gives its owner no way behind the edge."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            alice, bob = Insider(attacker), Insider(attacker, "bob")
            alice.rport = ""
            await bob.register()
            inside = (
                f"<sip:bob@north.example;maddr={NORTH_IM}>",
                f"<sip:exploder@north.example;maddr={NORTH_IM}>",
                f"<sip:bob@{NORTH_IM}:5060>",
                f"<sip:bob@{NORTH}:5060>",
            )
            for contact in inside:
                await alice.register(contact)
                before = len(attacker.requests(bob.source))
                await alice.say(ALICE, b"round about", f"P-Served-User: <{BOB}>;sescase=term")
                # Nor do services do anything for whoever writes to such a user.
                response = await alice.say(ALICE, LIST, *LIST_HEADERS)
                self.assertNotEqual(response.status, 202, contact)
                await net.sleep(40)
                for request in attacker.requests(bob.source)[before:]:
                    self.assertEqual(request.all("P-Asserted-Identity"), [f"<{ALICE}>"])
                await alice.ask(
                    "REGISTER", "sip:north.example", "Contact: *", "Expires: 0", to=ALICE
                )

        self.play(script)


class DigestTests(AttackCase):
    def test_replay(self) -> None:
        """A REGISTER that somebody overheard works once: then 401 stale (RFC 7616 §5.5)."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            alice = Insider(attacker)
            self.assertEqual((await alice.register()).status, 200)
            heard = [
                one.record.data
                for one in net.sightings("core-north", "in")
                if b"Authorization" in one.record.data
            ][-1]
            thief = attacker.source()
            stolen = heard.replace(
                b"127.0.1.66:%d" % alice.source[1], b"%s:%d" % (thief[0].encode(), thief[1])
            ).replace(b"branch=z9hG4bK", b"branch=z9hG4bKx")
            response = await attacker.ask(stolen, thief)
            self.assertEqual(response.status, 401)
            self.assertIn("stale=true", (response.first("WWW-Authenticate") or "").lower())
            bound = await net.nodes["core-north"].stores.bindings.get(ALICE)
            self.assertEqual(len(bound.bindings), 1)
            self.assertIn("127.0.1.66", bound.bindings[0].contact)

        self.play(script)

    def test_fields(self) -> None:
        """Credentials with wrong, absent or absurd fields get a challenge or 400, never 200."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            alice = Insider(attacker)
            await alice.register()
            good = next(
                value
                for header, value in alice.answerer.answers("REGISTER", "sip:north.example", b"")
            )
            fields = [field.strip() for field in good.partition(" ")[2].split(",")]
            self.assertGreater(len(fields), 6)
            spoilt = []
            for number, field in enumerate(fields):
                name = field.partition("=")[0]
                others = fields[:number] + fields[number + 1 :]
                if name not in ("algorithm",):
                    spoilt.append(others)
                for value in ('""', "x", '"' + "9" * 500 + '"', "00000000", "-1", '"é"'):
                    spoilt.append([*others, f"{name}={value}"])
                spoilt.append([*fields, field])
            schemes = [f"Digest {', '.join(one)}" for one in spoilt]
            schemes += [
                "Basic YWxpY2U6YWxpY2Utc2VjcmV0",
                "Digest",
                "Digest ,,,",
                "",
                "Digest =",
                "\x01",
            ]
            source = attacker.source()
            for number, value in enumerate(schemes, 1000):
                data = text_of(
                    "REGISTER",
                    "sip:north.example",
                    source,
                    sender=ALICE,
                    to=ALICE,
                    number=number,
                    headers=(f"Authorization: {value}", "Contact: <sip:thief@127.66.6.6>"),
                )
                if number % 15 == 0:
                    await net.sleep(61)  # so that not all is answered by the limit on attempts
                status = (await attacker.ask(data, source)).status
                self.assertIn(status, (400, 401, 403), value)
            bound = await net.nodes["core-north"].stores.bindings.get(ALICE)
            self.assertNotIn("thief", str(bound))

        self.play(script)

    def test_unknown_users(self) -> None:
        """Who exists cannot be asked: an unknown name and a wrong password are alike."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            shapes = []
            for name in ("alice", "nobody"):
                user = Insider(attacker, name)
                user.answerer._password = b"wrong"
                response = await user.register()
                shapes.append(
                    (
                        response.status,
                        [
                            (one, "" if "nonce" in text or "tag" in text else text)
                            for one, text in zip(response.names, response.lines, strict=False)
                            if one
                            not in ("Via", "From", "To", "Call-ID", "CSeq", "WWW-Authenticate")
                        ],
                        len(response.all("WWW-Authenticate")),
                    )
                )
                plain = text_of(
                    "MESSAGE",
                    XENIA,
                    user.source,
                    sender=user.aor,
                    number=7,
                    call_id=f"p{name}",
                )
                shapes.append(((await attacker.ask(plain, user.source)).status, [], 0))
            self.assertEqual(shapes[0], shapes[2])
            self.assertEqual(shapes[1], shapes[3])

        self.play(script)

    def test_guessing(self) -> None:
        """Who guesses wrong often has to wait; the user is not locked out elsewhere."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            thief = Insider(attacker)
            thief.source = attacker.source("127.66.6.6")
            statuses = []
            for number in range(40):
                thief.answerer._password = b"guess%d" % number
                thief.answerer._protections.clear()
                statuses.append((await thief.register()).status)
            self.assertEqual((statuses[0], statuses[-1]), (401, 403))
            self.assertEqual((await Insider(attacker).register()).status, 200)

        self.play(script)
