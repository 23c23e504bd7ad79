"""One request, several targets, one answer: the response context of a stateful proxy.

:class:`Fork` is told of targets, responses, a CANCEL from upstream and the time; it says which
branches to start, which to cancel and which responses to send upstream. Its owner sends and
receives. With one target and one answer it does next to nothing.

It never answers a request other than INVITE with 408, nor passes a provisional response to one
on (RFC 4320); if all branches of such a request stay silent, so does it.

Spec: RFC 3261 §16.6 to §16.10; RFC 5393 §5; RFC 4320 §4; RFC 3841 §9.1
"""

from __future__ import annotations

from typing import Final, final

from omaim.errors import PeerError
from omaim.ids import Ids
from omaim.sip.features import Features
from omaim.sip.headers import NameAddr
from omaim.sip.message import Request, Response
from omaim.sip.preferences import (
    NO_CANCEL,
    NO_FORK,
    NO_RECURSE,
    RECURSE,
    Preferences,
    Target,
    arrange,
)
from omaim.sip.proxying import incoming_breadth, stand_in, strip_via
from omaim.sip.uri import SipUri, TelUri, Uri, parse_uri
from omaim.timers import NEVER

# What a step asks its owner to do.
START: Final = 1  # send the request to branch.target; hold branch.breadth; see forwarded_copy
CANCEL: Final = 2  # cancel the client transaction of the branch
FORWARD: Final = 3  # send the response on the server transaction

# States of a branch.
CALLING: Final = 0
PROCEEDING: Final = 1
CANCELLING: Final = 2
DONE: Final = 3

TIMER_C: Final = 185.0  # seconds; RFC 3261 §16.6 step 11: more than three minutes
TARGETS: Final = 30  # in one context, recursion included

# Within the chosen class the lowest goes back (RFC 3261 §16.7 step 6): first what tells the
# client how to try again, last what says little about the callee.
_NO_PREFERENCES: Final = Preferences([], [], False)
_CHALLENGE: Final = 0
_ADVICE: Final = 1
_USUAL: Final = 2
_RANKS: Final = {
    401: _CHALLENGE,
    407: _CHALLENGE,
    415: _ADVICE,
    420: _ADVICE,
    484: _ADVICE,
    421: _ADVICE,
    423: _ADVICE,
    487: 3,
    408: 4,
    430: 5,
    482: 5,
    503: 5,
}


@final
class Policy:
    """How a proxy forks.

    Args:
        timer_c: seconds without a final response to an INVITE; more than 180.
        patience: seconds after which the next group is tried although this one has not
            answered; 0 waits for it.
        recurse: try the contacts of 3xx responses instead of passing them on.
        serialise: fork one after the other when Max-Breadth does not allow all at once, and
            give each group all of it; otherwise answer 440, and share it out among the groups,
            other ways to the same device and redirections included: then no request becomes
            more than Max-Breadth in all, whoever forwards to whom and answers what.
    """

    __slots__ = ("patience", "recurse", "serialise", "timer_c")

    def __init__(
        self,
        timer_c: float = TIMER_C,
        patience: float = 0.0,
        recurse: bool = False,
        serialise: bool = True,
    ) -> None:
        self.timer_c = timer_c
        self.patience = patience
        self.recurse = recurse
        self.serialise = serialise


@final
class Branch:
    """One target that the request was sent to.

    Attributes:
        target: where.
        breadth: the Max-Breadth of the forwarded request.
        state: one of the states above.
        note: the owner's, as the client transaction.
        deadline: Timer C, or :data:`~omaim.timers.NEVER`.
    """

    __slots__ = ("breadth", "deadline", "note", "state", "target")

    def __init__(self, target: Target, breadth: int) -> None:
        self.target = target
        self.breadth = breadth
        self.state = CALLING
        self.note: object = None
        self.deadline = NEVER


