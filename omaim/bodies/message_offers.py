"""How two sides agree on MSRP sessions: offers, answers, and what follows from both.

Each side brings a :class:`LocalMedia` for each medium. Who offers calls :func:`write_offer` and
later :func:`read_answer`, who is asked :func:`read_offer` and :func:`answer_to`; both end up with
an :class:`Agreed` for each medium that is in use.

Spec: RFC 3264; RFC 4975 §8; RFC 6135 §4; RFC 6714 §4; RFC 5547 §8
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, TypeAlias

import attrs

from omaim.bodies.file_selector import REFUSAL, FileSelector, FileTransfer
from omaim.bodies.media_types import Accepts
from omaim.bodies.message_media import (
    ACTIVE,
    ACTPASS,
    DISCARD,
    PASSIVE,
    TCP,
    TLS,
    Fingerprint,
    MessageMedia,
    is_in_path,
    is_message,
    place_of,
    read_media,
)
from omaim.bodies.sdp import (
    INACTIVE,
    RECVONLY,
    SENDONLY,
    SENDRECV,
    BadMedia,
    BadSdp,
    Connection,
    Media,
    Origin,
    SessionDescription,
    revise,
)
from omaim.errors import PeerError, UsageError

Addresses: TypeAlias = Mapping[str, Collection[str]]

# Directions as two bits: 1 sends, 2 receives.
_BITS: Final = {INACTIVE: 0, SENDONLY: 1, RECVONLY: 2, SENDRECV: 3}
_NAMES: Final = {bits: name for name, bits in _BITS.items()}
_REVERSED: Final = (0, 2, 1, 3)


class NotAcceptable(PeerError):
    """Nothing of an offer can be accepted."""

    status = 488


@attrs.frozen
class LocalMedia:
    """What we bring to one medium, whoever offers it.

    Spec: RFC 4975 §8; RFC 6135 §4.2; RFC 6714 §4
    """

    path: tuple[str, ...]  # our relays, the outermost first, then our own session URI
    accept_types: tuple[str, ...]
    accept_wrapped_types: tuple[str, ...] = ()
    max_size: int | None = None  # octets of a whole message
    direction: str = SENDRECV  # what we would like
    reachable: bool = True  # whether peers can connect to the first URI of the path
    eager: bool = False  # connect ourselves where an offer leaves us the choice
    cema: bool = False
    chatroom: tuple[str, ...] | None = None
    fingerprints: tuple[Fingerprint, ...] = ()
    file: FileTransfer | None = None  # an answer repeats the offer's for a push, if None
    title: str = ""
    more: tuple[str, ...] = ()  # further whole a= lines

    @property
    def accepts(self) -> Accepts:
        """What may be sent to us."""
        return Accepts(self.accept_types, self.accept_wrapped_types)

    @property
    def relayed(self) -> bool:
        """Whether we are behind a relay."""
        return len(self.path) > 1


@attrs.frozen
class Agreed:
    """One MSRP session that both sides want.

    Spec: RFC 4975 §8; RFC 6135 §4.2; RFC 6714 §4.2, §4.3
    """

    index: int  # of the medium, from 0
    local: LocalMedia
    remote: MessageMedia  # what may be sent and where: accepts, max_size, path, fingerprints
    direction: str  # as we see it
    active: bool  # we open the connection and send the first SEND
    cema: bool = False  # both know CEMA
    # Connect here, not to the first URI of the path: host (IPv6 without brackets) and port.
    address: tuple[str, int] | None = None

    @property
    def may_send(self) -> bool:
        """Whether regular messages go out; reports always may (RFC 4975 §8.9)."""
        return bool(_BITS[self.direction] & 1)

    @property
    def may_receive(self) -> bool:
        """Whether regular messages come in."""
        return bool(_BITS[self.direction] & 2)


@attrs.frozen
class Refused:
    """A medium that is not used."""

    index: int
    why: str  # a sentence for the log


@attrs.frozen
class Reoffer:
    """A medium that works only after another offer, without CEMA.

    Make it with ``attrs.evolve(local, cema=False)``, or give up.

    Spec: RFC 6714 §4.2
    """

    index: int


@attrs.frozen
class Answered:
    """Our answer, and what we agreed on by it."""

    description: SessionDescription
    lines: tuple[Agreed | Refused, ...]  # one for each medium, in order

    @property
    def agreed(self) -> tuple[Agreed, ...]:
        """The media in use."""
        return tuple(one for one in self.lines if isinstance(one, Agreed))


def write_offer(
    lines: Sequence[LocalMedia | Media | None],
    origin: Origin,
    *,
    name: str = "-",
    previous: SessionDescription | None = None,
) -> SessionDescription:
    """Return an offer.

    Args:
        lines: what we bring to each medium; a ``Media`` stands as it is, ``None`` ends a
            medium of ``previous``.
        origin: for the first description of a session; later the one of ``previous`` counts.
        name: of the session.
        previous: what we sent last in this session, offer or answer.

    Raises:
        UsageError: a line is ``None`` or missing where ``previous`` has a medium, a path is
            empty or broken, or nothing is accepted.

    Spec: RFC 3264 §5, §8; RFC 4975 §8; RFC 6135 §4.2.2 (never passive); RFC 6714 §4.2
    """
    media: list[Media] = []
    for index, line in enumerate(lines):
        if isinstance(line, Media):
            media.append(line)
        elif line is not None:
            media.append(_offered(line).to_media())
        elif previous is not None and index < len(previous.media):
            media.append(previous.media[index].refused(REFUSAL))
        else:
            raise UsageError(f"medium {index} cannot be ended: it was not there before")
    made = _described(origin, media, name, ("t=0 0",))
    return made if previous is None else revise(previous, made)


def read_offer(offer: SessionDescription) -> tuple[MessageMedia | None, ...]:
    """Return what an offer says about each medium; ``None`` for what is not usable MSRP.

    One with port 0 is over: :func:`answer_to` refuses it, whatever is brought to it.
    """
    found: list[MessageMedia | None] = []
    for media in offer.media:
        try:
            found.append(read_media(offer, media) if is_message(media) else None)
        except BadMedia:
            found.append(None)
    return tuple(found)


def answer_to(
    offer: SessionDescription,
    lines: Sequence[LocalMedia | None],
    origin: Origin,
    *,
    previous: SessionDescription | None = None,
    addresses: Addresses | None = None,
) -> Answered:
    """Return the answer to an offer, and what is agreed on by it.

    Args:
        offer: as it came.
        lines: what we bring to each of its media; ``None`` refuses one.
        origin: for our first description in the session; later that of ``previous`` counts.
        previous: what we sent last in this session, offer or answer.
        addresses: those of the names that
            :func:`~omaim.bodies.message_media.names_to_resolve` has for media with CEMA.

    Raises:
        NotAcceptable: media are offered, and none can be accepted (488).
        BadSdp: there are fewer media than before (488).
        UsageError: not one line for each medium, a path that is empty or broken, or one with
            TLS where the offer has none, or the other way round.

    Spec: RFC 3264 §6, §8; RFC 4975 §8.4, §8.6; RFC 6135 §4.2.2; RFC 6714 §4.3
    """
    if len(lines) != len(offer.media):
        raise UsageError(f"{len(offer.media)} media are offered: bring as many lines or None")
    if previous is not None and len(offer.media) < len(previous.media):
        raise BadSdp("media of the session are missing in its new description", 488)
    media: list[Media] = []
    results: list[Agreed | Refused] = []
    for index, (offered, local) in enumerate(zip(offer.media, lines, strict=True)):
        try:
            agreed, answer = _accept(index, offer, offered, local, addresses or {})
        except BadMedia as error:
            results.append(Refused(index, error.why))
            media.append(offered.refused(REFUSAL))
        else:
            results.append(agreed)
            media.append(answer.to_media())
    made = Answered(_described(origin, media, "-", offer.times), tuple(results))
    if not made.agreed and any(one.port for one in offer.media):
        reasons = [one.why for one in results if isinstance(one, Refused)]
        raise NotAcceptable("nothing of the offer can be accepted: " + "; ".join(reasons[:3]))
    if previous is not None:
        return attrs.evolve(made, description=revise(previous, made.description))
    return made


def _accept(
    index: int,
    offer: SessionDescription,
    media: Media,
    local: LocalMedia | None,
    addresses: Addresses,
) -> tuple[Agreed, MessageMedia]:
    """Return what is agreed on and our line for it, or raise BadMedia."""
    if not media.port:
        raise BadMedia("it is over")
    if local is None:
        raise BadMedia("it is not wanted")
    if not is_message(media):
        raise BadMedia("it is not MSRP")
    remote = read_media(offer, media)
    if _protocol(local) != remote.protocol and remote.protocol == TLS:
        raise UsageError(f"medium {index} is offered over TLS: answer with an msrps path")
    if _protocol(local) != remote.protocol and not place_of(remote.path[0]).tls:
        raise UsageError(f"medium {index} is offered without TLS: answer with an msrp path")
    if not local.accepts.meets(remote.accepts):
        raise BadMedia("no type of content is known to both sides")
    cema = local.cema and remote.cema and not _falls_back(local, remote)
    if local.cema and not remote.cema and not is_in_path(remote, addresses):
        raise BadMedia("somebody between has changed where it leads to")
    if remote.setup == ACTPASS:
        # With CEMA a relay cannot connect to what was put in between: its side stays passive.
        active = not local.reachable or local.eager or (cema and remote.relayed)
        active = active and not (cema and local.relayed)
    else:
        active = remote.setup == PASSIVE
    direction = _NAMES[_BITS[local.direction] & _REVERSED[_BITS[remote.direction]]]
    local = attrs.evolve(local, file=_answered_file(local, remote))
    agreed = Agreed(
        index,
        local,
        remote,
        direction,
        active,
        cema,
        _given(remote) if cema and active else None,
    )
    answer = _line(local, ACTIVE if active else PASSIVE, cema)
    answer = attrs.evolve(answer, protocol=remote.protocol, direction=direction)
    return agreed, answer


def _answered_file(local: LocalMedia, remote: MessageMedia) -> FileTransfer | None:
    """Return what the answer says about the file of an offer (RFC 5547 §8.3)."""
    offered = remote.transfer
    if offered is None or local.file is not None:
        return local.file
    if remote.direction == SENDRECV:
        raise BadMedia("a file goes one way only")
    if remote.direction == RECVONLY:
        raise BadMedia("no file was chosen that the peer could get")
    return offered.accepted()


def _falls_back(local: LocalMedia, remote: MessageMedia) -> bool:
    """Tell whether the answer to an offer with CEMA must do without (RFC 6714 §4.3)."""
    if local.relayed:
        return remote.relayed or remote.setup == PASSIVE
    return remote.relayed and remote.setup in ("", ACTIVE)


def read_answer(
    lines: Sequence[LocalMedia | Media | None],
    answer: SessionDescription,
    *,
    addresses: Addresses | None = None,
) -> tuple[Agreed | Refused | Reoffer, ...]:
    """Return what the answer to an offer means for each medium.

    Args:
        lines: with which :func:`write_offer` was called.
        answer: as it came.
        addresses: those of the names that
            :func:`~omaim.bodies.message_media.names_to_resolve` has for media with CEMA.

    Raises:
        BadSdp: other media than were offered, or one that is accepted and cannot be used:
            the session cannot go on.

    Spec: RFC 3264 §7; RFC 4975 §8; RFC 6135 §4.2.2; RFC 6714 §4.2
    """
    if len(lines) != len(answer.media):
        raise BadSdp(f"{len(lines)} media were offered, {len(answer.media)} answered", 488)
    results: list[Agreed | Refused | Reoffer] = []
    for index, (local, media) in enumerate(zip(lines, answer.media, strict=True)):
        if not media.port:
            results.append(Refused(index, "the peer refused it"))
        elif not isinstance(local, LocalMedia):
            results.append(Refused(index, "it is not MSRP of ours"))
        elif not is_message(media) or media.protocol != _protocol(local):
            raise BadSdp(f"medium {index} is answered as another one", 488)
        else:
            results.append(_settle(index, local, read_media(answer, media), addresses or {}))
    return tuple(results)


def _settle(
    index: int, local: LocalMedia, remote: MessageMedia, addresses: Addresses
) -> Agreed | Reoffer:
    if local.file is not None and local.file.selector:
        # Who does not know files answers nothing about them, and takes all that is sent.
        answered = remote.transfer or FileTransfer(FileSelector())
        if answered.id not in ("", local.file.id) or not answered.same_range(local.file):
            raise BadSdp(f"medium {index} is answered for another file, or part of it", 488)
    active = not (local.reachable and remote.setup == ACTIVE)
    address = None
    if local.cema:
        alike = remote.cema or is_in_path(remote, addresses)
        if not alike and (not active or local.relayed or remote.relayed):
            return Reoffer(index)
        if active and (remote.cema or not remote.relayed):
            address = _given(remote)
    return Agreed(
        index,
        local,
        remote,
        _NAMES[_BITS[local.direction] & _REVERSED[_BITS[remote.direction]]],
        active,
        local.cema and remote.cema,
        address,
    )


def capability(
    accept_types: tuple[str, ...],
    accept_wrapped_types: tuple[str, ...] = (),
    *,
    max_size: int | None = None,
    chatroom: tuple[str, ...] | None = None,
    files: bool = False,
) -> Media:
    """Return the medium that tells what we can do, in the answer to an OPTIONS.

    Args:
        accept_types: see LocalMedia, as for the next three.
        accept_wrapped_types: types taken inside a container.
        max_size: octets of a message.
        chatroom: what we know of chat rooms.
        files: whether we transfer files by RFC 5547.

    Spec: RFC 3264 §9; RFC 5547 §8.5
    """
    return MessageMedia(
        0,
        TCP,
        (),
        accept_types,
        accept_wrapped_types,
        max_size,
        chatroom=chatroom,
        file=FileTransfer(FileSelector()) if files else None,
    ).to_media()


def _offered(local: LocalMedia) -> MessageMedia:
    if local.file is not None and local.file.selector:
        _check_file(local.file, local.direction)
    return _line(local, ACTPASS if local.reachable else ACTIVE, local.cema)


def _line(local: LocalMedia, setup: str, cema: bool) -> MessageMedia:
    """Return our side of a medium.

    ``c=`` and ``m=`` lead to ourselves (RFC 4975 §8.1), with CEMA to our relay (RFC 6714 §4).
    """
    protocol = _protocol(local)
    if not local.accept_types:
        raise UsageError("a medium has to accept some type of content")
    place = place_of(local.path[0 if cema else -1])
    return MessageMedia(
        port=DISCARD if setup == ACTIVE and not local.reachable else place.port,
        protocol=protocol,
        path=local.path,
        accept_types=local.accept_types,
        accept_wrapped_types=local.accept_wrapped_types,
        max_size=local.max_size,
        direction=local.direction,
        setup=setup,
        cema=cema,
        chatroom=local.chatroom,
        fingerprints=local.fingerprints,
        connection=Connection.to(place.host),
        file=local.file,
        title=local.title,
        more=local.more,
    )


def _check_file(file: FileTransfer, direction: str) -> None:
    """Raise UsageError for what RFC 5547 §8.1 and §8.2 want and is not there."""
    if not file.id:
        raise UsageError("the transfer of a file needs an identifier")
    known = file.selector
    if direction == SENDONLY and known.size is None and not known.type and not known.hashes:
        raise UsageError("who sends a file says its type, size or hash")


def _protocol(local: LocalMedia) -> str:
    if not local.path:
        raise UsageError("a medium needs a path: the URI of our own MSRP session at least")
    try:
        places = [place_of(uri) for uri in local.path]
    except BadMedia as error:
        raise UsageError(f"our own path: {error.why}") from None
    return TLS if places[0].tls else TCP


def _given(remote: MessageMedia) -> tuple[str, int] | None:
    """Return where the ``c=`` and ``m=`` lines lead to."""
    if remote.connection is None:
        return None
    return remote.connection.host.strip("[]"), remote.port


def _described(
    origin: Origin, media: Sequence[Media], name: str, times: Sequence[str]
) -> SessionDescription:
    """Return a description whose ``c=`` is said once for all media that have the same."""
    first = next((one.connection for one in media if one.connection is not None), None)
    plain = []
    for one in media:
        if first is not None and one.connection == first:
            kept = tuple(line for line in one.lines if line[0] != "c")
            one = attrs.evolve(one, lines=kept)
        plain.append(one)
    return SessionDescription.make(origin, plain, name=name, connection=first, times=times)
