"""Online delivery, messages kept for later, and what the sender is told (§5.3.2, §5.1)."""

from __future__ import annotations

from omaim.bodies.deferred_list import Waiting
from omaim.bodies.imdn import DELIVERY, DISPLAY, PROCESSING
from omaim.client import Client, Report, Sent
from omaim.client.failures import Declined, Unreachable
from omaim.testing.peers import phone
from omaim.testing.scenario import (
    IN_PROCESS,
    VIRTUAL,
    Layout,
    Missed,
    ScenarioNetwork,
    holds,
    same,
    scenario,
)

EVERYTHING = ("positive-delivery", "negative-delivery", "processing", "display")
NOTIFYING = Layout({"im-south": {"delivery": "notify"}})
KEEPING_TWO = Layout({"im-south": {"quota_count": 2}})


def statuses(sent: Sent) -> list[tuple[str, str]]:
    """Return what was reported on a message, oldest first."""
    return [(report.kind, report.status) for report in sent.reports]


async def reported(net: ScenarioNetwork, sent: Sent, kind: str, status: str) -> Report:
    """Wait for a report; return it."""
    await net.until(
        lambda: (kind, status) in statuses(sent), f"a report of {status}: {statuses(sent)}"
    )
    return next(one for one in sent.reports if (one.kind, one.status) == (kind, status))


async def received(net: ScenarioNetwork, client: Client, count: int) -> list[str]:
    """Return the texts of the next messages."""
    return [(await net.message(client)).text for _ in range(count)]


@scenario(shows=("IMS-12", "IMS-17", "IMS-07/one-to-one"))
async def delivered_and_displayed(net: ScenarioNetwork) -> None:
    """Who is online gets a message at once; delivery and display are reported to the sender."""
    alice, xenia = await net.online("alice"), await net.online("xenia")
    began = net.clock.seconds()
    sent = await alice.send(xenia.identity, "read me", subject="note")
    same(sent.status, "delivered", "what the answer says")
    holds(net.clock.seconds() - began < 2.0 * net.slack, "it took no longer than the way there")
    message = await net.message(xenia)
    same((message.text, message.subject), ("read me", "note"), "what xenia gets")
    await reported(net, sent, DELIVERY, "delivered")
    same(await message.read(), True, "xenia's client says that it was read")
    report = await reported(net, sent, DISPLAY, "displayed")
    same((report.message_id, report.recipient), (sent.message_id, xenia.identity), "of what")
    same(sent.status, "displayed", "the message in the end")


@scenario(shows=("IMS-13/push", "IMS-17", "IMS-63"))
async def kept_and_delivered_in_order(net: ScenarioNetwork) -> None:
    """Messages for somebody offline are kept, reported so, and delivered once and in order."""
    alice = await net.online("alice")
    texts = [f"number {number}" for number in range(3)]
    zoes = "sip:zoe@south.example"
    sent = [await alice.send(zoes, text, reports=EVERYTHING) for text in texts]
    same([one.status for one in sent], ["pending"] * 3, "what the answers say")
    for one in sent:
        await reported(net, one, PROCESSING, "stored")
    zoe = await net.online("zoe")
    same([(await net.message(zoe)).text for _ in texts], texts, "what zoe reads")
    for one in sent:
        report = await reported(net, one, DELIVERY, "delivered")
        same(report.recipient, zoe.identity, "who has it")
    await net.nothing(zoe)
    await zoe.unregister()
    await zoe.register()
    await net.nothing(zoe)


@scenario(shows=("IMS-13/push", "IMS-12"))
async def sender_and_date_are_kept(net: ScenarioNetwork) -> None:
    """A message that waited still tells its true sender and when it was sent."""
    alice = await net.online("alice", display="Alice of the North")
    before = net.now()
    await alice.send("sip:zoe@south.example", "from the past", reports=())
    await net.sleep(2)
    zoe = await net.online("zoe")
    message = await net.message(zoe)
    same((message.sender, message.verified), (alice.identity, True), "the sender")
    holds(before - 1 <= message.sent_at <= before + 1.5, f"sent at {message.sent_at - before:g} s")


