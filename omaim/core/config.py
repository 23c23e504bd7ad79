"""Settings of the SIP/IP Core."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import attrs

from omaim.errors import UsageError
from omaim.node.config import setting
from omaim.sip.uri import canonical_aor

_ANYTHING: Final = "!.*!"  # the regular expression of a wildcarded public service identity
_EVENT: Final = re.compile(r"[A-Za-z0-9.!%*_`'~-]+")  # a token without "+": it goes into a pattern


def _profile(value: str) -> str:
    return "" if value in ("ims", "sip") else "must be ims or sip"


def _interconnect(value: str) -> str:
    return "" if value in ("dns", "tls") else "must be dns or tls"


@attrs.frozen
class Config:
    """Settings of the SIP/IP Core of one home domain."""

    domain: str = setting("north.example", "the home domain; also the digest realm")
    aliases: tuple[str, ...] = setting((), "further domains and host names that are ours")
    listen: tuple[str, ...] = setting(
        ("udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"),
        "where SIP arrives: udp:ADDRESS:PORT, tcp:… or tls:…",
    )
    host: str = setting("", "host name to write into Record-Route and Path; empty: the address")
    certificate: str = setting("", "PEM file with certificate and key, for TLS")
    ca: str = setting("", "PEM file with the authorities to trust; empty: the system's")
    profile: str = setting(
        "ims", "ims: Gm, ISC and Mw header fields; sip: a plain SIP network", check=_profile
    )
    people: str = setting("", "people file (TOML) to load into the user store at start")
    algorithms: tuple[str, ...] = setting(
        ("SHA-256", "MD5"), "digest algorithms offered, most preferred first"
    )
    nonce_lifetime: float = setting(
        86400.0,
        "seconds after which a digest challenge is stale; as long as a binding may live, so that "
        "clients need not be asked again",
    )
    challenge_rate: float = setting(
        20.0,
        "answers a second over UDP to one address that has proved nothing, whose source may be "
        "forged; 0: any number",
    )
    challenge_burst: float = setting(500.0, "such answers at once")
    max_pending: int = setting(20_000, "requests that may wait for an answer; 503 above")
    authenticate: str = setting(
        "always",
        "always: every request outside a dialog is challenged; flow: not those on a TCP or TLS "
        "connection whose user has registered; never: anybody is whom From says (laboratory "
        "only)",
        check=lambda value: "" if value in ("always", "flow", "never") else "is unknown",
    )
    services: tuple[str, ...] = setting(
        (),
        "addresses, TLS names or URIs of application servers, which are trusted; the IM Server "
        "and those of psis are so without being named",
    )
    service_timeout: float = setting(
        5.0,
        "seconds in which an application server has to show a sign of life before default "
        "handling sets in; RFC 4320 makes servers answer 100 after 3.5",
    )
    service_patience: float = setting(
        20.0,
        "seconds in which an application server that said 100 has to answer or to pass the "
        "request on; short enough that the sender hears of what then happens",
    )
    peers: tuple[str, ...] = setting(
        (), "trusted other domains: DOMAIN (by TLS) or DOMAIN=ADDRESS+ADDRESS"
    )
    interconnect: str = setting(
        "dns",
        "how peers are reached: dns, as their DNS says; tls, over TLS and no other way",
        check=_interconnect,
    )
    im_server: str = setting(
        "", "SIP URI of the IM Server in the default service profile; empty: no IM service"
    )
    settings_event: str = setting(
        "im-settings",
        "event package of the IM service settings, as the IM Server has it; empty: none",
        check=lambda text: "" if not text or _EVENT.fullmatch(text) else "is no event package",
    )
    im_down: str = setting(
        "refuse",
        "what becomes of a MESSAGE while the IM Server is dead. refuse: its sender is told to try "
        "later, so that it is not delivered before older ones that the server keeps, or to "
        "somebody who blocks the sender; deliver: it goes to the device without the server",
        check=lambda value: "" if value in ("refuse", "deliver") else "must be refuse or deliver",
    )
    psis: tuple[str, ...] = setting(
        (),
        "addresses of services: sip:NAME@DOMAIN=URI sends what is for the first to the second; a "
        "NAME that ends in * stands for every address that begins so, and is nobody's else",
    )
    default_expires: int = setting(3600, "seconds a binding lives when its client does not say")
    min_expires: int = setting(60, "shortest binding, else 423")
    max_expires: int = setting(86400, "longest binding")
    max_contacts: int = setting(10, "bindings of one address of record")
    flow_timer: int = setting(
        120, "seconds between keep-alives that clients are told to keep on their connections"
    )
    timer_c: float = setting(200.0, "seconds an INVITE may ring; more than 180")
    ccf: tuple[str, ...] = setting((), "offline charging functions told to services")
    ecf: tuple[str, ...] = setting((), "online charging functions told to services")
    record_route: bool = setting(True, "stay on the path of dialogs")
    strangers: bool = setting(
        False, "let requests from networks that are not peers reach our users, unidentified"
    )


def service_addresses(psis: tuple[str, ...]) -> dict[str, str]:
    """Return where each public service identity is served (3GPP TS 23.228 §5.4.12).

    Raises:
        UsageError: one is written otherwise than ``sip:NAME@DOMAIN=sip:SERVER``.
    """
    found = {}
    for text in psis:
        address, _, server = text.partition("=sip:")
        if not server:
            raise UsageError(f"{text}: write sip:NAME@DOMAIN=sip:SERVER")
        found[canonical_aor(address)] = f"sip:{server}"
    return found


def wildcards(addresses: Mapping[str, str]) -> tuple[tuple[str, str, str], ...]:
    """Return those addresses that stand for many: their beginning, their end and the server.

    The longest beginning comes first, so that the first that fits is the closest.

    Spec: 3GPP TS 23.003 §13.5. Differs: of its regular expressions, ``!.*!`` at the end of the
        user part is the only one; a plain ``*`` there means the same.
    """
    found = []
    for address, server in addresses.items():
        user, _, domain = address.rpartition("@")
        if user.endswith(("*", _ANYTHING)):
            found.append((user.removesuffix(_ANYTHING).removesuffix("*"), f"@{domain}", server))
    return tuple(sorted(found, key=lambda one: (-len(one[0]), one)))
