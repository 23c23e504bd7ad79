"""IM-1: registration, its state, and what becomes of it (§5.3.1, §5.5.1, §5.6.1)."""

from __future__ import annotations

from itertools import pairwise

from omaim.bodies.reginfo import MEDIA_TYPE, Reginfo, parse_reginfo
from omaim.client.failures import WrongPassword
from omaim.net.wire import OUT
from omaim.roles.watcher import Watcher
from omaim.sip.message import Request
from omaim.testing.peers import Phone, edge, person, phone
from omaim.testing.scenario import (
    EVERYWHERE,
    IN_PROCESS,
    VIRTUAL,
    Missed,
    ScenarioNetwork,
    holds,
    refused,
    same,
    scenario,
)

HOUR = 3600.0
SESSION = "urn:uuid:00000000-0000-4000-8000-00000000000"  # and one more digit


async def reginfo(watching: Phone) -> Reginfo:
    """Return the state of a user's registration as that user sees it."""
    watching.agent.contact = f"<{watching.contact}>"
    watcher = Watcher(watching.agent)
    notify = await watcher.fetch(watching.identity, "reg", accept=[MEDIA_TYPE])
    same(notify.content_type and notify.content_type.essence, MEDIA_TYPE, "type of the state")
    return parse_reginfo(notify.body)


@scenario(shows=("IMS-01", "IMS-25"))
async def registered_and_seen(net: ScenarioNetwork) -> None:
    """A client's 200 names its binding, and the reg event shows it with the IM feature tag."""
    alice = await net.online("alice")
    (response,) = net.seen("alice", "REGISTER", status=200)
    own = [one for one in response.contacts if "+g.oma.sip-im" in str(one)]
    same(len(own), 1, "bindings with the tag in the 200")
    holds(response.all("Service-Route"), "a Service-Route came")
    watching = await phone(net, "alice", device="watch")
    document = await reginfo(watching)
    holds(document.full, "the first document tells all")
    (registration,) = document.registrations
    same((registration.aor, registration.state), (alice.identity, "active"), "the registration")
    (contact,) = registration.contacts
    same(contact.uri, own[0].uri_text, "the contact")
    holds("+g.oma.sip-im" in dict(contact.params), "the reg event shows the feature tag")


@scenario(shows=("IMS-02/digest", "IMS-38"))
async def challenged(net: ScenarioNetwork) -> None:
    """A client is asked for proof before its 200, by SHA-256 first; nothing is in clear."""
    await net.online("alice")
    first, second = net.seen("alice", "REGISTER", OUT)
    (challenge,) = net.seen("alice", "REGISTER", status=401)
    offered = challenge.all("WWW-Authenticate")
    holds("algorithm=SHA-256" in offered[0], "SHA-256 is offered first")
    holds(any("algorithm=MD5" in one for one in offered), "MD5 is offered too")
    holds(all("qop=" in one for one in offered), "qop is always offered")
    same(first.has("Authorization"), False, "credentials before the challenge")
    proof = second.first("Authorization") or ""
    holds("algorithm=SHA-256" in proof, "the client took the best it knew")
    for record in net.records:
        holds(b"alice-secret" not in record.data, "the password is never on the wire")


@scenario(shows=("IMS-02/digest", "IMS-24", "IMS-38"))
async def wrong_secret(net: ScenarioNetwork) -> None:
    """A wrong secret stays refused; the client says so and does not go on asking."""
    mallory = net.client("alice", device="false", password="guess")
    try:
        await mallory.register()
    except WrongPassword as failure:
        same(failure.status, 401, "the status")
    else:
        raise Missed("a wrong password registered")
    holds(len(net.seen("alice-false", "REGISTER", OUT)) <= 3, "it gave up")
    await net.online("alice")


@scenario(shows=("IMS-02/digest",))
async def challenged_as_proxy(net: ScenarioNetwork) -> None:
    """A request is challenged too, and proved with 407 and Proxy-Authorization."""
    alice = await phone(net, "alice")
    xenia = await net.online("xenia")
    same((await alice.register()).status, 200, "REGISTER")
    response = await alice.say(xenia.identity, "prove it")
    same(response.status, 200, "MESSAGE")
    await net.message(xenia)
    holds(net.seen("alice-phone", "MESSAGE", status=407), "it was challenged")
    sent = net.seen("alice-phone", "MESSAGE", OUT)
    same([one.has("Proxy-Authorization") for one in sent][-1], True, "credentials at last")


