"""A client that follows its own registration."""

from __future__ import annotations

from typing import Any

from omaim.bodies.reginfo import MEDIA_TYPE, Contact, Reginfo, Registration, write_reginfo
from omaim.roles.incoming import Incoming
from omaim.roles.notifier import Notifier
from omaim.roles.packages import EventPackage, Served, State
from omaim.roles.registrant import Registrant
from omaim.roles.registration_watch import RegistrationWatch
from omaim.roles.watcher import Watcher
from omaim.sip.client_registration import FAILED, REGISTERED, REGISTERING
from omaim.sip.message import Response
from tests.roles.support import Roles

AOR = "sip:bob@10.0.0.1"


class Reg(EventPackage):
    """The reg event package of a registrar with one contact."""

    def __init__(self) -> None:
        super().__init__("reg", (MEDIA_TYPE,))
        self.contact = Contact("c", "created", "sip:bob@10.0.0.3")
        self.junk = False
        self.skip = 0

    def begin(self, incoming: Incoming, resource: str) -> object:
        return [0]

    def state(self, served: Served, full: bool) -> Any:
        counter: Any = served.context
        version = counter[0] + (0 if full else self.skip)
        counter[0] = version + 1
        if self.junk:
            return State(b"<html/>", MEDIA_TYPE)
        registration = Registration(AOR, "r", "active", (self.contact,))
        return State(write_reginfo(Reginfo(version, full, (registration,))), MEDIA_TYPE)


class RegistrationWatchTests(Roles):
    def setUp(self) -> None:
        super().setUp()
        self.server = self.agent("10.0.0.1", "core")
        self.registers = 0
        self.server.on("REGISTER", self.grant)
        self.notifier = Notifier(self.server)
        self.reg = Reg()
        self.notifier.serve(self.reg)
        self.bob = self.agent("10.0.0.3", "bob")
        self.bob.identity = AOR
        self.registrant = Registrant(self.bob, "sip:10.0.0.1", expires=100_000)
        self.tables: list[Any] = []
        self.watch = RegistrationWatch(self.registrant, Watcher(self.bob), self.tables.append)
        self.wait(self.registrant.start())
        self.watch.start()
        self.clock.advance(1.0)

    def grant(self, incoming: Incoming) -> Response:
        self.registers += 1
        return incoming.response(200, [("Contact", str(incoming.request.contacts[0]))])

    def tell(self, event: str, retry_after: int | None = None, uri: str = "") -> None:
        contact = Contact("c", event, uri or "sip:bob@10.0.0.3", retry_after=retry_after)
        self.reg.contact = contact
        self.notifier.changed("reg", AOR)
        self.clock.advance(1.0)

    def test_table(self) -> None:
        """The contacts of the registration are known (RFC 3680 §5.2)."""
        (registration,) = self.watch.table.registrations.values()
        self.assertEqual([one.uri for one in registration.contacts], ["sip:bob@10.0.0.3"])
        self.assertEqual(len(self.tables), 1)

    def test_rejected(self) -> None:
        """Rejected is the end (3GPP TS 24.229 §5.1.1.7)."""
        self.tell("rejected")
        self.clock.advance(86400.0)
        self.assertEqual((self.registrant.state, self.registers), (FAILED, 1))

    def test_deactivated(self) -> None:
        """Deactivated asks to register anew (RFC 3680 §5.3)."""
        self.tell("deactivated")
        self.assertEqual((self.registrant.state, self.registers), (REGISTERED, 2))

    def test_probation(self) -> None:
        """Probation asks to wait (RFC 3680 §5.3)."""
        self.tell("probation", 120)
        self.clock.advance(110.0)
        self.assertEqual((self.registrant.state, self.registers), (REGISTERING, 1))
        self.clock.advance(20.0)
        self.assertEqual((self.registrant.state, self.registers), (REGISTERED, 2))

    def test_another_contact(self) -> None:
        """What happens to another device is none of our business."""
        self.tell("rejected", uri="sip:bob@10.0.0.44")
        self.assertEqual((self.registrant.state, self.registers), (REGISTERED, 1))

    def test_gap(self) -> None:
        """A document that is missing is made good by a refresh (RFC 3680 §5.2)."""
        self.reg.skip = 3
        before = len(self.tables)
        self.tell("refreshed")
        self.assertEqual(len(self.tables) - before, 2)  # the late one, and the full one

    def test_junk(self) -> None:
        """A document that is none is refused; the subscription goes on."""
        self.reg.junk = True
        self.tell("refreshed")
        self.reg.junk = False
        self.tell("deactivated")
        self.assertEqual(self.registers, 2)

    def test_stopped(self) -> None:
        """Afterwards nothing is heard any more."""
        self.wait(self.watch.stop())
        self.assertEqual(len(self.notifier), 0)
        self.assertIsNone(self.successResultOf(self.watch.stop()))
