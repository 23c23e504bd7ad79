"""IM-2: application servers on the service control interface (§5.6.2, §5.1)."""

from __future__ import annotations

from typing import Any

from omaim.bodies.multipart import parse_multipart
from omaim.client.failures import Busy
from omaim.core.profile_xml import write_profile
from omaim.core.service_profile import (
    CONTINUE,
    INITIAL,
    ORIGINATING,
    REFRESH,
    REMOVAL,
    TERMINATE,
    TERMINATING,
    CaseIs,
    Criteria,
    Filters,
    MethodIs,
    Point,
    Profile,
    Server,
    Trigger,
)
from omaim.net.wire import OUT
from omaim.sip.message import Request
from omaim.testing.peers import person, phone, service
from omaim.testing.scenario import (
    IN_PROCESS,
    VIRTUAL,
    Layout,
    Missed,
    ScenarioNetwork,
    holds,
    refused,
    same,
    scenario,
)

NORTH = "north.example"
TRUSTING = Layout({"core-north": {"services": ["{base}.1.2", "{base}.1.101", "{base}.1.102"]}})
DIRECT = Layout({name: {"im_down": "deliver"} for name in ("core-north", "core-south")})
CHARGED = Layout({"core-north": {"ccf": ["ccf1.north.example"], "ecf": ["ecf1.north.example"]}})


def message_to(uri: str, priority: int, case: int, handling: int = CONTINUE) -> Criteria:
    """Return the criterion that shows each MESSAGE of one session case to a server."""
    points = (Point(MethodIs("MESSAGE")), Point(CaseIs(case), False, (1,)))
    return Criteria(priority, Server(uri, handling), Trigger(True, points))


def profile(*criteria: Criteria) -> str:
    """Return the service profile with these criteria as XML."""
    return write_profile(Profile(Filters(criteria))).decode()


@scenario(shows=("IMS-21", "IMS-41", "IMS-47"), stages=IN_PROCESS)
async def through_both_im_servers(net: ScenarioNetwork) -> None:
    """A request leaves each core for the IM Server and comes back, telling whom it serves."""
    alice, xenia = await net.online("alice"), await net.online("xenia")
    await alice.send(xenia.identity, "the long way", reports=())
    for home, case, served in (("north", "orig", alice), ("south", "term", xenia)):
        (there,) = net.seen(f"im-{home}", "MESSAGE", peer=f"core-{home}")
        first, second = there.values("Route")
        holds(f"im.{home}.example" in first, "its Route leads to the server")
        holds(";odi=" in second and net.home(home).core in second, "and then back to the core")
        same(
            there.first("P-Served-User"),
            f"<{served.identity}>;sescase={case};regstate=reg",
            "the served user",
        )
        (back,) = net.seen(f"core-{home}", "MESSAGE", peer=f"im-{home}")
        same(back.values("Route"), [second], "the Route on the way back")
        same(back.call_id, there.call_id, "Call-ID")
        same(len(back.values("Via")), len(there.values("Via")) + 1, "Via values")
    (arrived,) = net.seen("xenia", "MESSAGE")
    same(len(arrived.values("Via")), 7, "hops")
    same(arrived.first("P-Served-User"), None, "what xenia sees of the served user")


@scenario(shows=("IMS-65",), stages=IN_PROCESS, layout=TRUSTING)
async def two_services_in_order(net: ScenarioNetwork) -> None:
    """Two servers see a request, each once, the one with the lower priority number first."""
    early, late = await service(net, "north", 1), await service(net, "north", 2)
    order: list[str] = []
    early.change = lambda copy: order.append("early")
    late.change = lambda copy: order.append("late")
    chain = profile(message_to(late.uri, 20, ORIGINATING), message_to(early.uri, 10, ORIGINATING))
    await net.enrol("north", person(f"sip:dave@{NORTH}", profile=chain))
    back = profile(message_to(early.uri, 2, TERMINATING), message_to(late.uri, 1, TERMINATING))
    await net.enrol("north", person(f"sip:erin@{NORTH}", profile=back))
    dave = await phone(net, "dave", domain=NORTH)
    erin = await phone(net, "erin", domain=NORTH)
    same((await erin.register()).status, 200, "erin's REGISTER")
    same((await dave.register()).status, 200, "dave's REGISTER")
    same((await dave.say(erin.identity, "by all of you")).status, 200, "MESSAGE")
    same(order, ["early", "late", "late", "early"], "who saw it, when")
    (arrived,) = erin.received()
    same(arrived.body, b"by all of you", "the body")
    marks = {one.first("P-Charging-Vector") for one in (*early.got(), *late.got())}
    same(len({(mark or "").partition(";")[0] for mark in marks}), 1, "charging identities")