@scenario(shows=("IMS-39",))
async def binding_comes_and_goes(net: ScenarioNetwork) -> None:
    """A binding is listed in the 200, found again by asking, and gone after Expires 0."""
    bob = await phone(net, "bob")
    response = await bob.register(600)
    same([one.uri_text for one in response.contacts], [bob.contact], "the binding")
    holds(590 <= (response.contacts[0].expires or 0) <= 600, "it lives as long as asked")
    asked = bob.agent.make("REGISTER", "sip:north.example", (), to=f"<{bob.identity}>")
    response = await bob.agent.request(asked)
    same([one.uri_text for one in response.contacts], [bob.contact], "what a question finds")
    response = await bob.register(0)
    same((response.status, response.contacts), (200, []), "after Expires 0")


@scenario(shows=("IMS-39",))
async def rules_of_register(net: ScenarioNetwork) -> None:
    """Brief intervals, wildcards, foreign and unknown addresses are answered as the RFC says."""
    bob = await phone(net, "bob")
    response = await bob.register(10)
    same((response.status, response.first("Min-Expires")), (423, "60"), "too brief")
    same((await bob.register(600, contact="*")).status, 400, "a wildcard that does not remove")
    two = f"<{bob.contact}>;q=0.5, <sip:bob@127.0.0.1:9999>;q=0.9"
    response = await bob.register(600, contact=two)
    same(sorted(one.q for one in response.contacts), [0.5, 0.9], "two contacts with q")
    response = await bob.register(0, contact="*")
    same((response.status, response.contacts), (200, []), "a wildcard that removes")
    other = [("Contact", f"<{bob.contact}>")]
    foreign = bob.agent.make("REGISTER", "sip:north.example", other, to="<sip:carol@north.example>")
    same((await bob.agent.request(foreign)).status, 403, "somebody else's address")
    away = bob.agent.make("REGISTER", "sip:north.example", other, to="<sip:bob@south.example>")
    same((await bob.agent.request(away)).status, 404, "an address of another domain")


@scenario(shows=("IMS-39",))
async def out_of_order(net: ScenarioNetwork) -> None:
    """A REGISTER that is older than the one before it, of the same Call-ID, changes nothing."""
    bob = await phone(net, "bob")

    async def register(number: int, expires: int) -> int:
        made = bob.agent.make(
            "REGISTER",
            "sip:north.example",
            [("Contact", f"<{bob.contact}>"), ("Expires", str(expires))],
            to=f"<{bob.identity}>",
        )
        made.set("Call-ID", "one-and-the-same")
        made.set("CSeq", f"{number} REGISTER")
        return (await bob.agent.request(made)).status

    same(await register(100, 600), 200, "the first")
    holds(await register(50, 0) >= 400, "the older one is refused")
    asked = bob.agent.make("REGISTER", "sip:north.example", (), to=f"<{bob.identity}>")
    response = await bob.agent.request(asked)
    same(len(response.contacts), 1, "bindings")
    same((await bob.register(0)).status, 200, "the end")


@scenario(shows=("IMS-39",), stages=IN_PROCESS)
async def expiry(net: ScenarioNetwork) -> None:
    """What nobody refreshes expires: the IM Server hears of it, and messages are kept."""
    bob = await phone(net, "bob")
    carol = await net.online("carol")
    core = net.entities["core-north"]
    same((await bob.register(60)).status, 200, "REGISTER")
    if not net.network.simulated:
        await core.registrar.deregister(bob.identity, "deactivated")
    else:
        await net.sleep(62)
    await net.until(
        lambda: [one for one in net.seen("im-north", "REGISTER") if one.expires == 0],
        "the IM Server hears that bob is gone",
    )
    sent = await carol.send(bob.identity, "are you there?")
    same(sent.status, "pending", "a message to somebody who is gone")
    same((await bob.register(60)).status, 200, "bob is back")
    await net.until(lambda: bob.received("MESSAGE"), "the kept message comes")


