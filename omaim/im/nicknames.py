"""Nicknames of one room: who may be called what, until when.

A nickname belongs to the participant who reserved it, not to a device of theirs: each device
asks for itself, and a device that did not ask has none. When the last device gives it up, it
stays reserved for that participant for a while, so that nobody can slip into the name of
somebody who lost the connection.

Spec: RFC 7701 §4.1, §7, §11; RFC 8266 §2 (the Nickname profile of PRECIS)
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Final

from precis_i18n import get_profile
from precis_i18n.profile import Profile

from omaim.errors import PeerError, UsageError

LONGEST: Final = 1023  # octets, RFC 7701 §7.1
NOT_ALLOWED: Final = 403
MALFORMED: Final = 424
TAKEN: Final = 425

_ROUNDS: Final = 4  # the rules once, and three times again: RFC 8266 §2.1
_SHOWN: Final = get_profile("NicknameCasePreserved")
_COMPARED: Final = get_profile("NicknameCaseMapped")  # toLowerCase, RFC 8266 §2.4


class BadNickname(PeerError):
    """The text is no nickname that anybody may have, or not one for who asked.

    ``status`` is that of the answer to a NICKNAME request: 424 or 425 (RFC 7701 §7.1).
    """

    status = MALFORMED


def enforced(text: str) -> str:
    """Return a nickname as it is shown.

    Raises:
        BadNickname: a character of it is not for nicknames, it is empty, too long, or never
            becomes stable (424).

    Spec: RFC 8266 §2.3; RFC 7701 §7.1
    """
    return _apply(_SHOWN, text)


def comparable(text: str) -> str:
    """Return what two nicknames share exactly if they count as the same.

    Raises:
        BadNickname: see :func:`enforced`.

    Spec: RFC 8266 §2.4
    """
    return _apply(_COMPARED, text)


def _apply(profile: Profile, text: str) -> str:
    """Apply the rules of a profile until they change nothing."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise BadNickname("a nickname holds half a character") from None
    if size > LONGEST:
        raise BadNickname(f"a nickname is longer than {LONGEST} octets")
    for _ in range(_ROUNDS):
        before, text = text, profile.apply_five_rules(text)
        if text == before:
            break
    else:
        if profile.apply_five_rules(text) != text:
            raise BadNickname("a nickname does not become stable")
    if not text:
        raise BadNickname("a nickname is empty")
    try:
        profile.base.enforce(text)
    except UnicodeEncodeError as error:
        raise BadNickname(f"a nickname may not hold U+{ord(text[error.start]):04X}") from None
    if len(text.encode()) > LONGEST:
        raise BadNickname(f"a nickname is longer than {LONGEST} octets")
    return text


class _Claim:
    """One nickname: whose, on which devices, and until when it is kept after the last."""

    __slots__ = ("kept_until", "owner", "shown", "users")

    def __init__(self, owner: Hashable, shown: str) -> None:
        self.owner = owner
        self.shown = shown
        self.users: set[Hashable] = set()
        self.kept_until = 0.0


class Nicknames:
    """The nicknames of one room.

    It may outlive the room's session, so that a quarantine does. What is kept after use is at
    most one nickname for each owner, the last.

    Args:
        quarantine: seconds that a nickname is kept for its owner after its last use.
        reserved: nicknames that nobody may have.

    Raises:
        UsageError: a reserved nickname is none.

    Spec: RFC 7701 §7
    """

    def __init__(self, quarantine: float = 0.0, reserved: Iterable[str] = ()) -> None:
        self._quarantine = quarantine
        try:
            self._reserved = frozenset(comparable(text) for text in reserved)
        except BadNickname as error:
            raise UsageError(f"a reserved nickname cannot be one: {error.why}") from None
        self._claims: dict[str, _Claim] = {}
        self._used: dict[Hashable, str] = {}  # what each device is called, comparable
        self._kept: dict[Hashable, str] = {}  # what is kept for an owner, comparable

    def reserve(self, owner: Hashable, device: Hashable, text: str, now: float) -> str:
        """Call a device ``text`` from now on; return how it is shown.

        What the device was called before is given up only when this succeeds (RFC 7701 §7.2).

        Raises:
            BadNickname: 424 for a text that is none, 425 for one that is reserved or
                another's; nothing has changed.
        """
        shown, key = enforced(text), comparable(text)
        claim = self._claims.get(key)
        if claim is not None and not claim.users and claim.kept_until <= now:
            self._drop(key, claim)
            claim = None
        if key in self._reserved or (claim is not None and claim.owner != owner):
            raise BadNickname("the nickname is reserved or already in use", TAKEN)
        if self._used.get(device) != key:
            self.release(device, now)
        if claim is None or self._claims.get(key) is not claim:
            claim = self._claims[key] = _Claim(owner, shown)
        if self._kept.get(owner) == key:
            del self._kept[owner]
        claim.shown = shown
        claim.users.add(device)
        self._used[device] = key
        return shown

    def release(self, device: Hashable, now: float) -> bool:
        """Call a device nothing any more. Returns: whether it was called anything.

        Spec: RFC 7701 §7.3, §11 (quarantine)
        """
        key = self._used.pop(device, None)
        if key is None:
            return False
        claim = self._claims[key]
        claim.users.discard(device)
        if claim.users:
            return True
        if self._quarantine <= 0.0:
            del self._claims[key]
            return True
        earlier = self._kept.get(claim.owner)
        if earlier is not None and earlier != key:
            del self._claims[earlier]
        claim.kept_until = now + self._quarantine
        self._kept[claim.owner] = key
        return True

    def of(self, device: Hashable) -> str:
        """Return how a device is called, as it is shown; "" for nothing."""
        key = self._used.get(device)
        return "" if key is None else self._claims[key].shown

    def sweep(self, now: float) -> None:
        """Forget what has been kept long enough."""
        for key in list(self._kept.values()):
            claim = self._claims[key]
            if claim.kept_until <= now:
                self._drop(key, claim)

    def _drop(self, key: str, claim: _Claim) -> None:
        del self._claims[key]
        if self._kept.get(claim.owner) == key:
            del self._kept[claim.owner]

    def __len__(self) -> int:
        """Return how many nicknames are in use or kept."""
        return len(self._claims)
