"""Users publish what they want of the service, and it is in force at once."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed

from omaim.bodies.im_settings import MEDIA_TYPE, ServiceSettings, write_settings
from omaim.im.policy import Settings
from omaim.im.settings import MOST, PublishedSettings, composed
from omaim.sip.message import Response
from omaim.stores.interfaces import Conflict
from tests.im.support import ALICE, BOB, CAROL, IM, XENIA, ImTestCase


class SettingsTestCase(ImTestCase):
    def publish(
        self,
        settings: ServiceSettings | bytes | None,
        etag: str = "",
        *,
        user: str = BOB,
        sender: str = "",
        event: str = "im-settings",
        kind: str = MEDIA_TYPE,
        expires: int | None = 3600,
    ) -> Response:
        """Have a device publish; return the answer."""
        body = settings if isinstance(settings, bytes) else b""
        if isinstance(settings, ServiceSettings):
            body = write_settings(settings)
        sender = sender or user
        request = self.core.ua.make(
            "PUBLISH",
            user,
            [
                ("Route", f"<sip:{IM};lr>"),
                ("P-Asserted-Identity", f"<{sender}>"),
                ("P-Served-User", f"<{sender}>;sescase=orig;regstate=reg"),
                ("Event", event),
            ],
            body,
        )
        if body:
            request.set("Content-Type", kind)
        if etag:
            request.set("SIP-If-Match", etag)
        if expires is not None:
            request.set("Expires", str(expires))
        return self.ask(request)

    def published(self, settings: ServiceSettings | None, etag: str = "", **named: Any) -> str:
        """Have a device publish what is taken; return the entity-tag."""
        response = self.publish(settings, etag, **named)
        self.assertEqual(response.status, 200)
        return response.first("SIP-ETag") or ""


class PublishTests(SettingsTestCase):
    """RFC 3903 §6."""

    def test_life(self) -> None:
        """Published, refreshed, modified, removed; each answer has another entity-tag."""
        response = self.publish(ServiceSettings(active=False))
        self.assertEqual((response.status, response.first("Expires")), (200, "3600"))
        first = response.first("SIP-ETag") or ""
        self.assertFalse(self.im.published.of(BOB).willing)
        second = self.published(None, first)
        self.assertFalse(self.im.published.of(BOB).willing)
        third = self.published(ServiceSettings(active=True), second)
        self.assertTrue(self.im.published.of(BOB).willing)
        fourth = self.published(ServiceSettings(active=False), third)
        self.published(None, fourth, expires=0)
        self.assertTrue(self.im.published.of(BOB).willing)
        self.assertEqual(len({first, second, third, fourth}), 4)

    def test_unknown_tag(self) -> None:
        """An entity-tag that does not stand, or is another's, is 412 (§6 step 3)."""
        first = self.published(ServiceSettings(active=False))
        self.published(None, first)
        for etag in (first, "other"):
            self.assertEqual(self.publish(None, etag).status, 412)
        other = self.published(ServiceSettings(active=False), user=ALICE)
        self.assertEqual(self.publish(None, other).status, 412)
        self.assertFalse(self.im.published.of(ALICE).willing)

    def test_brief(self) -> None:
        """Too short a time is 423, with the least one (§6 step 4)."""
        response = self.publish(ServiceSettings(active=False), expires=10)
        self.assertEqual((response.status, response.first("Min-Expires")), (423, "60"))
        self.assertTrue(self.im.published.of(BOB).willing)

    def test_event(self) -> None:
        """Another event package is 489, with ours (§6 step 2)."""
        response = self.publish(ServiceSettings(active=False), event="presence")
        self.assertEqual((response.status, response.first("Allow-Events")), (489, "im-settings"))

    def test_event_name(self) -> None:
        """What the package is called can be chosen."""
        self.stop()
        self.start(settings_event="poc-settings")
        self.assertEqual(self.publish(ServiceSettings()).status, 489)
        self.published(ServiceSettings(active=False), event="poc-settings")

    def test_bodies(self) -> None:
        """Another kind of body is 415 with ours, a broken or missing one 400 (§6 step 5)."""
        response = self.publish(b"<x/>", kind="application/pidf+xml")
        self.assertEqual((response.status, response.first("Accept")), (415, MEDIA_TYPE))
        for body in (b"<x", b"<x/>", None):
            self.assertEqual(self.publish(body).status, 400)
        self.assertTrue(self.im.published.of(BOB).willing)

    def test_whose(self) -> None:
        """Settings are for their owner only, who is one of ours."""
        settings = ServiceSettings(active=False)
        self.assertEqual(self.publish(settings, sender=ALICE).status, 403)
        self.assertEqual(self.publish(settings, user=XENIA).status, 404)
        self.assertTrue(self.im.published.of(BOB).willing)

    def test_most(self) -> None:
        """The oldest publication gives way when a user has too many."""
        etags = []
        for _ in range(MOST + 1):
            etags.append(self.published(ServiceSettings(deferred=False)))
            self.clock.advance(1)
        self.assertEqual(self.publish(None, etags[0]).status, 412)
        self.assertEqual(self.publish(None, etags[1]).status, 200)

    def test_store_conflict(self) -> None:
        """Who loses against another server of the same store hears 412."""
        first = self.published(ServiceSettings(active=False))

        def put(publication: object, old: str = "") -> Deferred[None]:
            raise Conflict("somebody was quicker")

        self.patch(self.stores.publications, "put", put)
        self.assertEqual(self.publish(None, first).status, 412)
        self.patch(self.stores.publications, "remove", lambda etag: succeed(False))
        self.assertEqual(self.publish(None, first, expires=0).status, 412)