@scenario(shows=("IMS-47", "IMS-65"), stages=IN_PROCESS, layout=TRUSTING)
async def default_handling(net: ScenarioNetwork) -> None:
    """Where a server fails, "continue" goes on without it and "terminate" refuses."""
    failing = await service(net, "north", 1)
    failing.answers["MESSAGE"] = 503
    for name, handling in (("dave", CONTINUE), ("erin", TERMINATE)):
        chain = profile(message_to(failing.uri, 10, ORIGINATING, handling))
        await net.enrol("north", person(f"sip:{name}@{NORTH}", profile=chain))
    bob = await phone(net, "bob")
    await bob.register()
    dave = await phone(net, "dave", domain=NORTH)
    erin = await phone(net, "erin", domain=NORTH)
    await dave.register()
    await erin.register()
    same((await dave.say(bob.identity, "going on")).status, 200, "with default continue")
    status = (await erin.say(bob.identity, "stopped")).status
    holds(status >= 500 or status == 408, f"with default terminate: {status}")
    same([one.body for one in bob.received()], [b"going on"], "what bob got")
    same(len(failing.got()), 2, "requests that the server saw")


@scenario(shows=("IMS-47",), stages=VIRTUAL, layout=TRUSTING)
async def silent_service(net: ScenarioNetwork) -> None:
    """A server that says nothing is given up in time for the sender to hear 200."""
    silent = await service(net, "north", 1)
    silent.answers["MESSAGE"] = 0
    chain = profile(message_to(silent.uri, 10, ORIGINATING))
    await net.enrol("north", person(f"sip:dave@{NORTH}", profile=chain))
    bob = await phone(net, "bob")
    await bob.register()
    dave = await phone(net, "dave", domain=NORTH)
    await dave.register()
    same((await dave.say(bob.identity, "anyway")).status, 200, "MESSAGE")
    same(len(bob.received()), 1, "messages to bob")


@scenario(shows=("IMS-47",), stages=VIRTUAL)
async def nothing_overtakes(net: ScenarioNetwork) -> None:
    """While an IM Server is away, what would overtake the messages that it keeps is refused."""
    alice = await net.online("alice")
    zoe = net.person("zoe").aor
    await alice.send(zoe, "the first", reports=())
    await net.stop("im-south")
    there = await net.online("zoe")
    try:
        await alice.send(zoe, "too early", reports=())
    except Busy as error:
        holds("later" in str(error), f"what alice is told: {error}")
    else:
        raise Missed("a message went past the IM Server that was away")
    await net.nothing(there)
    await net.start("im-south")
    await alice.send(zoe, "the second", reports=())
    texts = [(await net.message(there, within=120)).text for _ in range(2)]
    same(texts, ["the first", "the second"], "what zoe reads")


@scenario(shows=("IMS-47", "IMS-63"), stages=VIRTUAL, layout=DIRECT)
async def im_server_is_down(net: ScenarioNetwork) -> None:
    """With both IM Servers away, people who are there still reach each other, if that is wanted."""
    alice, xenia = await net.online("alice"), await net.online("xenia")
    await net.stop("im-north")
    await net.stop("im-south")
    await alice.send(xenia.identity, "without you", reports=())
    same((await net.message(xenia, within=60)).text, "without you", "what xenia reads")


