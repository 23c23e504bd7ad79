"""Messages of who is anonymous: nothing that a program writes by itself may tell who it is.

What people write themselves is theirs.

Differs: RFC 7701 §6.1 has a switch change nothing in a message. An anonymous participant does not
know the address that the room gave out, and its program may put a name beside it: the From header
is written anew, and so are the addresses of a recipient in a disposition notification.

Spec: RFC 7701 §5.2, §6.1; RFC 5438 §14.2; RFC 3323 §4.1
"""

from __future__ import annotations

import attrs

from omaim.bodies.cpim import IMDN, Cpim
from omaim.bodies.imdn import parse_imdn, write_imdn
from omaim.bodies.mime import Part
from omaim.errors import PeerError, UsageError


def conceal_author(message: Cpim, shown: str) -> bool:
    """Let a message be from an anonymous address. Returns: whether that changed anything."""
    wanted = f"<{shown}>"
    if message.value("From") == wanted and message.first("Original-To", IMDN) is None:
        return False
    message.replace("From", wanted)
    message.drop("Original-To", IMDN)
    return True


def conceal_reporter(data: bytes, shown: str) -> bytes:
    """Return a CPIM message with a disposition notification that names an anonymous address.

    Raises:
        PeerError: it is no notification that can be written anew.
    """
    message = Cpim.parse(data)
    told = parse_imdn(message.part.decoded())
    try:
        document = write_imdn(attrs.evolve(told, recipient_uri=shown, original_recipient_uri=""))
    except UsageError as error:
        raise PeerError(str(error)) from None
    headers = [
        (name, value)
        for name, value in message.part.headers
        if name.lower() not in ("content-length", "content-transfer-encoding")
    ]
    return Cpim(message.headers, Part(headers, document)).to_bytes()
