"""Settings of the IM Server."""

from __future__ import annotations

from typing import Any

import attrs

from omaim.im.room_rules import Rules
from omaim.node.config import setting


def _one_of(*words: str) -> Any:
    """Return the check of a setting that takes one of these words."""
    return lambda value: "" if value in words else f"must be one of {', '.join(words)}"


@attrs.frozen
class Config:
    """Settings of the IM Server of one home domain."""

    domain: str = setting("north.example", "the home domain whose users are served")
    listen: tuple[str, ...] = setting(
        ("udp:127.0.0.1:5080", "tcp:127.0.0.1:5080"), "where SIP arrives"
    )
    certificate: str = setting("", "PEM file with certificate and key, for TLS")
    ca: str = setting("", "PEM file with the authorities to trust; empty: the system's")
    msrp: tuple[str, ...] = setting(
        ("tcp:127.0.0.1:2855",), "where MSRP of sessions, rooms and large messages arrives"
    )
    msrp_networks: tuple[str, ...] = setting(
        (),
        "networks in which session descriptions may have MSRP connect to somebody, as "
        "10.0.0.0/8; empty: all with addresses that a host can have, but loopback ones only "
        "where MSRP arrives at one",
    )
    msrp_lowest_port: int = setting(
        1024, "the lowest port that session descriptions may have MSRP connect to"
    )
    core: str = setting("sip:127.0.0.1:5060", "SIP URI of the core, for requests of our own")
    trusted: tuple[str, ...] = setting(
        ("127.0.0.1",), "addresses or TLS names of the core; others get 403"
    )
    max_size: int = setting(20480, "octets of the body of a message")
    validity: float = setting(604800.0, "seconds a deferred message is kept at most")
    quota_count: int = setting(1000, "deferred messages of one user")
    quota_size: int = setting(16777216, "octets of deferred messages of one user")
    patience: float = setting(8.0, "seconds a device may take before a message is deferred")
    delivery: str = setting(
        "push",
        "push: deferred messages are delivered at registration; notify: users ask for them",
        check=_one_of("push", "notify"),
    )
    untagged: str = setting(
        "deliver",
        "messages for devices without the IM feature tag: deliver or defer",
        check=_one_of("deliver", "defer"),
    )
    adaptation: bool = setting(True, "a device that refuses CPIM gets the text inside it")
    check_author: bool = setting(True, "the CPIM From has to be an identity of the sender")
    consent: str = setting(
        "home",
        "home: list messages need no consent; demand: recipients must have agreed",
        check=_one_of("home", "demand"),
    )
    auto_answer: tuple[str, ...] = setting(
        (),
        "addresses of callers who may have devices answer by themselves, if the callee's policy "
        "does not say who; * for all that are known",
    )
    list_maximum: int = setting(100, "recipients of one list message")
    group_maximum: int = setting(1000, "people who get one message to a group")
    exploder: str = setting("exploder", "user part of the list service's address")
    deferred: str = setting("deferred", "user part of the address to fetch messages from")
    deferred_delete: str = setting("deferred-delete", "user part of the address to delete at")
    history: str = setting("history", "user part of the address to fetch recorded messages from")
    history_delete: str = setting("history-delete", "user part of the address to delete them at")
    history_validity: float = setting(7776000.0, "seconds for which a conversation is recorded")
    history_count: int = setting(10000, "recorded conversations of one user")
    history_size: int = setting(67108864, "octets of recorded conversations of one user")
    settings_event: str = setting("im-settings", "event package of the service settings")
    settings_validity: int = setting(2592000, "seconds that published settings stand at most")
    media: str = setting(
        "anchor",
        "anchor: sessions between two pass this server; direct: they go from client to client "
        "where nobody wants them recorded",
        check=_one_of("anchor", "direct"),
    )
    direct: tuple[str, ...] = setting(
        (), "addresses; sessions between two of them go from client to client in any case"
    )
    peers_msrp: str = setting(
        "tcp",
        "how MSRP goes to and from other domains: tls (their servers have to prove who they are; "
        "nothing is taken in clear) or tcp",
        check=_one_of("tls", "tcp"),
    )
    clients_msrp: str = setting(
        "tcp",
        "how sessions are offered to the devices of users: tls or tcp",
        check=_one_of("tls", "tcp"),
    )
    idle: float = setting(300.0, "seconds without a message that end a session; 0 for never")
    session_expires: int = setting(1800, "seconds after which a session has to be refreshed")
    session_maximum: int = setting(20000, "sessions and participants of rooms at a time")
    sessions_each: int = setting(500, "sessions of one user with others at a time; 0 for no limit")
    large_maximum: int = setting(10485760, "octets of a large message that is kept for later")
    large_copies: int = setting(
        268435456, "octets of all copies of one large message to a list or a group"
    )
    file_maximum: int = setting(0, "octets of a file in a session between two; 0 for no limit")
    groups: str = setting("", "groups file (TOML): chat rooms and other groups to define at start")
    xcap_root: str = setting(
        "",
        "XCAP root of the documents in the store, by which groups point to lists; empty: "
        "http://xcap.DOMAIN, and the same with https",
    )
    factory: str = setting("conference", "user part of the address that makes conferences")
    conferences: int = setting(10000, "conferences and open rooms at a time")
    conferences_each: int = setting(
        20, "conferences that one user may have made at a time; 0 for no limit"
    )
    conference_people: int = setting(100, "people in a conference that is made on demand")
    conference_interval: float = setting(
        1.0, "least seconds between two notifications of who is in a conference"
    )
    room_people: int = setting(1000, "people in one room at a time; 0 for no limit")
    room_devices: int = setting(8, "devices with which somebody may be in one room")
    room_types: tuple[str, ...] = setting(("*",), "content types that may be said in rooms")
    room_max_size: int = setting(104857600, "octets of a message in a room; 0 for no limit")
    room_duration: float = setting(0.0, "seconds after which a room is closed; 0 for never")
    room_idle: float = setting(
        0.0, "seconds without a message after which a room is closed; 0 for never"
    )
    room_ends_with_initiator: bool = setting(False, "a room is closed when who opened it has left")
    room_nicknames: bool = setting(True, "people in rooms may have nicknames")
    room_reserved: tuple[str, ...] = setting((), "nicknames that nobody may have")
    room_quarantine: float = setting(
        300.0, "seconds that a nickname is kept for who had it and has left"
    )
    room_private: bool = setting(True, "one may write to one other in a room")
    room_replay: int = setting(0, "messages that who comes late into a room gets to see")
    room_replay_size: int = setting(4194304, "octets of these messages of one room")
    room_recorded: int = setting(
        4194304,
        "octets of a message in a room up to which it is recorded and shown to who comes late; "
        "of a larger one its author, type and size are recorded",
    )
    room_congestion: str = setting(
        "pause",
        "who takes messages too slowly: pause: who speaks waits for a while; drop: has to go",
        check=_one_of("pause", "drop"),
    )
    room_mark: int = setting(262144, "octets that wait for somebody who is slow then")
    room_queue: int = setting(4194304, "octets that wait for somebody who has to go")
    room_grace: float = setting(20.0, "seconds that others wait for somebody who is slow")
    room_notices: bool = setting(True, "rooms themselves say when somebody has to go, and why")


def rooms_of(config: Config) -> Rules:
    """Return what holds for all rooms where their definition says nothing else."""
    return Rules(
        most=config.room_people,
        ends_with_initiator=config.room_ends_with_initiator,
        duration=config.room_duration,
        idle=config.room_idle,
        nicknames=config.room_nicknames,
        reserved=config.room_reserved,
        quarantine=config.room_quarantine,
        private=config.room_private,
        devices=config.room_devices,
        wrapped=config.room_types,
        max_size=config.room_max_size,
        congestion=config.room_congestion,
        mark=config.room_mark,
        grace=config.room_grace,
        queue=config.room_queue,
        keep=config.room_recorded,
        replay=config.room_replay,
        replay_size=config.room_replay_size,
        notices=config.room_notices,
    )
