"""One message to many: URI lists in the request (§5.3.2)."""

from __future__ import annotations

from omaim.bodies.imdn import DELIVERY
from omaim.client.failures import Failure
from omaim.testing.peers import phone
from omaim.testing.scenario import (
    IN_PROCESS,
    Layout,
    Missed,
    ScenarioNetwork,
    holds,
    same,
    scenario,
)

DEMANDING = Layout({"im-north": {"consent": "demand"}})


@scenario(shows=("IMS-07/list",))
async def one_copy_each(net: ScenarioNetwork) -> None:
    """Each listed user of two domains gets one copy, however often listed; bcc stays hidden."""
    alice = await net.online("alice")
    people = [await net.online(name) for name in ("bob", "carol", "xenia", "yusuf")]
    bob, carol, xenia, yusuf = people
    sent = await alice.send_list(
        [bob.identity, xenia.identity, bob.identity],
        "to all of you",
        cc=[carol.identity, xenia.identity],
        bcc=[yusuf.identity],
    )
    holds(sent.status in ("pending", "delivered"), "the list is taken")
    holds(net.seen("alice", "MESSAGE", status=202), "and answered 202: nobody has it yet")
    for one in people:
        message = await net.message(one)
        same((message.text, message.sender), ("to all of you", alice.identity), f"{one} reads")
        holds(yusuf.identity not in message.others, f"{one} does not learn of yusuf")
        visible = {bob.identity, carol.identity, xenia.identity}
        holds(set(message.others) <= visible, f"others that {one} sees: {message.others}")
    for one in people:
        await net.nothing(one, 0.3)
    for one in people:
        for sighting in net.sightings(one.endpoint.name):
            if one is not yusuf:
                holds(b"yusuf" not in sighting.record.data, f"yusuf is in nothing that {one} gets")


@scenario(shows=("IMS-07/list", "IMS-17"))
async def reports_of_a_list(net: ScenarioNetwork) -> None:
    """The sender of a list message hears of each delivery; who is offline gets it later."""
    alice, bob = await net.online("alice"), await net.online("bob")
    sent = await alice.send_list([bob.identity, "sip:zoe@south.example"], "minutes")
    same((await net.message(bob)).text, "minutes", "what bob reads")

    def delivered() -> int:
        return len([one for one in sent.reports if one.kind == DELIVERY])

    await net.until(lambda: delivered() == 1, "bob's report")
    zoe = await net.online("zoe")
    same((await net.message(zoe)).text, "minutes", "what zoe reads")
    await net.until(lambda: delivered() == 2, "zoe's report")


@scenario(shows=("IMS-07/list", "IMS-04/large"))
async def large_to_a_list(net: ScenarioNetwork) -> None:
    """What does not fit into a MESSAGE goes to a list as a large message, also to who is away."""
    alice, bob, xenia = [await net.online(name) for name in ("alice", "bob", "xenia")]
    story = "A long story. " * 1000
    people = [bob.identity, xenia.identity, bob.identity, "sip:zoe@south.example"]
    sent = await alice.send(people, story, subject="Story")
    for one in (bob, xenia):
        message = await net.message(one)
        same((message.text, message.sender), (story, alice.identity), f"{one} reads")
        same(message.subject, "Story", "the subject")
    zoe = await net.online("zoe")
    same((await net.message(zoe)).text, story, "what zoe reads")

    def delivered() -> set[str]:
        return {one.recipient for one in sent.reports if one.kind == DELIVERY}

    await net.until(lambda: len(delivered()) == 3, "three reports")
    for one in (bob, xenia, zoe):
        await net.nothing(one, 0.3)


@scenario(shows=("IMS-07/list",))
async def list_of_a_plain_phone(net: ScenarioNetwork) -> None:
    """A list body from any user agent is expanded; without the option tag it is not."""
    carol, bob = await phone(net, "carol"), await phone(net, "bob")
    await bob.register()
    listed = (
        '<?xml version="1.0"?>'
        '<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists" '
        'xmlns:cp="urn:ietf:params:xml:ns:copycontrol"><list>'
        '<entry uri="sip:bob@north.example?Subject=x" cp:copyControl="to"/>'
        '<entry uri="sip:BOB@north.example"/>'
        "</list></resource-lists>"
    )
    boundary = "edge"
    body = (
        f"--{boundary}\r\nContent-Type: text/plain\r\n\r\nhello list\r\n"
        f"--{boundary}\r\nContent-Type: application/resource-lists+xml\r\n"
        f"Content-Disposition: recipient-list\r\n\r\n{listed}\r\n--{boundary}--\r\n"
    )
    kind = f'multipart/mixed;boundary="{boundary}"'
    service = "sip:exploder@north.example"
    require = [("Require", "recipient-list-message")]
    same((await carol.say(service, body, require, kind)).status, 202, "the list request")
    await net.until(bob.received, "bob's copy")
    await net.sleep(0.5)
    copies = [one for one in bob.received() if b"hello list" in one.body]
    same([one.uri.partition("@")[0] for one in copies], ["sip:bob"], "copies")
    copy = copies[0]
    holds("recipient-list-message" not in (copy.first("Require") or ""), "the option is used up")
    holds(b'"recipient-list"' not in copy.body and b"BOB" not in copy.body, "the list is gone")
    same(copy.to.uri_text, "sip:bob@north.example", "To")
    await bob.register(0)


@scenario(shows=("IMS-07/list",), stages=IN_PROCESS, layout=DEMANDING)
async def consent(net: ScenarioNetwork) -> None:
    """Where consent is demanded, a list that lacks it is refused with 470 and told for whom."""
    alice, bob = await net.online("alice"), await net.online("bob")
    try:
        await alice.send_list([bob.identity], "unasked")
    except Failure as failure:
        same(failure.status, 470, "the status")
    else:
        raise Missed("a list message went out without consent")
    (answer,) = net.seen("alice", "MESSAGE", status=470)
    holds("sip:bob@north.example" in (answer.first("Permission-Missing") or ""), "who is missing")
    await net.nothing(bob)
