"""Who may register: the address that a REGISTER is for, and the user who proves to have it.

Spec: RFC 3261 §10.3 steps 1 to 5, §22.2; 3GPP TS 24.229 §5.4.1
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from omaim.errors import PeerError
from omaim.sip.admission import Admission
from omaim.sip.authenticating import Authenticator, Challenge
from omaim.sip.dismissing import Dismissing
from omaim.sip.message import Request, Response
from omaim.sip.subscribed import Served, Subscribers
from omaim.sip.transaction import ServerTransaction
from omaim.sip.uri import SipUri, canonical_aor


@final
class Admitted:
    """Somebody who may register.

    Attributes:
        served: the user, under the address that is to be registered.
        info: value for Authentication-Info, which proves us in return; "" for none.
    """

    __slots__ = ("info", "served")

    def __init__(self, served: Served, info: str) -> None:
        self.served: Final = served
        self.info: Final = info


@final
class Admitting:
    """Finds out who registers, and turns others away.

    Args:
        subscribers: the users.
        authenticator: ``None`` believes everybody.
        admission: gives back what it cost those who prove who they are.
        dismissing: turns strangers away.
        serves: tells whether a host is this domain.
        now: seconds since the epoch.
    """

    __slots__ = (
        "_admission",
        "_authenticator",
        "_dismissing",
        "_now",
        "_serves",
        "_subscribers",
    )

    def __init__(
        self,
        subscribers: Subscribers,
        authenticator: Authenticator | None,
        admission: Admission,
        dismissing: Dismissing,
        serves: Callable[[str], bool],
        now: Callable[[], float],
    ) -> None:
        self._subscribers: Final = subscribers
        self._authenticator: Final = authenticator
        self._admission: Final = admission
        self._dismissing: Final = dismissing
        self._serves: Final = serves
        self._now: Final = now

    def admit(self, transaction: ServerTransaction) -> Admitted | None:
        """Return who registers; ``None`` when it was challenged, or turned away.

        Raises:
            PeerError: the address is somebody else's (403).
        """
        request = transaction.request
        flow = transaction.flow
        private_id = ""
        info = ""
        try:
            aor = self._address(request)
            served = self._subscribers.of(aor)
            authenticator = self._authenticator
            if authenticator is not None:
                proof = authenticator.register(request, flow.remote_host, self._now())
                if isinstance(proof, Challenge):
                    self._dismissing.challenge(transaction, proof)
                    return None
                private_id = proof.account.private_id
                info = proof.info
            elif served is None:
                raise PeerError("nobody has this address here", 404)
        except PeerError as error:
            self._dismissing.refuse(transaction, error)
            return None
        self._admission.proved(flow)
        if served is None or (private_id and served.subscriber.private_id != private_id):
            raise PeerError("this address belongs to somebody else", 403)
        return Admitted(served, info)

    def _address(self, request: Request) -> str:
        """Return the address of record that is to be registered.

        Spec: RFC 3261 §10.3 steps 1, 5; §10.2 (the Request-URI has no user)
        """
        uri = request.request_uri
        if not isinstance(uri, SipUri):
            raise PeerError("a registrar is reached by a SIP URI", 416)
        address = request.to
        to = address.uri
        if isinstance(to, SipUri) and not self._serves(to.host):
            raise PeerError("this address is not of this domain", 404)
        return canonical_aor(address.uri_text)


def accepted(
    request: Request,
    tag: str,
    served: Served,
    info: str,
    headers: list[tuple[str, str]],
    bound: bool,
) -> Response:
    """Return the answer to a REGISTER that was carried out.

    Args:
        tag: for To.
        info: for Authentication-Info; "" for none.
        headers: (name, value) lines about the bindings.
        bound: bindings are left; the addresses that were registered together are told then.

    Spec: RFC 3261 §10.3 step 8; 3GPP TS 24.229 §5.4.1.2.2 (P-Associated-URI)
    """
    response = request.response(200, None, tag)
    response.add_all(headers)
    if bound:
        for value in served.associated:
            response.add("P-Associated-URI", value)
    if info:
        response.add("Authentication-Info", info)
    return response
