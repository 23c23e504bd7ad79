"""Send one MESSAGE on: along its Route as a proxy does, or anew from the server itself.

Spec: RFC 3261 §16.6; RFC 3428 §6, §8
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from twisted.internet.defer import Deferred

from omaim.errors import PeerError
from omaim.im.content import Content
from omaim.im.participating import ANONYMOUS, ANONYMOUS_FROM, Mail
from omaim.net.endpoint import Endpoint
from omaim.sip.message import Request, Response
from omaim.sip.proxying import forwarded_copy, postprocess, strip_via
from omaim.timers import NEVER, Alarm

IM_TAG: Final = "*;+g.oma.sip-im;require;explicit"  # RFC 3841 §9.2: only devices that say so

_OF_THE_BODY: Final = ("Content-Encoding", "Content-Disposition", "Content-Language", "Content-ID")


def may_wait(status: int) -> bool:
    """Tell whether a failed message is worth keeping: never after 6xx.

    Spec: RFC 3428 §7
    """
    return status in (408, 430, 480, 486) or 500 <= status < 600


class Errand:
    """One message on its way to its recipient.

    Attributes:
        response: the final response, once it is there.
        on_late: gets it when it comes after :attr:`done` fired without it.
    """

    __slots__ = ("_alarm", "done", "on_late", "response")

    def __init__(self) -> None:
        self.done: Deferred[Response | None] = Deferred()
        self.response: Response | None = None
        self.on_late: Callable[[Response], object] | None = None
        self._alarm: Alarm | None = None

    def answered(self, response: Response) -> None:
        """A response is here."""
        if response.status < 200 or self.response is not None:
            return
        self.response = response
        if self._alarm is not None:
            self._alarm.deadline = NEVER
            self._alarm = None  # it refers to us
        if not self.done.called:
            self.done.callback(response)
        elif self.on_late is not None:
            self.on_late(response)

    def until(self, alarm: Alarm) -> None:
        """Wait no longer than this alarm."""
        if self._alarm is not None:
            self._alarm.deadline = NEVER
        self._alarm = alarm

    def impatient(self, now: float) -> None:
        """The time to wait is over."""
        if not self.done.called:
            self.done.callback(None)


class Sending:
    """Sends messages.

    Args:
        adaptation: a device that refuses CPIM gets the text inside instead.
        tagged_only: messages reach only devices that registered the IM feature tag.
        patience: seconds a device may take.
        most: octets of what goes by MESSAGE.

    Attributes:
        large: delivers what is larger; ``None`` has it sent by MESSAGE all the same.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        adaptation: bool,
        tagged_only: bool,
        patience: float,
        most: int = 20480,
    ) -> None:
        self.large: Callable[[Request, Content], Awaitable[Response]] | None = None
        self.most = most
        self._endpoint = endpoint
        self._adaptation = adaptation
        self._tagged_only = tagged_only
        self._patience = patience

    async def pass_on(self, mail: Mail) -> Response:
        """Send a message along its Route; return the final response, for its sender.

        Raises:
            PeerError: the Route is broken (400), or the answer is (502).
        """
        errand = Errand()
        self._endpoint.send(self._copy(mail), errand.answered)
        response = await errand.done
        assert response is not None
        return self.upstream(mail, response)

    async def deliver(self, mail: Mail, patient: bool = False) -> Errand:
        """Send a message to its recipient; return when it is answered, or when that takes long.

        Args:
            patient: wait for the answer, however long it takes.

        A device that refuses CPIM is asked again with what is inside it.
        """
        errand = Errand()
        copy = self._copy(mail)
        if self._tagged_only:
            copy.add("Accept-Contact", IM_TAG)
        spare = copy.copy() if self._adaptation and mail.content.media_type == _CPIM else None
        self._try(copy, errand, patient)
        response = await errand.done
        if spare is not None and response is not None and response.status == 415:
            again = plainer(spare, mail.content)
            if again is not None:
                errand = Errand()
                self._try(again, errand, patient)
                await errand.done
        return errand

    def _try(self, request: Request, errand: Errand, patient: bool) -> None:
        self._endpoint.send(request, errand.answered)
        if not patient:
            self._wait(errand, self._patience)

    def _wait(self, errand: Errand, seconds: float) -> None:
        driver = self._endpoint.driver
        alarm = Alarm(errand.impatient)
        errand.until(alarm)
        alarm.deadline = driver.now() + seconds
        driver.deadlines.arm(alarm)
        driver.arm()

    async def post(self, request: Request, content: Content) -> Response:
        """Send a request of our own; return its final response."""
        response = await self.attempt(request, content, None)
        assert response is not None
        return response

    async def attempt(
        self,
        request: Request,
        content: Content,
        begun: Callable[[Errand], object] | None,
    ) -> Response | None:
        """Send a request of our own; return its final response, as long as anybody waits for it.

        Args:
            begun: gets the errand, and may have it given up: then ``None`` is returned.
        """
        if self.large is not None and len(content.body) > self.most:
            return await self.large(request, content)
        if self._tagged_only and not request.has("Accept-Contact"):
            request.add("Accept-Contact", IM_TAG)
        spare = request.copy() if self._adaptation and content.media_type == _CPIM else None
        response = await self._once(request, begun)
        if spare is not None and response is not None and response.status == 415:
            again = plainer(spare, content)
            if again is not None:
                response = await self._once(again, begun)
        return response

    async def _once(
        self, request: Request, begun: Callable[[Errand], object] | None
    ) -> Response | None:
        errand = Errand()
        if begun is not None:
            begun(errand)
        self._endpoint.send(request, errand.answered)
        return await errand.done

    def hurry(self, errand: Errand, seconds: float) -> None:
        """Wait for an answer no longer than so many seconds from now."""
        if errand.response is None and not errand.done.called:
            self._wait(errand, seconds)

    def _copy(self, mail: Mail) -> Request:
        """Return the message as it goes on, with the body that it has now."""
        request = mail.request
        copy = forwarded_copy(request, request.uri)
        postprocess(copy)
        if mail.changed:
            with_content(copy, mail.content)
        if mail.leg.sender == ANONYMOUS:
            # Nobody vouches for the name in From.
            copy.set("From", f"{ANONYMOUS_FROM};tag={request.from_.tag}")
        return copy

    def upstream(self, mail: Mail, response: Response) -> Response:
        """Return a response as the sender of the message gets it.

        A 503 becomes a 500: it was about one hop further on, and whoever asked us would take us
        for overloaded and send the message a second time, to our other address.

        Raises:
            PeerError: it has lost its way (502).

        Spec: RFC 3261 §16.7 step 6; RFC 3263 §4.3
        """
        if response.status == 503:
            return mail.response(500)
        if response.local:
            return mail.response(response.status)
        if not strip_via(response):
            raise PeerError("the answer has lost its way", 502)
        request = mail.request
        if mail.leg.sender == ANONYMOUS:
            response.set("From", request.first("From") or "")
        if response.cseq.number != request.cseq.number:
            response.set("CSeq", request.first("CSeq") or "")
        return response


_CPIM: Final = "message/cpim"


def with_content(request: Request, content: Content) -> None:
    """Give a request another body."""
    for name in _OF_THE_BODY:
        request.remove(name)
    request.set_body(content.body, content.content_type)


def plainer(request: Request, content: Content) -> Request | None:
    """Return the request to try after a device has refused CPIM; ``None`` if there is none.

    Spec: RFC 3261 §8.1.3.5 (a new request with a higher CSeq)
    """
    plain = content.plain()
    if plain is None:
        return None
    with_content(request, plain)
    request.set("CSeq", f"{request.cseq.number + 1} {request.method}")
    return request