@scenario(shows=("IMS-13/push", "IMS-17"), stages=VIRTUAL)
async def not_delivered_late(net: ScenarioNetwork) -> None:
    """A message that is too old when its recipient comes is reported as failed instead."""
    alice = await net.online("alice")
    brief = await alice.send("sip:zoe@south.example", "by noon", validity=60)
    lasting = await alice.send("sip:zoe@south.example", "any time")
    await net.sleep(300)
    await reported(net, brief, DELIVERY, "failed")
    zoe = await net.online("zoe")
    same((await net.message(zoe)).text, "any time", "what zoe reads")
    await net.nothing(zoe)
    await reported(net, lasting, DELIVERY, "delivered")
    same(brief.status, "failed", "the brief one")


@scenario(shows=("IMS-17", "IMS-13/push"))
async def report_to_an_absent_sender(net: ScenarioNetwork) -> None:
    """A report whose reader is offline is kept for it as messages are, and not reported on."""
    alice = await net.online("alice")
    sent = await alice.send("sip:zoe@south.example", "back tomorrow", reports=EVERYTHING)
    await reported(net, sent, PROCESSING, "stored")
    await alice.unregister()
    zoe = await net.online("zoe")
    await net.message(zoe)
    await net.sleep(1)
    holds((DELIVERY, "delivered") not in statuses(sent), "alice cannot know yet")
    await alice.register()
    await reported(net, sent, DELIVERY, "delivered")
    await net.nothing(zoe, 0.5)


@scenario(shows=("IMS-12", "IMS-07/one-to-one"))
async def two_devices(net: ScenarioNetwork) -> None:
    """Both devices of a user get a message, and either may answer."""
    alice = await net.online("alice")
    desk, pocket = await net.online("xenia", device="desk"), await net.online("xenia", device="go")
    await alice.send(desk.identity, "to both", reports=())
    same((await net.message(desk)).text, "to both", "on the desk")
    message = await net.message(pocket)
    same(message.text, "to both", "in the pocket")
    await message.reply("from the pocket", reports=())
    same((await net.message(alice)).text, "from the pocket", "the answer")


@scenario(shows=("IMS-08", "IMS-04/pager"))
async def with_a_plain_sip_phone(net: ScenarioNetwork) -> None:
    """A phone that knows nothing of IM services exchanges text with an IM Client."""
    alice, xenia = await net.online("alice"), await phone(net, "xenia")
    xenia.refused = ("message/cpim",)
    same((await xenia.register()).status, 200, "REGISTER")
    await alice.send(xenia.identity, "plain words", plain=True)
    (one,) = xenia.received()
    same(one.body, b"plain words", "what the phone gets")
    holds(str(one.content_type).startswith("text/plain"), "it is plain text")
    same((await xenia.say(alice.identity, "plain answer")).status, 200, "the phone's MESSAGE")
    message = await net.message(alice)
    same((message.text, message.sender), ("plain answer", xenia.identity), "what alice reads")
    await xenia.register(0)


@scenario(shows=("IMS-08",))
async def adapted_to_a_plain_phone(net: ScenarioNetwork) -> None:
    """A phone that refuses CPIM gets the text inside it."""
    alice, xenia = await net.online("alice"), await phone(net, "xenia")
    xenia.refused = ("message/cpim",)
    await xenia.register()
    sent = await alice.send(xenia.identity, "in an envelope", reports=())
    same(sent.status, "delivered", "what alice is told")
    same([one.body for one in xenia.received()][-1], b"in an envelope", "what the phone gets")
    await xenia.register(0)


@scenario(shows=("IMS-04/pager", "IMS-12"))
async def declined_is_final(net: ScenarioNetwork) -> None:
    """What a recipient declines (6xx) is refused to the sender, and not kept."""
    alice, xenia = await net.online("alice"), await phone(net, "xenia")
    await xenia.register()
    xenia.answers["MESSAGE"] = 603
    try:
        await alice.send(xenia.identity, "no thanks", reports=())
    except Declined as failure:
        same(failure.status, 603, "the status")
    else:
        raise Missed("a declined message was accepted")
    xenia.answers["MESSAGE"] = 200
    count = len(xenia.received())
    await xenia.register()
    await net.sleep(1)
    same(len(xenia.received()), count, "requests after it registers again")
    await xenia.register(0)


@scenario(shows=("IMS-13/push", "IMS-12"), stages=VIRTUAL)
async def silent_device(net: ScenarioNetwork) -> None:
    """A device that says nothing has its message kept before the sender gives up."""
    alice, zoe = await net.online("alice"), await phone(net, "zoe")
    await zoe.register()
    zoe.answers["MESSAGE"] = 0
    began = net.clock.seconds()
    sent = await alice.send(zoe.identity, "hello?", reports=())
    same(sent.status, "pending", "what alice is told")
    holds(net.clock.seconds() - began < 20, "she is told in time")
    count = len(zoe.received())
    zoe.answers["MESSAGE"] = 200
    await net.sleep(60)
    await zoe.register()
    await net.until(lambda: len(zoe.received()) > count, "it comes again", within=120)
    same({one.body[-6:] for one in zoe.received()}, {b"hello?"}, "what it is")


