"""Third-party REGISTER: application servers hear of registrations.

Spec: 3GPP TS 24.229 §5.4.1.7 (to application servers), §5.4.0 (IncludeRegisterRequest)
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from omaim.bodies.mime import Part
from omaim.bodies.multipart import Multipart
from omaim.core.registered import Registration
from omaim.core.service_profile import NO_SESSION, TERMINATE, Criteria, Profile
from omaim.ids import Ids
from omaim.net.endpoint import Endpoint
from omaim.sip.bindings import REJECTED
from omaim.sip.message import Request, Response
from omaim.sip.registration import ENDED, FETCHED, INITIAL
from omaim.stores.records import User

_log = Logger()

INFO_TYPE = "application/3gpp-ims+xml"


class ThirdParty:
    """Registers users at the application servers that their profiles name.

    Args:
        endpoint: requests go out through it.
        profile_of: the service profile of an identity of a user.
        own_uri: of the core, in From and Contact.
        deregister: ends the registrations of an AoR by order of the network; called when a
            server with default handling "session terminated" refuses.
        now: seconds since the epoch.
        charging: header lines with charging information for a new registration.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        profile_of: Callable[[User, str], Profile],
        own_uri: str,
        deregister: Callable[[str, str], Deferred[int]],
        now: Callable[[], float],
        ids: Ids,
        charging: Callable[[User], list[tuple[str, str]]],
    ) -> None:
        self._endpoint = endpoint
        self._profile_of = profile_of
        self._own = own_uri
        self._deregister = deregister
        self._now = now
        self._ids = ids
        self._charging = charging
        self._sequence = 0
        self._run = ids.token(16)

    def follow(self, registration: Registration) -> None:
        """Tell every server whose criteria the REGISTER meets, in the order of priority."""
        if registration.kind == FETCHED:
            return
        request = registration.request or _network_initiated(self._own, registration.aor)
        profile = self._profile_of(registration.user, registration.aor)
        if not profile.filters.criteria:
            return
        after = -1
        while True:
            criteria = profile.next_server(
                request, NO_SESSION, registration.kind, after, registered=True
            )
            if criteria is None:
                return
            after = criteria.priority
            self._send(registration, criteria)

    def _send(self, registration: Registration, criteria: Criteria) -> None:
        expires = 0
        if registration.bindings and registration.kind != ENDED:
            latest = max(binding.expires_at for binding in registration.bindings)
            expires = max(1, int(latest - self._now() + 0.5))
        self._sequence += 1
        request = Request.make(
            "REGISTER",
            criteria.server.name,
            [
                ("Max-Forwards", "70"),
                ("From", f"<{self._own}>;tag={self._ids.tag()}"),
                ("To", f"<{registration.aor}>"),
                ("Call-ID", self._call_id(registration.aor, criteria.server.name)),
                ("CSeq", f"{self._sequence} REGISTER"),
                ("Contact", f"<{self._own}>"),
                ("Expires", str(expires)),
                *self._charging(registration.user),
            ],
        )
        body, content_type = _body(registration, criteria)
        if body:
            request.set_body(body, content_type)

        def answered(response: Response) -> None:
            if response.status < 300:
                return
            _log.warn(
                "{server} refused the registration of {aor} with {status}",
                server=criteria.server.name,
                aor=registration.aor,
                status=response.status,
            )
            refused = criteria.server.default_handling == TERMINATE
            if refused and registration.kind == INITIAL:
                self._deregister(registration.aor, REJECTED).addErrback(
                    lambda failure: _log.failure("cannot deregister", failure)
                )

        self._endpoint.send(request, answered)

    def _call_id(self, aor: str, server: str) -> str:
        """Return the same for all we tell one server of one user, so that it knows the order.

        Spec: RFC 3261 §10.2 (Call-ID, CSeq)
        """
        text = f"{self._run} {aor} {server}".encode("utf-8", "surrogateescape")
        return blake2b(text, digest_size=12).hexdigest()


def _network_initiated(own: str, aor: str) -> Request:
    """Return what stands for the REGISTER that nobody sent, for criteria to look at."""
    headers = [("To", f"<{aor}>"), ("From", f"<{own}>"), ("Expires", "0")]
    return Request.make("REGISTER", own, headers)


def _body(registration: Registration, criteria: Criteria) -> tuple[bytes, str]:
    """Return what the server wants to see of the user's own REGISTER, and its own data."""
    server = criteria.server
    parts: list[Part] = []
    if server.service_info:
        document = (
            '<ims-3gpp version="1"><service-info>'
            f"{_cdata(server.service_info)}</service-info></ims-3gpp>"
        )
        parts.append(Part([("Content-Type", INFO_TYPE)], document.encode()))
    if server.include_request and registration.request is not None:
        parts.append(_message(registration.request))
    if server.include_response and registration.response is not None:
        parts.append(_message(registration.response))
    if not parts:
        return b"", ""
    if len(parts) == 1:
        return parts[0].content, parts[0].content_type
    content_type, body = Multipart("mixed", parts).write()
    return body, content_type


def _message(message: Request | Response) -> Part:
    """Return a copy as a body part, without what proves an identity."""
    copy = message.copy()
    for secret in ("Authorization", "Authentication-Info"):
        copy.remove(secret)
    return Part([("Content-Type", "message/sip")], copy.to_bytes())


def _cdata(text: str) -> str:
    return "<![CDATA[" + text.replace("]]>", "]]]]><![CDATA[>") + "]]>"