@scenario(shows=("IMS-47",), stages=IN_PROCESS, layout=TRUSTING)
async def third_party_register(net: ScenarioNetwork) -> None:
    """A server is told of each registration as its criteria say: begun, refreshed, ended."""
    told = await service(net, "north", 1)
    every = MethodIs("REGISTER", (INITIAL, REFRESH, REMOVAL))
    server = Server(told.uri, CONTINUE, "<plan>gold</plan>", True, True)
    chain = profile(Criteria(1, server, Trigger(True, (Point(every),))))
    await net.enrol("north", person(f"sip:dave@{NORTH}", profile=chain))
    dave = await phone(net, "dave", domain=NORTH)
    for expires in (600, 500, 0):
        same((await dave.register(expires)).status, 200, "REGISTER")
    await net.until(lambda: len(told.got("REGISTER")) == 3, "three third-party REGISTERs")
    same([one.expires for one in told.got("REGISTER")], [600, 500, 0], "Expires")
    core = net.home("north").core
    for one in told.got("REGISTER"):
        holds(core in one.from_.uri_text, "From is the core")
        same(one.to.uri_text, dave.identity, "To is the user")
        same(
            [contact.uri_text == one.from_.uri_text for contact in one.contacts], [True], "Contact"
        )
        kind = one.content_type
        holds(kind is not None and kind.essence == "multipart/mixed", "a body with parts")
        parts = parse_multipart(str(kind), one.body).parts
        same(
            [part.media_type for part in parts],
            ["application/3gpp-ims+xml", "message/sip", "message/sip"],
            "parts",
        )
        holds(b"<plan>gold</plan>" in parts[0].content, "the service information is in it")
        holds(b"uthorization:" not in one.body, "no proof of dave's goes to it")


@scenario(shows=("IMS-26", "IMS-43/signalling"), stages=IN_PROCESS, layout=CHARGED)
async def charging_information(net: ScenarioNetwork) -> None:
    """The IM Server gets both charging header fields, the client and the next network less."""
    alice, xenia = await net.online("alice"), await net.online("xenia")
    await alice.send(xenia.identity, "charge me", reports=())
    (there,) = net.seen("im-north", "MESSAGE", peer="core-north")
    vector = there.first("P-Charging-Vector") or ""
    holds(vector.startswith("icid-value=") and "orig-ioi=north.example" in vector, "the vector")
    functions = there.first("P-Charging-Function-Addresses") or ""
    holds("ccf=" in functions and "ecf=" in functions, "the functions")
    (across,) = net.seen("core-south", "MESSAGE", peer="core-north")
    same(across.first("P-Charging-Function-Addresses"), None, "functions told to the south")
    icids = set()
    for entity in ("im-north", "core-south", "im-south"):
        (one, *_) = net.seen(entity, "MESSAGE")
        icids.add((one.first("P-Charging-Vector") or "").partition(";")[0])
    same(icids, {vector.partition(";")[0]}, "identities of one and the same message")
    for sighting in net.sightings("alice") + net.sightings("xenia"):
        same(sighting.message.first("P-Charging-Vector"), None, "what clients see")


@scenario(shows=("IMS-47", "IMS-41"), stages=IN_PROCESS)
async def unregistered_callee(net: ScenarioNetwork) -> None:
    """A message to somebody who is not registered reaches the IM Server, marked so."""
    alice = await net.online("alice")
    sent = await alice.send("sip:zoe@south.example", "later", reports=())
    same(sent.status, "pending", "what alice is told")
    (there,) = net.seen("im-south", "MESSAGE")
    same(
        there.first("P-Served-User"),
        "<sip:zoe@south.example>;sescase=term;regstate=unreg",
        "the served user",
    )