@scenario(shows=("IMS-13/push",), stages=IN_PROCESS, layout=KEEPING_TWO)
async def no_room(net: ScenarioNetwork) -> None:
    """A user's mailbox has an end; the sender is told so, and the rest is delivered."""
    alice = await net.online("alice")
    for number in range(2):
        await alice.send("sip:zoe@south.example", f"number {number}", reports=())
    try:
        await alice.send("sip:zoe@south.example", "one too many", reports=())
    except Unreachable as failure:
        same(failure.status, 480, "the status")
        holds(failure.reason and failure.reason != "Temporarily Unavailable", "a Warning says why")
    else:
        raise Missed("a third message was taken")
    zoe = await net.online("zoe")
    same([(await net.message(zoe)).text for _ in range(2)], ["number 0", "number 1"], "what came")
    await net.nothing(zoe)


@scenario(shows=("IMS-13/push",), stages=IN_PROCESS)
async def kept_over_a_restart(net: ScenarioNetwork) -> None:
    """Messages that an IM Server has accepted outlive it."""
    alice = await net.online("alice")
    sent = await alice.send("sip:zoe@south.example", "hold on")
    same(sent.status, "pending", "what the answer says")
    await net.stop("im-south")
    await net.start("im-south")
    zoe = await net.online("zoe")
    same((await net.message(zoe)).text, "hold on", "what zoe reads")
    await reported(net, sent, DELIVERY, "delivered")


@scenario(shows=("IMS-04/pager",))
async def beyond_pager_mode(net: ScenarioNetwork) -> None:
    """Who wants pager mode gets no more into it than fits; what just fits arrives whole."""
    alice, xenia = await net.online("alice"), await net.online("xenia")
    try:
        await alice.send(xenia.identity, "x" * 1301, large=False)
    except Exception as error:
        holds("1300" in str(error), f"the error names the limit: {error}")
    else:
        raise Missed("1301 octets went out as a pager message")
    await alice.send(xenia.identity, "y" * 400, plain=True)
    same((await net.message(xenia)).text, "y" * 400, "what xenia reads")


@scenario(shows=("IMS-04/pager", "IMS-12"))
async def a_conversation(net: ScenarioNetwork) -> None:
    """Messages both ways, several at once, arrive in the order in which they were sent."""
    bob, carol = await net.online("bob"), await net.online("carol")
    for number in range(5):
        await bob.send(carol.identity, f"b{number}", reports=())
        await carol.send(bob.identity, f"c{number}", reports=())
    same(await received(net, carol, 5), [f"b{number}" for number in range(5)], "carol reads")
    same(await received(net, bob, 5), [f"c{number}" for number in range(5)], "bob reads")


@scenario(shows=("IMS-13/notify", "IMS-13/retrieve"), stages=IN_PROCESS, layout=NOTIFYING)
async def told_and_fetched(net: ScenarioNetwork) -> None:
    """Where users are told instead, a list comes; what they ask for is delivered or deleted."""
    alice = await net.online("alice")
    texts = ["keep", "drop", "keep too"]
    for text in texts:
        await alice.send("sip:zoe@south.example", text, reports=())
    lists: list[tuple[Waiting, ...]] = []
    zoe = net.client("zoe")
    zoe.on_waiting(lists.append)
    await zoe.register()
    await net.until(lambda: lists, "a list of what waits")
    same(len(lists[-1]), 3, "messages in the list")
    same({one.sender for one in lists[-1]}, {alice.identity}, "from whom")
    await net.nothing(zoe)
    waiting = await zoe.deferred.list()
    same([one.reference for one in waiting], [one.reference for one in lists[-1]], "asked for")
    await zoe.deferred.delete([waiting[1].reference])
    same(len(await zoe.deferred.list()), 2, "messages in the list after one is deleted")
    await zoe.deferred.retrieve([waiting[2].reference])
    same((await net.message(zoe)).text, "keep too", "the one that was asked for")
    await zoe.deferred.retrieve()
    same((await net.message(zoe)).text, "keep", "the rest")
    await net.sleep(0.5)
    same(await zoe.deferred.list(), (), "what is left")