@scenario(shows=("IMS-01", "IMS-39"), stages=VIRTUAL)
async def a_day(net: ScenarioNetwork) -> None:
    """Six clients stay registered for a day, and are reached at each hour of it."""
    people = [await net.online(person.name, expires=3600) for person in net.plan.people]
    everybody = [*people, people[0]]
    for hour in range(24):
        await net.sleep(HOUR)
        for one, other in pairwise(everybody):
            await one.send(other.identity, f"hour {hour}", reports=())
            same((await net.message(other)).text, f"hour {hour}", "what is heard")
    registers = len(net.seen("core-north", "REGISTER")) + len(net.seen("core-south", "REGISTER"))
    holds(6 * 24 <= registers <= 6 * 24 * 3, f"{registers} REGISTERs are neither few nor many")


@scenario(shows=("IMS-01",), stages=VIRTUAL)
async def lost_connection(net: ScenarioNetwork) -> None:
    """A client whose TCP connection breaks comes back by itself, and misses no message."""
    alice = await net.online("alice", transport="tcp")
    bob = await net.online("bob")
    net.simulated.reset(net.home("north").core, "127.0.1.10")
    await net.sleep(1)
    await bob.send(alice.identity, "meanwhile", reports=())
    same((await net.message(alice, within=200)).text, "meanwhile", "what comes after the break")
    await net.until(lambda: alice.registered, "alice is registered again", within=200)
    await bob.send(alice.identity, "and now", reports=())
    same((await net.message(alice)).text, "and now", "by the new connection")


@scenario(shows=("IMS-01",), stages=VIRTUAL)
async def core_restarts(net: ScenarioNetwork) -> None:
    """A client comes back after its core was away, and is told about it meanwhile."""
    states: list[str] = []
    alice = net.client("alice", transport="tcp")
    alice.on_state = lambda state: states.append(state.name)
    await alice.register()
    await net.stop("core-north")
    await net.sleep(600)
    holds(not alice.registered, "the client knows that it is off")
    await net.start("core-north")
    await net.until(lambda: alice.registered, "alice is back", within=2000)
    holds("registering" in states, "it told its user")


@scenario(shows=("IMS-25", "IMS-39"), stages=IN_PROCESS)
async def ended_by_the_network(net: ScenarioNetwork) -> None:
    """The network ends a registration: the client is notified, the IM Server told."""
    states: list[str] = []
    alice = net.client("alice")
    alice.on_state = lambda state: states.append(state.name)
    await alice.register()
    await net.until(lambda: net.seen("alice", "NOTIFY"), "the client watches its registration")
    ended = await net.entities["core-north"].registrar.deregister(alice.identity, "rejected")
    same(ended, 1, "bindings ended")
    await net.until(lambda: not alice.registered, "the client knows")
    events = [
        contact.event
        for notify in net.seen("alice", "NOTIFY")
        if notify.body
        for registration in parse_reginfo(notify.body).registrations
        for contact in registration.contacts
    ]
    same(events[-1], "rejected", "the event it was told")
    await net.until(
        lambda: [one for one in net.seen("im-north", "REGISTER") if one.expires == 0],
        "third-party REGISTER with Expires 0",
    )


@scenario(shows=("IMS-25",), stages=EVERYWHERE)
async def state_in_steps(net: ScenarioNetwork) -> None:
    """The reg event tells all at first, then what changed, each version one more."""
    bob = await phone(net, "bob")
    await bob.register(600)
    watching = await phone(net, "bob", device="watch")
    watching.agent.contact = f"<{watching.contact}>"
    notified: list[Request] = []
    watch = Watcher(watching.agent).watch(bob.identity, "reg", notified.append, accept=[MEDIA_TYPE])
    await net.until(lambda: notified, "the first document")
    await bob.register(0)
    await net.until(lambda: len(notified) > 1, "a change is told", within=15)
    await watch.stop()
    documents = [parse_reginfo(one.body) for one in notified if one.body]
    same([one.version for one in documents], list(range(len(documents))), "versions")
    same(documents[0].full, True, "the first is full")
    last = [
        contact.event
        for document in documents
        for registration in document.registrations
        for contact in registration.contacts
        if contact.uri == bob.contact
    ]
    same((last[0], "unregistered" in last), ("registered", True), "what was told of the contact")


@scenario(shows=("IMS-25",))
async def state_is_private(net: ScenarioNetwork) -> None:
    """Nobody else may watch a registration."""
    alice = await net.online("alice")
    curious = await phone(net, "xenia")
    curious.agent.contact = f"<{curious.contact}>"
    request = curious.agent.make("SUBSCRIBE", alice.identity, [("Event", "reg"), ("Expires", "60")])
    same((await curious.agent.request(request)).status, 403, "a stranger's SUBSCRIBE")