@final
class Step:
    """Something to do.

    Attributes:
        kind: START, CANCEL or FORWARD.
        branch: of START and CANCEL.
        response: of FORWARD; our Via is off already.
    """

    __slots__ = ("branch", "kind", "response")

    def __init__(self, kind: int, branch: Branch | None, response: Response | None) -> None:
        self.kind = kind
        self.branch = branch
        self.response = response


@final
class Fork:
    """The response context of one request.

    Args:
        request: as received and preprocessed.
        groups: the targets; see :func:`omaim.sip.preferences.arrange`. Of equal ones only
            the first is kept.
        policy: how to fork.
        ids: for the To tags of answers made here.
        responsible: we own the Request-URI, so the request may go elsewhere than it says;
            only then are redirections followed.
        bits: the caller's Request-Disposition; see :func:`omaim.sip.preferences.disposition`.
        preferences: of the caller, for the targets that a redirection adds.
        alternatives: how many groups :meth:`add` may bring when others have failed; without
            ``serialise`` breadth is kept for as many as it allows.

    Attributes:
        deadline: when :meth:`wake` is wanted, or :data:`~omaim.timers.NEVER`.
        answered: a final response went upstream.
        invite: the request is an INVITE.

    Raises:
        PeerError: 440, or 400 for a malformed Max-Breadth.

    Spec: RFC 3261 §16.6, §16.7; RFC 5393 §5.3.3
    """

    __slots__ = (
        "_allowed",
        "_bits",
        "_challenges",
        "_finals",
        "_groups",
        "_ids",
        "_incoming",
        "_outgoing",
        "_patience_at",
        "_policy",
        "_preferences",
        "_request",
        "_responsible",
        "_seen",
        "_spare",
        "_steps",
        "_stopped",
        "_waiting",
        "answered",
        "branches",
        "cancelled",
        "deadline",
        "invite",
    )

    def __init__(
        self,
        request: Request,
        groups: list[list[Target]],
        policy: Policy,
        ids: Ids,
        responsible: bool = True,
        bits: int = 0,
        preferences: Preferences = _NO_PREFERENCES,
        alternatives: int = 0,
    ) -> None:
        self._request = request
        self._policy = policy
        self._ids = ids
        self._responsible = responsible
        self._bits = bits
        self._preferences = preferences
        self.invite = request.method == "INVITE"
        self._steps: list[Step] = []
        self._finals: list[Response] = []
        self._challenges: list[Response] = []
        self._waiting: list[Target] = []  # of the group that is being tried
        self._groups: list[list[Target]] = []
        self._seen: list[Uri] = []
        self._incoming = incoming_breadth(request)
        self._outgoing = 0
        self._allowed = self._incoming  # to one group
        self._spare = 0  # further groups that breadth was kept for; without serialising only
        self._stopped = False  # no branch will be started any more
        self._patience_at = NEVER
        self.branches: list[Branch] = []
        self.cancelled = False
        self.answered = False
        self.deadline = NEVER
        if len(groups) == 1 and len(groups[0]) == 1:
            self._groups = groups
        else:
            for group in groups:
                self._add(group)
            if not policy.serialise:
                self._allowed = self._incoming // max(1, len(self._groups))
                for group in self._groups:
                    if len(group) > self._allowed:
                        raise PeerError("Max-Breadth does not allow for all targets", 440)
        if self._incoming < 1:
            raise PeerError("Max-Breadth does not allow for any target", 440)
        if not policy.serialise:
            if responsible and self._recurses():
                alternatives += len(self._groups)
            if alternatives:
                self._set_aside(alternatives)

    @property
    def finished(self) -> bool:
        """Whether every branch has its final response, and no target is left."""
        if self._groups or self._waiting:
            return False
        for branch in self.branches:
            if branch.state != DONE:
                return False
        return True

    def start(self, now: float) -> None:
        """Try the first group; without any target the answer is 480 (§16.5)."""
        if self._groups:
            self._go_on(now)
        else:
            self._forward(self._own(480))

    def add(
        self, targets: list[Target], now: float, compare: bool = True, spent: bool = True
    ) -> bool:
        """Take in more targets, to be tried after all others.

        A flow's failure (430) is met so: add another way to the same device, then feed the
        response.

        Args:
            targets: tried at once, as one group.
            now: monotonic seconds.
            compare: leave out those whose URI was tried; another flow to the same device has
                the same URI, and is not to be compared.
            spent: what failed had been sent out, so that others may have forked it by now;
                false where no message left.

        Returns:
            Whether one of them is new and may still be tried.

        Spec: RFC 3261 §16.5; RFC 5626 §5.3; RFC 5393 §5.3.3
        """
        if self._stopped or self.answered or not self._responsible:
            return False
        if spent and not self._charge(1):
            return False
        if not compare and len(self.branches) < TARGETS:
            self._groups.append(targets)
            return True
        return self._add(targets)

    def respond(self, branch: Branch, response: Response, now: float) -> None:
        """A response came on a branch, or the transaction below made a local one.

        Spec: RFC 3261 §16.7; RFC 4320 §4
        """
        status = response.status
        if status < 200:
            self._provisional(branch, response, now)
            return
        if status < 300:
            self._done(branch)
            if self.invite or not self.answered:
                # Every 2xx of an INVITE goes upstream, repeats and other forks too.
                self._forward(response)
            return
        if branch.state == DONE:
            return
        self._done(branch)
        if self.answered:
            return
        if not self._recursed(branch, response):
            self._keep(response)
        if status >= 600:
            self._stop()
        self._go_on(now)

    def cancel(self, now: float) -> None:
        """The client gave up its INVITE; for other methods that means nothing.

        Spec: RFC 3261 §16.10
        """
        if self.invite and not self.answered:
            self.cancelled = True
            self._stop()
            self._go_on(now)

    def wake(self, now: float) -> None:
        """The deadline has come.

        Spec: RFC 3261 §16.8
        """
        silent: list[Branch] = []
        for branch in self.branches:
            if branch.deadline <= now:
                branch.deadline = NEVER
                if branch.state == CALLING:
                    silent.append(branch)
                if branch.state != DONE:
                    self._cancel(branch)
        for branch in silent:
            # It never answered at all, and will not be heard of again: as if by 408.
            self._done(branch)
        if self._patience_at <= now:
            self._patience_at = NEVER
            self._move_on(now)
        self._go_on(now)

    def take(self) -> list[Step]:
        """Return what to do, in order, and forget it; doing it may bring more."""
        steps = self._steps
        self._steps = []
        return steps

    # Breadth

    def _recurses(self) -> bool:
        """Tell whether redirections are followed (RFC 3841 §9.1)."""
        return self._bits & RECURSE > 0 or (self._policy.recurse and self._bits & NO_RECURSE == 0)

    def _set_aside(self, alternatives: int) -> None:
        """Keep breadth for so many more groups, or as many as there is some for."""
        widest = 1
        for group in self._groups:
            widest = max(widest, len(group))
        self._spare = max(0, min(alternatives, self._incoming // widest - len(self._groups)))
        self._allowed = self._incoming // max(1, len(self._groups) + self._spare)

    def _charge(self, groups: int) -> bool:
        """Take breadth for more groups from what was set aside; false when it is used up."""
        if not self._policy.serialise:
            if groups > self._spare:
                return False
            self._spare -= groups
        return True

    # Branches

    def _add(self, targets: list[Target]) -> bool:
        fresh: list[Target] = []
        for target in targets:
            if len(self._seen) >= TARGETS:
                break
            if self._is_new(target.uri):
                fresh.append(target)
        if fresh:
            self._groups.append(fresh)
        return len(fresh) > 0

    def _is_new(self, text: str) -> bool:
        """Note a target; return whether it was not there (RFC 3261 §16.5)."""
        try:
            if not self._seen:
                # The only target, which nobody had to compare until now.
                for branch in self.branches:
                    self._seen.append(parse_uri(branch.target.uri))
                for group in self._groups:
                    self._seen.append(parse_uri(group[0].uri))
            uri = parse_uri(text)
        except PeerError:
            return False
        for known in self._seen:
            if uri.equals(known):
                return False
        self._seen.append(uri)
        return True

    def _go_on(self, now: float) -> None:
        """Start what may be started; when all is over, answer."""
        if not self._stopped and not self.answered:
            if not self._waiting and self._groups and self._idle():
                self._next_group(now)
            if self._waiting:
                self._start_waiting(now)
        if not self.answered and not self._waiting and not self._groups and self._idle():
            self._conclude()
        if self.invite or self._policy.patience > 0.0:
            self._set_deadline()

    def _idle(self) -> bool:
        for branch in self.branches:
            if branch.state != DONE:
                return False
        return True

    def _next_group(self, now: float) -> None:
        self._waiting.extend(self._groups.pop(0))
        patience = self._policy.patience
        self._patience_at = now + patience if patience > 0.0 and self._groups else NEVER

    def _start_waiting(self, now: float) -> None:
        """Start as many of the group as Max-Breadth allows, the breadth shared out evenly."""
        free = min(self._incoming - self._outgoing, self._allowed)
        count = min(len(self._waiting), free)
        if count < 1:
            return
        if not self.invite and self._policy.patience > 0.0:
            # Later groups may have to be started beside this one: keep one for each target.
            for group in self._groups:
                free -= len(group)
            free = max(free, count)
        share = free // count
        more = free % count
        for place in range(count):
            breadth = share + 1 if place < more else share
            branch = Branch(self._waiting[place], breadth)
            self._outgoing += breadth
            if self.invite:
                branch.deadline = now + self._policy.timer_c
            self.branches.append(branch)
            self._steps.append(Step(START, branch, None))
        del self._waiting[:count]

    def _done(self, branch: Branch) -> None:
        if branch.state != DONE:
            branch.state = DONE
            branch.deadline = NEVER
            self._outgoing -= branch.breadth

    def _cancel(self, branch: Branch) -> None:
        """Cancel a branch of an INVITE once; other requests cannot be cancelled (§9.1)."""
        if self.invite and branch.state < CANCELLING:
            branch.state = CANCELLING
            self._steps.append(Step(CANCEL, branch, None))

    def _stop(self) -> None:
        """Start nothing more, and cancel what is under way."""
        self._stopped = True
        self._groups = []
        self._waiting = []
        self._patience_at = NEVER
        for branch in self.branches:
            self._cancel(branch)

    def _move_on(self, now: float) -> None:
        """The group took too long: give it up in favour of the next."""
        if self.invite:
            for branch in self.branches:
                self._cancel(branch)
        elif self._groups:
            self._next_group(now)

    def _set_deadline(self) -> None:
        deadline = self._patience_at
        for branch in self.branches:
            if branch.deadline < deadline:
                deadline = branch.deadline
        self.deadline = deadline

    # Responses

    def _provisional(self, branch: Branch, response: Response, now: float) -> None:
        if branch.state == DONE:
            return
        if branch.state == CALLING:
            branch.state = PROCEEDING
        if not self.invite or response.status == 100:
            return
        if branch.deadline < NEVER:
            branch.deadline = now + self._policy.timer_c
            self._set_deadline()
        if not self.answered and strip_via(response):
            self._steps.append(Step(FORWARD, None, response))

    def _forward(self, response: Response) -> None:
        """Send a final response upstream."""
        if response.status >= 300 or strip_via(response):
            self.answered = True
            self._steps.append(Step(FORWARD, None, response))
            if response.status >= 300 or not self._bits & NO_CANCEL:
                self._stop()
            else:
                self._stopped = True
                self._groups = []
                self._waiting = []
            self._finals = []
            self._challenges = []
            if self.invite:
                self._set_deadline()

    def _keep(self, response: Response) -> None:
        """Make a final response a candidate for the best one (§16.7 step 4)."""
        status = response.status
        if status == 408 and (response.local or not self.invite):
            return
        if not response.local and not strip_via(response):
            return
        self._finals.append(response)
        if status == 401 or status == 407:
            self._challenges.append(response)

    def _conclude(self) -> None:
        """Every branch is over: choose the best response (§16.7 step 6)."""
        best: Response | None = None
        for response in self._finals:
            if best is None or _key(response.status) < _key(best.status):
                best = response
        if best is None:
            if self.cancelled:
                self._forward(self._own(487))
            elif self.invite:
                self._forward(self._own(408))
            else:
                self._stopped = True  # RFC 4320 §4.2: no answer at all
            return
        if best.status == 430 and self._responsible:
            best = self._own(480)  # RFC 5626 §11.5: no endpoint ever sees it
        elif best.local or best.status == 503:
            best = stand_in(self._request, best, self._ids.tag())
        elif len(self._challenges) > 1 and _key(best.status) == _key(401):
            self._aggregate(best)
        self._forward(best)

    def _own(self, status: int) -> Response:
        return self._request.response(status, None, self._ids.tag())

    def _aggregate(self, best: Response) -> None:
        """Add the challenges of all branches to the one that goes back (§16.7 step 7)."""
        for response in self._challenges:
            if response is not best:
                for name in ("WWW-Authenticate", "Proxy-Authenticate"):
                    for value in response.all(name):
                        best.add(name, value)

    # Going elsewhere

    def _recursed(self, branch: Branch, response: Response) -> bool:
        """Follow a redirection, or a refused tel URI; return whether nothing is left of it.

        Spec: RFC 3261 §16.7 step 4
        """
        if self._stopped or not self._responsible or response.local:
            return False
        status = response.status
        if status == 416:
            return self._as_sip(branch)
        if status >= 400 or not self._recurses() or not response.has("Contact"):
            return False
        if not self._policy.serialise and not self._spare:
            return False
        try:
            contacts = response.contacts
        except PeerError:
            return False
        secure = self._request.uri[:5].lower() == "sips:"
        rest: list[str] = []
        found: list[Target] = []
        for contact in contacts:
            target = _target_of(contact, secure) if len(self._seen) < TARGETS else None
            if target is None:
                rest.append(str(contact))
            elif self._is_new(target.uri):
                found.append(target)
        found = self._preferences.order(found)
        groups = arrange(found, self._bits & ~NO_FORK)
        if not self._policy.serialise:
            # One share for all of them: as many as it is enough for, one after the other.
            groups = [[target] for group in groups for target in group][: self._spare]
            self._charge(len(groups))
        self._groups = groups + self._groups
        if rest:
            response.set("Contact", ", ".join(rest))
            return False
        if not found:
            self._finals.append(self._own(480))  # we were sent in circles
        return True

    def _as_sip(self, branch: Branch) -> bool:
        """Try a tel URI that its next hop did not know as a SIP URI in our domain."""
        tried = parse_uri(branch.target.uri)
        original = self._request.request_uri
        if not isinstance(tried, TelUri) or not isinstance(original, SipUri):
            return False
        user = tried.number + str(tried.params)
        text = f"{original.scheme}:{user}@{original.host};user=phone"
        if not self._is_new(text):
            return False
        self._groups.insert(0, [Target(text, branch.target.q, None, branch.target.routes)])
        return True


def _target_of(contact: NameAddr, secure: bool) -> Target | None:
    """Return the contact of a redirection as a target; ``None`` if we may not go there."""
    try:
        uri = contact.uri
        if not isinstance(uri, SipUri) or (secure and uri.scheme != "sips"):
            return None
        return Target(contact.uri_text, int(contact.q * 1000.0 + 0.5), Features.of(contact.params))
    except PeerError:
        return None


def _key(status: int) -> int:
    """Return a number that is lower for the response that goes upstream rather.

    Spec: RFC 3261 §16.7 step 6
    """
    rank = _RANKS.get(status, _USUAL)
    if status >= 600:
        return rank
    return (status // 100) * 10 + rank
