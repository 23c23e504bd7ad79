"""The service profile of each user: its own, or that of everybody."""

from __future__ import annotations

from twisted.logger import Logger

from omaim.core.profile_xml import ProfileBook, im_profile
from omaim.core.service_profile import TERMINATE, Profile
from omaim.errors import PeerError
from omaim.stores.records import User

_log = Logger()


class Profiles:
    """Tells which profile serves whom.

    Args:
        im_server: SIP URI of the IM Server in the profile of everybody; "" for none.
        settings_event: the event package of its service settings; "" for none.
        handling: what becomes of a MESSAGE while it is dead.
    """

    def __init__(self, im_server: str, settings_event: str, handling: int = TERMINATE) -> None:
        self._book = ProfileBook()
        self._default = Profile()
        if im_server:
            self._default = im_profile(
                im_server,
                tagged_only=False,
                default_handling=handling,
                settings_event=settings_event,
            )

    def profile_of(self, user: User, aor: str) -> Profile:
        """Return the profile of an identity of a user; a broken one counts as none of its own."""
        if not user.profile:
            return self._default if user.im_service else Profile()
        try:
            return self._book.profile(user.profile.encode())
        except PeerError as error:
            _log.error("{user} has a bad profile: {why}", user=user.private_id, why=error.why)
            return self._default