@scenario(shows=("IMS-01", "IMS-39"))
async def one_device_by_gruu(net: ScenarioNetwork) -> None:
    """Each device gets GRUUs of its own, and a message to one reaches that device only."""
    desk = await phone(net, "bob", device="desk")
    pocket = await phone(net, "bob", device="pocket")
    gruus = []
    for number, device in enumerate((desk, pocket)):
        response = await device.register(
            600, f';+sip.instance="<{SESSION}{number}>"', [("Supported", "gruu, path")]
        )
        mine = [one for one in response.contacts if one.uri_text == device.contact]
        gruus.append((mine[0].params.get("pub-gruu") or "").strip('"'))
    holds(all(";gr=" in one for one in gruus), "both got a public GRUU")
    holds(gruus[0] != gruus[1], "and not the same one")
    xenia = await net.online("xenia")
    await xenia.send(gruus[1], "to your pocket", reports=())
    await net.until(lambda: pocket.received(), "the pocket gets it")
    same(desk.received(), [], "what the desk gets")
    for device in (desk, pocket):
        await device.register(0)


@scenario(shows=("IMS-01", "IMS-39"), stages=VIRTUAL)
async def second_flow(net: ScenarioNetwork) -> None:
    """A device with two flows is reached by the other one when one is gone."""
    device = await phone(net, "bob", transport="TCP", listen=False)
    other = await phone(net, "bob", device="again", transport="TCP", listen=False)
    for number, one in enumerate((device, other), 1):
        response = await one.register(
            600,
            f';+sip.instance="<{SESSION}7>";reg-id={number}',
            [("Supported", "outbound, path")],
        )
        same(response.status, 200, "REGISTER")
        holds("outbound" in (response.first("Require") or ""), "outbound is in use")
    same(len(response.contacts), 2, "two flows are two bindings")
    carol = await net.online("carol")
    await carol.send(device.identity, "one copy", reports=())
    same(len(device.received()) + len(other.received()), 1, "copies")
    first = other if other.received() else device
    second = device if first is other else other
    await first.agent.endpoint.stop()
    await net.sleep(1)
    await carol.send(device.identity, "by the other", reports=())
    same(second.received()[-1].body[-12:], b"by the other", "what the other flow got")


@scenario(shows=("IMS-24", "IMS-39"), stages=IN_PROCESS)
async def implicit_identities(net: ScenarioNetwork) -> None:
    """All identities of a user register together; a barred one is never used."""
    dave = person(
        "sip:dave@north.example",
        public=("sip:dave@north.example", "sip:david@north.example", "tel:+15550123"),
        barred=("sip:private@north.example",),
    )
    await net.enrol("north", dave)
    device = await phone(net, "dave", domain="north.example")
    response = await device.register()
    names = [one for line in response.all("P-Associated-URI") for one in line.split(", ")]
    same(
        names,
        ["<sip:dave@north.example>", "<sip:david@north.example>", "<tel:+15550123>"],
        "P-Associated-URI",
    )
    alice = await net.online("alice")
    await alice.send("sip:david@north.example", "by the other name", reports=())
    same(len(device.received()), 1, "messages by another identity")
    await refused(alice.send("sip:private@north.example", "barred", reports=()), 404)


@scenario(shows=("IMS-01", "IMS-39"))
async def by_an_edge_proxy(net: ScenarioNetwork) -> None:
    """A Path is kept with the binding, and requests to the device come along it."""
    way = await edge(net, "north")
    routes = [f"<{way.uri};lr>", f"<sip:{net.home('north').core}:{net.plan.port};lr>"]
    bob = await phone(net, "bob", routes=routes)
    response = await bob.register(600, "", [("Supported", "path")])
    same((response.status, response.first("Path")), (200, f"<{way.uri};lr>"), "REGISTER")
    xenia = await net.online("xenia")
    await xenia.send(bob.identity, "round the corner", reports=())
    (passed,) = way.got("MESSAGE")
    holds(way.uri in (passed.first("Route") or ""), "it came to the edge along the Path")
    (arrived,) = bob.received()
    same(arrived.first("Route"), None, "the Route when it arrives")
    same(len(way.got("REGISTER")), 2, "REGISTERs through the edge")
    await bob.register(0)
