"""URIs that reach one instance of a user agent from anywhere, and who made them.

A public GRUU shows address and instance. A temporary one is the address and an epoch, encrypted:
it needs no store. All temporary GRUUs of one instance carry the epoch of its registration, which
can be read from the latest one, kept with the binding; when the registration lapses, or comes
back under another Call-ID, no binding has that epoch any more and all of them are void. The epoch
begins with the CSeq that it began with, which watchers of the registration are told (RFC 5628).

Spec: RFC 5627
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final, final
from urllib.parse import quote

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from omaim.errors import PeerError, UsageError
from omaim.ids import Ids
from omaim.sip.bindings import Binding
from omaim.sip.uri import SipUri, Uri, parse_uri, unescape

_PREFIX: Final = "tgruu."
_CSEQ: Final = 8  # hex digits
_EPOCH: Final = 24  # hex digits, the CSeq among them
_NONCE: Final = 12  # octets
_BLOCK: Final = 16  # octets: the length of a GRUU tells little about the user's name
_SAFE: Final = "-_.!~*'()[]/:&+$"  # what a URI parameter may hold beside letters and digits


@final
class GruuTarget:
    """Whom a GRUU means.

    Attributes:
        aor: canonical address of record.
        instance: the instance id of a public GRUU; "" for a temporary one.
        epoch: of a temporary GRUU; "" for a public one.
    """

    __slots__ = ("aor", "epoch", "instance")

    def __init__(self, aor: str, instance: str, epoch: str) -> None:
        self.aor: Final = aor
        self.instance: Final = instance
        self.epoch: Final = epoch


def public_gruu(aor: str, instance: str) -> str:
    """Return the public GRUU of an instance: the same whenever and wherever it is asked for.

    Spec: RFC 5627 §5.4, Appendix A.1
    """
    return f"{aor};gr={quote(instance, safe=_SAFE)}"


@final
class Gruus:
    """Mint and open GRUUs.

    Args:
        key: at least 16 secret octets; the same for all nodes of the domain, and kept, as
            temporary GRUUs are used for as long as a registration lasts.
        ids: where epochs and the random part come from.

    Spec: RFC 5627 §5, Appendix A
    """

    __slots__ = ("_cipher", "_ids")

    def __init__(self, key: bytes, ids: Ids) -> None:
        if len(key) < 16:
            raise UsageError("the GRUU key is too short: give 16 octets or more")
        self._cipher = AESGCM(hashlib.sha256(b"temporary GRUU" + key).digest())
        self._ids = ids

    def mint(self, aor: str, epoch: str) -> str:
        """Return a new temporary GRUU, unlike any other.

        Args:
            epoch: what :meth:`epoch_of` or :meth:`new_epoch` returned.

        Spec: RFC 5627 §5.1, §5.4
        """
        plain = f"{epoch}{aor}".encode("utf-8", "surrogateescape")
        plain += bytes(-len(plain) % _BLOCK)
        nonce = bytes.fromhex(self._ids.token(2 * _NONCE))
        user = urlsafe_b64encode(nonce + self._cipher.encrypt(nonce, plain, None))
        return f"sip:{_PREFIX}{user.decode('ascii').rstrip('=')}@{aor.rpartition('@')[2]};gr"

    def new_epoch(self, cseq: int) -> str:
        """Return an epoch that no GRUU has yet, begun by the REGISTER with this CSeq."""
        return f"{cseq:08x}{self._ids.token(_EPOCH - _CSEQ)}"

    def first_cseq(self, temp_gruu: str) -> int:
        """Return the CSeq of the REGISTER that made the oldest one valid beside this; 0 unknown.

        Spec: RFC 5628 §5
        """
        epoch = self.epoch_of(temp_gruu)
        return int(epoch[:_CSEQ], 16) if epoch else 0

    def epoch_of(self, temp_gruu: str) -> str:
        """Return the epoch of one of our temporary GRUUs; "" for anything else."""
        if not temp_gruu:
            return ""
        try:
            target = self.resolve(parse_uri(temp_gruu))
        except PeerError:
            return ""
        return "" if target is None else target.epoch

    def resolve(self, uri: Uri) -> GruuTarget | None:
        """Return whom ``uri`` means; ``None`` when it is no GRUU.

        Raises:
            PeerError: it looks like a temporary GRUU but was not made here (404).

        Spec: RFC 5627 §6.1
        """
        if not isinstance(uri, SipUri):
            return None
        gr = uri.gr
        if gr is None:
            return None
        if gr:
            return GruuTarget(uri.aor(), unescape(gr), "")
        if not uri.user.startswith(_PREFIX):
            raise PeerError("no such GRUU", 404)
        return self._open(uri.user[len(_PREFIX) :], uri.host)

    def owner(self, uri: Uri) -> str:
        """Return the address of record that one of our GRUUs belongs to; "" for anything else."""
        try:
            target = self.resolve(uri)
        except PeerError:
            return ""
        return "" if target is None else target.aor

    def _open(self, text: str, host: str) -> GruuTarget:
        try:
            octets = urlsafe_b64decode(text + "=" * (-len(text) % 4))
            plain = self._cipher.decrypt(octets[:_NONCE], octets[_NONCE:], None)
        except (ValueError, InvalidTag):
            raise PeerError("no such GRUU", 404)
        content = plain.rstrip(b"\0").decode("utf-8", "surrogateescape")
        aor = content[_EPOCH:]
        if aor.rpartition("@")[2] != host:
            raise PeerError("no such GRUU", 404)
        return GruuTarget(aor, "", content[:_EPOCH])

    def select(self, target: GruuTarget, bindings: list[Binding], now: float) -> list[Binding]:
        """Return the live bindings that a GRUU of this address means, latest refreshed first.

        Several are several ways to the one instance; see :func:`omaim.sip.bindings.choose`.

        Raises:
            PeerError: a temporary GRUU of a registration that has ended (404), or a public one
                of an instance that is not registered now (480).

        Spec: RFC 5627 §6.1
        """
        found: list[Binding] = []
        for binding in bindings:
            if binding.expires_at <= now:
                continue
            if target.instance:
                if binding.instance == target.instance:
                    found.append(binding)
            elif self.epoch_of(binding.temp_gruu) == target.epoch:
                found.append(binding)
        if not found:
            if target.instance:
                raise PeerError("the instance is not registered now", 480)
            raise PeerError("this GRUU is no longer valid", 404)
        found.sort(key=_latest_first)
        return found


def _latest_first(binding: Binding) -> float:
    return -binding.updated_at