class EffectTests(SettingsTestCase):
    def test_inactive(self) -> None:
        """Who is not active is as if not there; active again, he gets what waited."""
        etag = self.published(ServiceSettings(active=False))
        self.assertEqual(self.send("term", XENIA, BOB).status, 202)
        self.assertEqual((self.core.seen, self.waiting(BOB)), ([], [b"hello"]))
        self.published(ServiceSettings(active=True), etag)
        self.clock.advance(1)
        self.assertEqual(self.bodies(), [b"hello"])
        self.assertEqual(self.send("term", XENIA, BOB).status, 200)

    def test_invisible(self) -> None:
        """Who is invisible is as if not there (spec 10 §7)."""
        self.published(ServiceSettings(visible=False))
        self.assertEqual(self.send("term", XENIA, BOB).status, 202)

    def test_no_deferral(self) -> None:
        """With deferral off, what cannot be delivered is refused."""
        etag = self.published(ServiceSettings(deferred=False))
        self.assertEqual(self.send("term", XENIA, BOB, state="unreg").status, 480)
        self.published(ServiceSettings(deferred=True), etag)
        self.assertEqual(self.send("term", XENIA, BOB, state="unreg").status, 202)

    def test_two_devices(self) -> None:
        """Somebody is there with any active device; the last word counts about the rest."""
        phone = self.published(ServiceSettings(active=True, deferred=True))
        self.clock.advance(1)
        desk = self.published(ServiceSettings(active=False, deferred=False))
        self.assertEqual(self.im.published.of(BOB), Settings(willing=True, defers=False))
        self.clock.advance(1)
        phone = self.published(ServiceSettings(active=False), phone)
        self.assertEqual(self.im.published.of(BOB), Settings(willing=False, defers=False))
        self.published(None, desk, expires=0)
        self.assertEqual(self.im.published.of(BOB), Settings(willing=False))
        self.published(None, phone, expires=0)
        self.assertEqual(self.im.published.of(BOB), Settings())

    def test_refresh_is_no_word(self) -> None:
        """A refresh does not make an old word the last one."""
        phone = self.published(ServiceSettings(deferred=False))
        self.clock.advance(1)
        self.published(ServiceSettings(deferred=True))
        self.clock.advance(1)
        self.published(None, phone)
        self.assertTrue(self.im.published.of(BOB).defers)

    def test_expiry(self) -> None:
        """What is not refreshed is over, and gone from the store."""
        self.published(ServiceSettings(active=False), expires=60)
        self.published(ServiceSettings(deferred=False), expires=600)
        self.clock.advance(59)
        self.assertFalse(self.im.published.of(BOB).willing)
        self.clock.advance(12)
        self.assertEqual(self.im.published.of(BOB), Settings(defers=False))
        self.clock.advance(600)
        self.assertEqual(self.im.published.of(BOB), Settings())
        self.assertEqual(self.successResultOf(self.stores.publications.aors("im-settings")), ())

    def test_restart(self) -> None:
        """A restart forgets nothing, and the entity-tag is still good."""
        etag = self.published(ServiceSettings(active=False, history_pager=True))
        self.published(ServiceSettings(deferred=False), user=CAROL)
        self.stop()
        self.start()
        self.assertEqual(self.im.published.of(BOB), Settings(willing=False, history_pager=True))
        self.assertFalse(self.im.published.of(CAROL).defers)
        self.published(None, etag, expires=0)
        self.assertEqual(self.im.published.of(BOB), Settings())

    def test_base(self) -> None:
        """What is not said stays as it was, also when that changes later."""
        self.published(ServiceSettings(deferred=False))
        self.im.settings.put(BOB, Settings(rejects=frozenset((XENIA,))))
        self.assertEqual(self.send("term", XENIA, BOB).status, 403)
        self.assertFalse(self.im.published.of(BOB).defers)

    def test_late_reading(self) -> None:
        """A reading of the store that was overtaken by another one changes nothing."""
        store = self.stores.publications
        early: Deferred[Any] = Deferred()
        stale = self.successResultOf(store.of(BOB, "im-settings", 0.0))
        self.published(ServiceSettings(active=False))
        published: PublishedSettings = self.im.published
        self.patch(store, "of", lambda *named: early)
        reading = Deferred.fromCoroutine(published._read(BOB))
        self.patch(store, "of", type(store).of.__get__(store))
        self.successResultOf(Deferred.fromCoroutine(published._read(BOB)))
        early.callback(stale)
        self.successResultOf(reading)
        self.assertFalse(published.of(BOB).willing)


class ComposedTests(ImTestCase):
    def test_modes(self) -> None:
        """Each mode of history is switched by itself."""
        said = [
            ServiceSettings(history_pager=True, history_session=True),
            ServiceSettings(history_session=False),
        ]
        found = composed(Settings(), said)
        self.assertEqual((found.history_pager, found.history_session), (True, False))

    def test_unwilling_base(self) -> None:
        """No device makes somebody available who is not for other reasons."""
        self.assertFalse(composed(Settings(willing=False), [ServiceSettings(active=True)]).willing)
