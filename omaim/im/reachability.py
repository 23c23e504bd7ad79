"""Now or later: whether the recipient can have a message at this moment.

What presence and settings say comes through :class:`~omaim.im.policy.ISettings`; the service
works without either.

Spec: OMA SIMPLE IM 1.0 (use of presence); RFC 3428 §7
"""

from __future__ import annotations

from typing import Final

import attrs

from omaim.im.delivery import Delivery
from omaim.im.participating import Mail
from omaim.im.policy import ISettings, Settings

NOW: Final = "now"
LATER: Final = "later"
BEHIND: Final = "behind"  # later, but soon: older messages go first


@attrs.frozen
class Reachability:
    """Decides for the users of one domain.

    Args:
        pushes: deferred messages are delivered without being asked for, so that what comes
            later must not overtake them.
    """

    settings: ISettings
    delivery: Delivery
    pushes: bool

    def willing(self, user: str) -> bool:
        """Tell whether a user takes messages now, if it has a device."""
        settings: Settings = self.settings.of(user)
        return settings.willing

    def choose(self, mail: Mail) -> str:
        """Return NOW, LATER or BEHIND for a message to its served user."""
        user = mail.leg.user
        if not mail.leg.registered or not self.willing(user):
            return LATER
        if self.pushes and self.delivery.busy(user) and not mail.content.is_composing:
            return BEHIND
        return NOW

    def keeps(self, mail: Mail) -> bool:
        """Tell whether a message that cannot be delivered now is worth keeping.

        Spec: RFC 3428 §7 (Expires); RFC 3994 (who types now is no news later)
        """
        settings: Settings = self.settings.of(mail.leg.user)
        return settings.defers and mail.expires_at > mail.at and not mail.content.is_composing
