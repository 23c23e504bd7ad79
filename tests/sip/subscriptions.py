"""What the tests of both sides of subscriptions share."""

from __future__ import annotations

from omaim.ids import Ids
from omaim.sip.message import Request, Response
from omaim.sip.subscribing import Moved, Notified, Send, Subscribing, Wanted
from omaim.sip.subscription import Subscription, Terms

WANTED = Wanted(
    "sip:bob@example.com",
    "presence",
    "<sip:alice@example.org>",
    "<sip:alice@192.0.2.1>",
    expires=1000,
)
CONTACT = "<sip:notifier@192.0.2.9>"


def arrived(request: Request) -> Request:
    """What the other side sees of a request."""
    copy = request.copy()
    copy.prepend("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx")
    return copy


def accepted(
    subscribe: Request,
    now: float = 0.0,
    *,
    tag: str = "n1",
    terms: Terms | None = None,
    active: bool = True,
) -> tuple[Subscription, Response]:
    """Accept a SUBSCRIBE as a notifier does."""
    subscription = Subscription(
        arrived(subscribe), tag, CONTACT, terms or Terms(), now, active=active
    )
    return subscription, granted(subscribe, subscription.granted, tag)


def granted(subscribe: Request, expires: int, tag: str = "n1") -> Response:
    response = arrived(subscribe).response(200, to_tag=tag)
    response.set("Expires", str(expires))
    response.set("Contact", CONTACT)
    return response


def refused(request: Request, status: int, *headers: tuple[str, str]) -> Response:
    response = arrived(request).response(status, to_tag="e")
    for name, value in headers:
        response.set(name, value)
    return response


def due(subscription: Subscription) -> Request:
    """Return the NOTIFY that is due; there must be one."""
    what = subscription.take()
    assert what is not None, "no NOTIFY is due"
    return arrived(subscription.notify(what, []))


def sends(machine: Subscribing) -> list[Request]:
    """Return the SUBSCRIBEs to send and forget the rest."""
    return [output.request for output in machine.take() if isinstance(output, Send)]


def sent(machine: Subscribing) -> Request:
    """Return the one SUBSCRIBE to send."""
    (request,) = sends(machine)
    return request


def moved(machine: Subscribing) -> list[tuple[int, str]]:
    """Return the states passed through with their reasons and forget the rest."""
    return [(out.state, out.reason) for out in machine.take() if isinstance(out, Moved)]


def heard(machine: Subscribing) -> int:
    """Return how many notifications were passed on, and forget the rest."""
    return sum(isinstance(output, Notified) for output in machine.take())


def subscriber(wanted: Wanted = WANTED, seed: int = 1) -> Subscribing:
    return Subscribing(wanted, Ids(seed))


def established(
    wanted: Wanted = WANTED, now: float = 0.0, terms: Terms | None = None
) -> tuple[Subscribing, Subscription]:
    """Return both sides of an active subscription, with nothing under way."""
    machine = subscriber(wanted)
    machine.start(now)
    subscribe = sent(machine)
    subscription, response = accepted(subscribe, now, terms=terms)
    machine.answered(response, now)
    notify = due(subscription)
    machine.notified(notify, now)
    subscription.answered(notify.response(200), now)
    machine.take()
    return machine, subscription


def run(machine: Subscribing | Subscription, until: float) -> None:
    """Wake a machine at each of its deadlines up to ``until``."""
    for _ in range(100):
        if machine.deadline > until:
            return
        machine.wake(machine.deadline)
    raise AssertionError("the deadline does not move on")
