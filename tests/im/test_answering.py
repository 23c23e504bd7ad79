"""Who may have a device answer by itself (RFC 5373; spec 10 §5, §7)."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import booleans, builds, frozensets, lists, sampled_from
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.im_settings import ServiceSettings
from omaim.im.answering import decided
from omaim.im.participating import TERMINATING, Leg
from omaim.im.policy import EVERYBODY, Refusal, Settings
from omaim.im.settings import composed
from omaim.net.wire import OUT
from omaim.sip.answer_mode import AUTO, MANUAL, AnswerMode
from omaim.testing.scenario import ScenarioNetwork
from tests.im.attendees import Attendee
from tests.im.parties import Party, SessionCase, refused
from tests.im.support import ALICE, BOB, CAROL

AUTOMATIC, BY_HAND = AnswerMode(AUTO), AnswerMode(MANUAL)
MUST = AnswerMode(AUTO, required=True)
RIGHT = AnswerMode(AUTO, privileged=True)


def leg(*identities: str, hidden: bool = False) -> Leg:
    return Leg(TERMINATING, BOB, identities[0] if identities else "", True, hidden, identities)


people = frozensets(sampled_from([ALICE, CAROL, EVERYBODY]))
wishes = builds(AnswerMode, sampled_from([AUTO, MANUAL, "Later"]), booleans(), booleans())


class DecidingTests(SynchronousTestCase):
    @given(
        lists(wishes, max_size=2),
        builds(Settings, auto=people, automatic=booleans(), override=people),
    )
    def test_allowed_only(self, asked: list[AnswerMode], settings: Settings) -> None:
        """Nobody is answered automatically whom the callee lets do so in no way; who says nothing,
        and is not to be answered so, leaves no trace."""
        try:
            found = decided(asked, leg(ALICE), settings)
        except Refusal as refusal:
            self.assertEqual(refusal.status, 403)
            self.assertTrue(any(one.required for one in asked))
            return
        allowed = {ALICE, EVERYBODY}
        if found is not None and found.mode == AUTO:
            granted = settings.override if found.privileged else settings.auto
            self.assertTrue(allowed & granted)
        self.assertIn(None if found is None else found.mode, (None, AUTO, MANUAL))
        forced = settings.automatic and allowed & settings.auto
        self.assertEqual(found is None, not asked and not forced)

    def test_nobody(self) -> None:
        """Without a policy nobody is: the person is asked (default: manual)."""
        for asked in ([AUTOMATIC], [RIGHT], [RIGHT, AUTOMATIC]):
            self.assertEqual(decided(asked, leg(ALICE), Settings()), BY_HAND)
        self.assertIsNone(decided([], leg(ALICE), Settings()))

    def test_permitted(self) -> None:
        """Who is on the list is answered as it wishes; who is unknown, or hides, never is."""
        for names in ({ALICE}, {EVERYBODY}):
            settings = Settings(auto=frozenset(names))
            self.assertEqual(decided([AUTOMATIC], leg(ALICE), settings), AUTOMATIC)
            self.assertEqual(decided([MUST], leg(ALICE), settings), MUST)
            self.assertEqual(decided([AUTOMATIC], leg(), settings), BY_HAND)
            self.assertEqual(decided([AUTOMATIC], leg(ALICE, hidden=True), settings), BY_HAND)

    def test_required(self) -> None:
        """Who wants it so or not at all, and may not, is refused."""
        refusal = self.assertRaises(Refusal, decided, [MUST], leg(ALICE), Settings())
        self.assertEqual(refusal.why, "119 Function not allowed: automatic answer forbidden")

    def test_privileged(self) -> None:
        """A right counts only where the callee gives it; without, the other header does."""
        given_it = Settings(override=frozenset([ALICE]))
        self.assertEqual(decided([RIGHT], leg(ALICE), given_it), RIGHT)
        self.assertEqual(decided([RIGHT], leg(CAROL), given_it), BY_HAND)
        self.assertEqual(decided([AUTOMATIC], leg(ALICE), given_it), BY_HAND)
        on_list = Settings(auto=frozenset([ALICE]))
        self.assertEqual(decided([RIGHT, AUTOMATIC], leg(ALICE), on_list), AUTOMATIC)
        self.assertEqual(decided([RIGHT], leg(ALICE), on_list), BY_HAND)

    def test_forced(self) -> None:
        """Where the callee wants it so, those on the list are answered automatically without their
        asking, and whatever they prefer; who insists on the person is refused."""
        settings = Settings(auto=frozenset([ALICE]), automatic=True)
        for asked in ([], [BY_HAND], [AUTOMATIC]):
            self.assertEqual(decided(asked, leg(ALICE), settings), AUTOMATIC)
        self.assertIsNone(decided([], leg(CAROL), settings))
        asked = [AnswerMode(MANUAL, required=True)]
        refusal = self.assertRaises(Refusal, decided, asked, leg(ALICE), settings)
        self.assertIn("manual answer forbidden", refusal.why)
        self.assertEqual(decided(asked, leg(CAROL), settings), asked[0])

    def test_published(self) -> None:
        """Devices publish that their user wants it so; the one that spoke last is right."""
        said = [ServiceSettings(automatic=True), ServiceSettings()]
        self.assertTrue(composed(Settings(), said).automatic)
        said.append(ServiceSettings(automatic=False))
        self.assertFalse(composed(Settings(), said).automatic)


class ServerTests(SessionCase):
    def test_on_the_way(self) -> None:
        """The caller's server passes the wish on, the callee's decides; the answer comes back."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            south = net.entities["im-south"].settings
            for settings, told in (
                (Settings(), ["Manual"]),
                (Settings(auto=frozenset([alice.aor])), ["Auto;require"]),
            ):
                south.put(xenia.aor, settings)
                wish = "Auto;require" if settings.auto else "Auto"
                call = await alice.invite(xenia.aor, headers=(("Answer-Mode", wish),))
                (passed,) = net.seen("im-north", "INVITE", OUT)[-1].all("Answer-Mode")
                self.assertEqual(passed, wish)
                request = xenia.invitations[-1].request
                self.assertEqual(request.all("Answer-Mode"), told)
                await call.bye()
            failed = await refused(
                alice.invite(xenia.aor, headers=(("Priv-Answer-Mode", "Auto;require"),))
            )
            self.assertEqual(failed.status, 403)
            warning = failed.response.first("Warning") or ""
            self.assertIn("119 Function not allowed: automatic answer forbidden", warning)
            bad = await refused(alice.invite(xenia.aor, headers=(("Answer-Mode", "a b"),)))
            self.assertEqual(bad.status, 400)
            self.assertEqual(len(xenia.invitations), 2)

        self.play(script)

    def test_undecided(self) -> None:
        """A device hears no wish that its own server has not judged: of who asks for no IM Client,
        or while the server is down and its core goes on without."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            south = net.entities["im-south"].settings
            south.put(xenia.aor, Settings(auto=frozenset([alice.aor])))
            wishes = (("Answer-Mode", "Auto"), ("Priv-Answer-Mode", "Auto"))
            other = ("Accept-Contact", "*;methods=INVITE")
            await alice.invite(xenia.aor, headers=(other, *wishes))
            await net.stop("im-south")
            await alice.invite(xenia.aor, headers=wishes)
            self.assertEqual(len(xenia.invitations), 2)
            for invitation in xenia.invitations:
                self.assertEqual(invitation.request.all("Answer-Mode"), [])
                self.assertEqual(invitation.request.all("Priv-Answer-Mode"), [])

        self.play(script, media="direct")

    def test_option(self) -> None:
        """Who requires the extension has it required of the device, which refuses if it does not
        know it (RFC 3261 §8.2.2.3)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            headers = (("Answer-Mode", "Manual"), ("Require", "answermode"))
            await alice.invite(xenia.aor, headers=headers)
            self.assertIn("answermode", xenia.invitations[0].request.require)
            xenia.agent.supported.discard("answermode")
            failed = await refused(alice.invite(xenia.aor, headers=headers))
            self.assertEqual(failed.status, 420)
            self.assertEqual(failed.response.first("Unsupported"), "answermode")

        self.play(script)

    def test_rooms(self) -> None:
        """Who makes a conference has those on its list called as it wishes, if they let it."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await Attendee.come(net, "alice")
            bob, xenia = await Attendee.come(net, "bob"), await Attendee.come(net, "xenia")
            for name, person in (("im-north", bob), ("im-south", xenia)):
                settings = Settings(auto=frozenset([alice.aor]))
                net.entities[name].settings.put(person.aor, settings)
            carol = await Attendee.come(net, "carol")
            people = (bob, carol, xenia)
            await alice.create(*(one.aor for one in people), headers=(("Answer-Mode", "Auto"),))
            await net.until(lambda: all(one.invitations for one in people), "all are called")
            told = [one.invitations[0].request.all("Answer-Mode") for one in people]
            self.assertEqual(told, [["Auto"], ["Manual"], ["Auto"]])

        self.play(script)
