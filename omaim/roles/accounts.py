"""The users of a store as those who prove who they are.

Spec: RFC 3261 §22; RFC 7616 §3.4.2
"""

from __future__ import annotations

from typing import cast

from omaim.sip.held import Held
from omaim.sip.verifying import Account
from omaim.stores.interfaces import IUserStore
from omaim.stores.records import User


def accounts_of(users: IUserStore, realm: str) -> Held[Account]:
    """Return what finds the accounts of a store; whoever changes there is found anew.

    Args:
        realm: of the protection space; credentials for another do not count.
    """

    def find(private_id: str) -> Account | None:
        user = users.peek(private_id)
        if user is None:
            return None
        ha1s: dict[str, str] = {}
        for one in user.credentials:
            if one.realm == realm:
                ha1s.setdefault(one.algorithm, one.ha1)
        return Account(private_id, ha1s, user)

    found = Held(find)
    users.watch(found.forget)
    return found


def user_of(account: Account) -> User:
    """Return the record of the user whose account it is."""
    return cast(User, account.user)
