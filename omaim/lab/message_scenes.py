"""Scenes of the demo in which people send single messages."""

from __future__ import annotations

from omaim.client.failures import Failure, NotFound, WrongPassword
from omaim.lab.scene import LATEST, Scene


async def register(scene: Scene) -> None:
    """Alice, Bob and Xenia switch their phones on. Each core asks for the password (401), stores
    where the phone is, and tells its IM Server; the phone asks to be told of changes (NOTIFY)."""
    for name in ("alice", "bob", "xenia"):
        phone = await scene.arrive(name)
        await scene.stage.wait(0.1)  # one after the other is easier to read
        scene.check(
            f"{name} is registered as {scene.aor(name)}",
            phone.registered and scene.aor(name) in phone.granted.associated,
            f"the registrar granted {phone.granted.associated}",
        )


async def across(scene: Scene) -> None:
    """Alice writes to Xenia in the other domain and asks for a delivery report. Both IM Servers
    look at the message; the report goes the same way back."""
    text = "Hello from the north!"
    sent = await scene.phone("alice").send(scene.aor("xenia"), text)
    got = await scene.hears("xenia", text)
    scene.check("xenia has the message, once", len(got) == 1, f"{len(got)} times")
    if got:
        scene.check(
            "the network vouches for its sender",
            got[0].verified and got[0].sender == scene.aor("alice"),
            f"{got[0].sender}, verified: {got[0].verified}",
        )
    report = await sent.delivered(LATEST)
    scene.check("alice has the delivery report", report.status == "delivered", report.status)


async def offline(scene: Scene) -> None:
    """Yusuf's phone is off. The IM Server of his domain keeps the message (202); when he comes,
    it is delivered, and only then does Alice get her report."""
    text = "Call me when you are back."
    sent = await scene.phone("alice").send(scene.aor("yusuf"), text)
    scene.check("the message was taken for later", sent.status == "pending", sent.status)
    await scene.arrive("yusuf")
    got = await scene.hears("yusuf", text)
    scene.check("yusuf got it when he registered, once", len(got) == 1, f"{len(got)} times")
    report = await sent.delivered(LATEST)
    scene.check("alice has the report now", report.status == "delivered", report.status)


async def to_many(scene: Scene) -> None:
    """Alice writes one message to a list of three, one of them in blind copy. Her IM Server makes
    a copy for each."""
    text = "Lunch at noon?"
    names = ("bob", "xenia", "yusuf")
    bob, xenia, yusuf = (scene.aor(name) for name in names)
    await scene.phone("alice").send_list([bob, xenia], text, bcc=[yusuf], reports=())
    for name in names:
        got = await scene.hears(name, text)
        scene.check(f"{name} has one copy", len(got) == 1, f"{len(got)} copies")
    await scene.stage.wait(0.1)
    others = [one for name in ("bob", "xenia") for one in scene.got.get(name, ())]
    seen = {uri for one in others for uri in (*one.to, *one.others)}
    scene.check(
        "neither bob nor xenia sees that yusuf has one",
        yusuf not in seen,
        f"visible: {sorted(seen)}",
    )


async def refused(scene: Scene) -> None:
    """Alice writes to somebody who does not exist; then Mallory, who does not know the password,
    tries to be Alice."""
    domain = scene.stage.person("xenia").domain
    try:
        await scene.phone("alice").send(f"sip:nobody@{domain}", "Is anybody there?")
        scene.check("alice is told that there is no nobody", False, "it was accepted")
    except Failure as failure:
        scene.check("alice is told that there is no nobody", isinstance(failure, NotFound), failure)
    mallory = scene.stage.phone("alice", name="mallory", password="guessed", listen=_beside(scene))
    try:
        await mallory.send(scene.aor("bob"), "Send money. Your Alice")
        scene.check("mallory is not believed", False, "the message was accepted")
    except Failure as failure:
        scene.check(
            "mallory is not believed",
            isinstance(failure, WrongPassword) or failure.status == 403,
            failure,
        )
    fooled = [one for one in scene.got.get("bob", ()) if one.text.startswith("Send money")]
    scene.check("bob never sees what mallory wrote", not fooled, "he does")


def _beside(scene: Scene) -> str:
    address = scene.stage.person("alice").address
    return f"{address.rpartition('.')[0]}.66" if address else ""