@scenario(shows=("IMS-42/DNS", "IMS-42/tel"), stages=IN_PROCESS, layout=TRUSTING)
async def requests_of_a_service(net: ScenarioNetwork) -> None:
    """What a server originates goes out through the core, which resolves tel: and domains."""
    asking = await service(net, "north", 1)
    number = "tel:+15550123"
    dave = person(f"sip:dave@{NORTH}", public=(f"sip:dave@{NORTH}", number))
    await net.enrol("north", dave)
    device = await phone(net, "dave", domain=NORTH)
    await device.register()
    xenia = await phone(net, "xenia")
    await xenia.register()
    answers: list[Any] = []
    for target in (number, xenia.identity):
        ids = asking.endpoint.ids
        request = Request.make(
            "MESSAGE",
            target,
            [
                ("Route", f"<sip:{net.home('north').core}:{net.plan.port};lr>"),
                ("Max-Forwards", "70"),
                ("From", f"<sip:news@{NORTH}>;tag={ids.tag()}"),
                ("To", f"<{target}>"),
                ("Call-ID", ids.call_id()),
                ("CSeq", "1 MESSAGE"),
                ("P-Asserted-Identity", f"<sip:news@{NORTH}>"),
                ("Content-Type", "text/plain"),
            ],
            b"news",
        )
        asking.endpoint.send(request, answers.append)
    await net.until(lambda: len(answers) == 2, "both are answered")
    same([one.status for one in answers], [200, 200], "the answers")
    (one,) = device.received()
    same(one.uri.partition(":")[0], "sip", "what the number became")
    same(one.first("P-Asserted-Identity"), f"<sip:news@{NORTH}>", "the sender")
    same(len(xenia.received()), 1, "what xenia got")


@scenario(shows=("IMS-42/tel",), stages=IN_PROCESS)
async def by_number(net: ScenarioNetwork) -> None:
    """A client writes to a number; the IM Server passes tel: on, and the core emits sip:."""
    dave = person(f"sip:dave@{NORTH}", public=(f"sip:dave@{NORTH}", "tel:+15550123"))
    await net.enrol("north", dave)
    device = await net.online("dave", domain=NORTH)
    alice = await net.online("alice")
    await alice.send("tel:+15550123", "dial me", reports=())
    same((await net.message(device)).text, "dial me", "what dave reads")
    passed, *_ = net.seen("im-north", "MESSAGE", OUT)
    same(passed.uri, "tel:+15550123", "what the IM Server sends on")
    (arrived,) = net.seen("dave", "MESSAGE")
    holds(arrived.uri.startswith("sip:"), "the core made it sip:")


@scenario(shows=("IMS-24", "IMS-38"), stages=IN_PROCESS)
async def without_the_service(net: ScenarioNetwork) -> None:
    """Somebody whose profile has no IM service registers, and is refused to send messages."""
    await net.enrol("north", person(f"sip:dave@{NORTH}", im_service=False))
    dave = await net.online("dave", domain=NORTH)
    bob = await net.online("bob")
    failure = await refused(dave.send(bob.identity, "no", reports=()), 403)
    holds("127 Service not authorised" in failure.reason, "the Warning says why")
    await net.nothing(bob)


@scenario(shows=("IMS-65",), stages=IN_PROCESS, layout=TRUSTING)
async def retargeted_by_a_service(net: ScenarioNetwork) -> None:
    """A server may send a message to somebody else; the services of the first then end."""
    moving, later = await service(net, "north", 1), await service(net, "north", 2)
    chain = profile(message_to(moving.uri, 1, TERMINATING), message_to(later.uri, 2, TERMINATING))
    await net.enrol("north", person(f"sip:dave@{NORTH}", profile=chain))
    dave = await phone(net, "dave", domain=NORTH)
    bob, carol = await phone(net, "bob"), await phone(net, "carol")
    for one in (dave, bob, carol):
        await one.register()

    def move(copy: Request) -> None:
        copy.uri = bob.identity

    moving.change = move
    same((await carol.say(dave.identity, "moved")).status, 200, "MESSAGE")
    same((len(dave.received()), len(bob.received())), (0, 1), "who got it")
    same(len(later.got()), 0, "what the next server of dave saw")
