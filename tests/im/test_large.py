"""Large messages: passed on, or taken for later and delivered when the recipient comes."""

from __future__ import annotations

from typing import Any

from omaim.bodies.sdp import SENDONLY
from omaim.im.policy import Settings
from omaim.node.events import MessageAccepted, MessageDeferred, MessageDelivered
from omaim.stores.records import LARGE
from omaim.testing.scenario import ScenarioNetwork
from tests.im.parties import Party, SessionCase, refused

LARGE_MODE = ("Accept-Contact", "*;+g.oma.sip-im.large-message")
PICTURE = bytes(range(256)) * 400  # 100 kB


async def send(
    sender: Party, to: str, body: bytes = PICTURE, kind: str = "image/png", **more: Any
) -> list[int]:
    """Send a large message as a client does; return how it ended."""
    wish = sender.wished(accept_types=("*",), direction=SENDONLY)
    await sender.invite(to, wish, headers=(LARGE_MODE, ("Subject", "look")))
    ends: list[int] = []
    sender.say(body, kind, on_end=ends.append, **more)
    await sender.net.until(lambda: ends, "the message is answered")
    await sender.leave()
    return ends


class LargeTests(SessionCase):
    def test_passed_on(self) -> None:
        """Who is there gets it at once; it is a message, not a session (spec 10 §4)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            xenia.wish = xenia.wished(accept_types=("*",))
            heard: list[Any] = []
            net.nodes["im-south"].taps.add(MessageAccepted, heard.append)
            recorded = Settings(history_pager=True)
            net.entities["im-north"].settings.put(alice.aor, recorded)
            self.assertEqual(await send(alice, xenia.aor), [200])
            await net.sleep(1.0)
            self.assertEqual(xenia.user.bodies, [PICTURE])
            (accepted,) = heard
            self.assertEqual((accepted.sender, accepted.size), (alice.aor, len(PICTURE)))
            (one,) = await net.nodes["im-north"].stores.history.search(alice.aor)
            self.assertEqual((one.kind, one.peer, one.subject), (LARGE, xenia.aor, "look"))
            self.assertEqual(one.size, len(PICTURE))

        self.play(script)

    def test_kept_and_delivered(self) -> None:
        """Who is away gets it when he comes, once, in a session of its own (spec 10 §11)."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await Party.come(net, "alice")
            yusuf = net.person("yusuf").aor
            heard: list[Any] = []
            for kind in (MessageDeferred, MessageDelivered):
                net.nodes["im-south"].taps.add(kind, heard.append)
            self.assertEqual(await send(alice, yusuf), [200])
            self.assertEqual([type(one) for one in heard], [MessageDeferred])
            await net.sleep(10.0)
            party = net.client("yusuf")
            there = Party(net, party)
            there.wish = there.wished(accept_types=("*",))
            await party.register()
            await net.until(lambda: there.user.bodies, "it is delivered")
            await net.sleep(60.0)
            self.assertEqual(there.user.bodies, [PICTURE])
            self.assertEqual(heard[1].recipient, yusuf)
            self.assertEqual(len(there.ended), 1)
            (invitation,) = there.invitations
            self.assertEqual(invitation.request.first("Subject"), "look")
            self.assertEqual(
                invitation.request.from_.uri_text, alice.aor, "the sender, not the server"
            )
            self.assertEqual(net.entities["im-south"].msrp.sessions, [])

        self.play(script)

    def test_device_fails(self) -> None:
        """A device that does not take it now leaves it for later (RFC 3428 §7)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            xenia.answers = 486
            self.assertEqual(await send(alice, xenia.aor), [200])
            self.assertEqual(xenia.user.bodies, [])
            xenia.answers = "accept"
            xenia.wish = xenia.wished(accept_types=("*",))
            await net.until(lambda: xenia.user.bodies, "it is delivered", 600.0)
            await net.sleep(60.0)
            self.assertEqual(xenia.user.bodies, [PICTURE])

        self.play(script)

    def test_short_one_later(self) -> None:
        """What is short enough is delivered by MESSAGE (spec 10 §4)."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await Party.come(net, "alice")
            yusuf = net.person("yusuf")
            self.assertEqual(await send(alice, yusuf.aor, b"short", "text/plain"), [200])
            client = await net.online("yusuf")
            self.assertEqual((await net.message(client)).text, "short")

        self.play(script)

    def test_too_large(self) -> None:
        """What is too large to be kept is stopped, and nothing is kept (413)."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await Party.come(net, "alice")
            yusuf = net.person("yusuf").aor
            self.assertEqual(await send(alice, yusuf, bytes(5000)), [413])
            store = net.nodes["im-south"].stores.deferred
            self.assertEqual((await store.usage(yusuf)).count, 0)

        self.play(script, large_maximum=4000)

    def test_not_kept(self) -> None:
        """Who is blocked is refused; who has deferral off is not available."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await Party.come(net, "alice")
            yusuf = net.person("yusuf").aor
            wish = alice.wished(direction=SENDONLY)
            known = net.entities["im-south"].settings
            known.put(yusuf, Settings(rejects=frozenset({alice.aor})))
            calling = alice.invite(yusuf, wish, headers=(LARGE_MODE,))
            self.assertEqual((await refused(calling)).status, 403)
            known.put(yusuf, Settings(defers=False))
            calling = alice.invite(yusuf, wish, headers=(LARGE_MODE,))
            self.assertEqual((await refused(calling)).status, 480)

        self.play(script)

    def test_no_room(self) -> None:
        """When there is no room, the message is not acknowledged."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await Party.come(net, "alice")
            yusuf = net.person("yusuf").aor
            self.assertEqual(await send(alice, yusuf), [413])

        self.play(script, quota_size=1000)
