"""By which name clients find the core again.

Spec: RFC 3608 §6.3; RFC 5922 §4, §7.3
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import Logger

from omaim.net.endpoint import Endpoint
from omaim.net.tls import TlsSettings, names_domain
from omaim.sip.flow import TLS
from omaim.sip.locating import default_port

_log = Logger()


def service_route(
    endpoint: Endpoint, transport: str, tls: TlsSettings | None, domain: str, aliases: Sequence[str]
) -> str:
    """Return the Service-Route value for who registers by ``transport``.

    Over TLS a client checks that the certificate proves the name in it. Where the listener goes
    by a name or address that it does not prove, it is one of ours that it does: a host name that
    stands among the aliases, or the domain, which DNS leads to its port.
    """
    uri = endpoint.uri(transport)
    listeners = [one for one in endpoint.listeners if one.transport == transport]
    if transport == TLS and tls is not None and listeners:
        names, port = tls.names(), listeners[0].port
        if not names_domain(names, listeners[0].advertised):
            at = "" if port == default_port(TLS) else f":{port}"
            places = [f"{host}:{port}" for host in aliases if names_domain(names, host)]
            if names_domain(names, domain):
                places.append(f"{domain}{at}")
            if places:
                uri = f"sip:{places[0]};transport=tls"
            else:
                _log.warn(
                    "the certificate proves {names}, none of which is the core's: clients that "
                    "check it will not come back",
                    names=", ".join(names) or "nothing",
                )
    return f"<{uri};lr>"
