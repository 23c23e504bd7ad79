"""Several targets, one answer: rules one by one, then any number of random forks."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import DrawFn, booleans, composite, integers, lists, sampled_from
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError
from omaim.ids import Ids
from omaim.sip.forking import CANCEL, DONE, FORWARD, START, TARGETS, TIMER_C, Branch, Fork, Policy
from omaim.sip.message import Request, Response
from omaim.sip.preferences import NO_CANCEL, NO_RECURSE, RECURSE, Target
from omaim.sip.proxying import forwarded_copy
from omaim.timers import NEVER

TAGGED = ";tag="


def request(
    method: str = "INVITE", uri: str = "sip:bob@b.example", *more: tuple[str, str]
) -> Request:
    return Request.make(
        method,
        uri,
        [
            ("Via", "SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKcaller"),
            ("From", "<sip:alice@a.example>;tag=1"),
            ("To", "<sip:bob@b.example>"),
            ("Call-ID", "call1"),
            ("CSeq", f"1 {method}"),
            *more,
        ],
    )


class Owner:
    """Does what a fork says, and remembers it."""

    def __init__(
        self,
        sent: Request,
        groups: list[list[str]],
        policy: Policy | None = None,
        responsible: bool = True,
        bits: int = 0,
        alternatives: int = 0,
    ) -> None:
        self.request = sent
        targets = [[Target(uri) for uri in group] for group in groups]
        self.fork = Fork(
            sent,
            targets,
            policy or Policy(),
            Ids(1),
            responsible,
            bits,
            alternatives=alternatives,
        )
        self.started: list[Branch] = []
        self.cancelled: list[Branch] = []
        self.upstream: list[Response] = []
        self.most = 0
        self.fork.start(0.0)
        self.do()

    def do(self) -> None:
        while steps := self.fork.take():
            for step in steps:
                if step.kind == START:
                    assert step.branch is not None
                    self.started.append(step.branch)
                elif step.kind == CANCEL:
                    assert step.branch is not None
                    self.cancelled.append(step.branch)
                else:
                    assert step.kind == FORWARD
                    assert step.response is not None
                    self.upstream.append(step.response)
        open_ = [branch.breadth for branch in self.started if branch.state != DONE]
        self.most = max(self.most, sum(open_))

    def answer(
        self,
        place: int,
        status: int,
        *more: tuple[str, str],
        now: float = 1.0,
        local: bool = False,
    ) -> None:
        branch = self.started[place]
        copy = forwarded_copy(
            self.request,
            branch.target.uri,
            via=f"SIP/2.0/UDP p.example;branch=z9hG4bK{place}",
        )
        response = copy.response(status, None, "" if local else f"tag{place}")
        for name, value in more:
            response.add(name, value)
        response.local = local
        self.fork.respond(branch, response, now)
        self.do()

    def cancel(self, now: float = 1.0) -> None:
        self.fork.cancel(now)
        self.do()

    def wake(self, now: float) -> None:
        self.fork.wake(now)
        self.do()

    @property
    def uris(self) -> list[str]:
        return [branch.target.uri for branch in self.started]

    @property
    def statuses(self) -> list[int]:
        return [response.status for response in self.upstream]


A, B, C = "sip:bob@a1.example", "sip:bob@b1.example", "sip:bob@c1.example"


class ForkTests(SynchronousTestCase):
    """RFC 3261 §16.6 and §16.7."""

    def test_one(self) -> None:
        """One target, one answer: sent on without our Via (step 3)."""
        owner = Owner(request("MESSAGE"), [[A]])
        owner.answer(0, 200)
        self.assertEqual(owner.statuses, [200])
        self.assertEqual([via.branch for via in owner.upstream[0].vias], ["z9hG4bKcaller"])
        self.assertEqual(owner.fork.deadline, NEVER)
        self.assertTrue(owner.fork.finished)

    def test_none(self) -> None:
        """No target: 480 (§16.5)."""
        owner = Owner(request("MESSAGE"), [])
        self.assertEqual(owner.statuses, [480])
        self.assertTrue(owner.upstream[0].to.tag)

    def test_groups(self) -> None:
        """A group at once, the next when all of it failed (§16.6)."""
        owner = Owner(request(), [[A, B], [C]])
        self.assertEqual(owner.uris, [A, B])
        owner.answer(0, 486)
        self.assertEqual(owner.uris, [A, B])
        owner.answer(1, 480)
        self.assertEqual(owner.uris, [A, B, C])
        self.assertEqual(owner.statuses, [])
        owner.answer(2, 404)
        self.assertEqual(owner.statuses, [486])

    def test_equal_targets(self) -> None:
        """A URI is in the target set once (§16.5), whatever its spelling."""
        owner = Owner(request(), [[A, "sip:bob@A1.EXAMPLE"], [A]])
        self.assertEqual(owner.uris, [A])

    def test_provisional(self) -> None:
        """100 goes nowhere, other provisionals at once (step 5)."""
        owner = Owner(request(), [[A, B]])
        owner.answer(0, 100)
        owner.answer(0, 180)
        owner.answer(1, 183)
        self.assertEqual(owner.statuses, [180, 183])

    def test_provisional_of_others(self) -> None:
        """To a request other than INVITE no provisional is sent (RFC 4320 §4.1)."""
        owner = Owner(request("MESSAGE"), [[A]])
        owner.answer(0, 100)
        owner.answer(0, 183)
        self.assertEqual(owner.statuses, [])

    def test_success_cancels(self) -> None:
        """A 2xx goes at once, and the other branches are cancelled (steps 5 and 10)."""
        owner = Owner(request(), [[A, B], [C]])
        owner.answer(1, 200)
        self.assertEqual(owner.statuses, [200])
        self.assertEqual(owner.cancelled, [owner.started[0]])
        owner.answer(0, 487)
        self.assertEqual((owner.statuses, owner.uris), ([200], [A, B]))

    def test_every_success(self) -> None:
        """Each 2xx of an INVITE is sent on, repeats too (step 5)."""
        owner = Owner(request(), [[A, B]])
        for place in (0, 1, 0):
            owner.answer(place, 200)
        self.assertEqual(owner.statuses, [200, 200, 200])
        other = Owner(request("MESSAGE"), [[A, B]])
        other.answer(0, 200)
        other.answer(1, 202)
        self.assertEqual(other.statuses, [200])

    def test_no_cancel(self) -> None:
        """With no-cancel a 2xx ends no other branch, a 6xx does (RFC 3841 §9.1)."""
        owner = Owner(request(), [[A, B]], bits=NO_CANCEL)
        owner.answer(0, 200)
        self.assertEqual(owner.cancelled, [])
        owner = Owner(request(), [[A, B]], bits=NO_CANCEL)
        owner.answer(0, 603)
        self.assertEqual(owner.cancelled, [owner.started[1]])

    def test_global_failure(self) -> None:
        """A 6xx cancels all, waits for them, starts nothing, and goes back (step 5)."""
        owner = Owner(request(), [[A, B], [C]])
        owner.answer(0, 603)
        self.assertEqual((owner.statuses, owner.cancelled), ([], [owner.started[1]]))
        owner.answer(1, 487)
        self.assertEqual((owner.statuses, owner.uris), ([603], [A, B]))

    def test_success_after_global_failure(self) -> None:
        """A 2xx that crosses the CANCEL wins over the 6xx (step 5)."""
        owner = Owner(request(), [[A, B]])
        owner.answer(0, 600)
        owner.answer(1, 200)
        self.assertEqual(owner.statuses, [200])

    def test_best(self) -> None:
        """6xx before all, else the lowest class; what helps to try again first (step 6)."""
        for given_, wanted in [
            ((503, 407, 501, 404), 407),  # the RFC's own example
            ((486, 302), 302),
            ((500, 404, 302, 604), 604),
            ((404, 420), 420),
            ((480, 408, 487), 480),
            ((500, 503), 500),
            ((503, 502), 502),
            ((404, 486), 404),
            ((415, 401), 401),
            ((430, 404), 404),
        ]:
            owner = Owner(request("MESSAGE"), [[A, B, C, "sip:d"][: len(given_)]])
            for place, status in enumerate(given_):
                owner.answer(place, status)
            self.assertEqual(owner.statuses, [wanted], given_)

    def test_unavailable(self) -> None:
        """503 alone becomes 500, so that the client does not think it is us (step 6)."""
        owner = Owner(request("MESSAGE"), [[A]])
        owner.answer(0, 503, ("Retry-After", "3600"))
        self.assertEqual(owner.statuses, [500])
        self.assertFalse(owner.upstream[0].has("Retry-After"))
        self.assertEqual(len(owner.upstream[0].vias), 1)

    def test_transport_error(self) -> None:
        """A transport error counts as 503 (§16.9): the next target, else 500."""
        owner = Owner(request("MESSAGE"), [[A], [B]])
        owner.answer(0, 503, local=True)
        self.assertEqual(owner.uris, [A, B])
        owner.answer(1, 503, local=True)
        self.assertEqual(owner.statuses, [500])
        self.assertTrue(owner.upstream[0].to.tag)

    def test_silence(self) -> None:
        """An INVITE that nobody answers gets 408, another request nothing (RFC 4320 §4.2)."""
        owner = Owner(request(), [[A, B]])
        owner.answer(0, 408, local=True)
        owner.answer(1, 408, local=True)
        self.assertEqual(owner.statuses, [408])
        for local in (True, False):
            owner = Owner(request("MESSAGE"), [[A, B]])
            owner.answer(0, 408, local=local)
            owner.answer(1, 408, local=local)
            self.assertEqual(owner.statuses, [])
            self.assertTrue(owner.fork.finished)

    def test_challenges(self) -> None:
        """The challenges of all branches come together (step 7)."""
        owner = Owner(request("MESSAGE"), [[A, B, C]])
        owner.answer(0, 407, ("Proxy-Authenticate", 'Digest realm="1"'))
        owner.answer(1, 404, ("WWW-Authenticate", 'Digest realm="no"'))
        owner.answer(2, 401, ("WWW-Authenticate", 'Digest realm="2"'))
        (best,) = owner.upstream
        self.assertEqual(best.status, 407)
        self.assertEqual(best.all("Proxy-Authenticate"), ['Digest realm="1"'])
        self.assertEqual(best.all("WWW-Authenticate"), ['Digest realm="2"'])

    def test_to_tag_stays(self) -> None:
        """The To tag of what is sent on is that of the branch (step 6)."""
        owner = Owner(request("MESSAGE"), [[A, B]])
        owner.answer(0, 486)
        owner.answer(1, 404)
        self.assertEqual(owner.upstream[0].to.tag, "tag0")

    def test_no_via_left(self) -> None:
        """A response that was meant for us goes nowhere (step 3)."""
        owner = Owner(request(), [[A]])
        response = request().response(180)
        owner.fork.respond(owner.started[0], response, 1.0)
        owner.do()
        self.assertEqual(owner.statuses, [])


class TimerTests(SynchronousTestCase):
    """RFC 3261 §16.6 step 11, §16.7 step 2, §16.8."""

    def test_timer_c(self) -> None:
        """It cancels a branch that rings for ever, and each provisional but 100 puts it off."""
        owner = Owner(request(), [[A]])
        self.assertGreater(TIMER_C, 180)
        self.assertEqual(owner.fork.deadline, TIMER_C)
        owner.answer(0, 100, now=10.0)
        self.assertEqual(owner.fork.deadline, TIMER_C)
        owner.answer(0, 180, now=20.0)
        self.assertEqual(owner.fork.deadline, 20 + TIMER_C)
        owner.wake(20 + TIMER_C)
        self.assertEqual(owner.cancelled, [owner.started[0]])
        self.assertEqual((owner.fork.deadline, owner.statuses), (NEVER, [180]))
        owner.answer(0, 487)
        self.assertEqual(owner.statuses, [180, 487])

    def test_without_provisional(self) -> None:
        """Without a provisional response it counts as 408."""
        owner = Owner(request(), [[A], [B]])
        owner.wake(TIMER_C)
        self.assertEqual(owner.uris, [A, B])
        owner.answer(1, 404)
        self.assertEqual(owner.statuses, [404])

    def test_each_branch(self) -> None:
        """Each branch has a timer of its own."""
        owner = Owner(request(), [[A, B]])
        owner.answer(0, 180, now=100.0)
        owner.wake(TIMER_C)
        self.assertEqual([branch.target.uri for branch in owner.cancelled], [B])
        self.assertEqual(owner.fork.deadline, 100 + TIMER_C)

    def test_patience(self) -> None:
        """The next group follows a group that does not answer in time."""
        owner = Owner(request(), [[A], [B]], Policy(patience=20.0))
        self.assertEqual(owner.fork.deadline, 20.0)
        owner.wake(20.0)
        self.assertEqual((owner.cancelled, owner.uris), ([owner.started[0]], [A]))
        owner.answer(0, 487)
        self.assertEqual(owner.uris, [A, B])
        self.assertEqual(owner.fork.deadline, 1.0 + TIMER_C)
        owner = Owner(request("MESSAGE"), [[A], [B]], Policy(patience=5.0))
        owner.wake(5.0)
        self.assertEqual((owner.cancelled, owner.uris), ([], [A, B]))
        owner.answer(0, 200)
        self.assertEqual(owner.statuses, [200])


class CancelTests(SynchronousTestCase):
    """RFC 3261 §16.10."""

    def test_cancel(self) -> None:
        """A CANCEL goes to every pending branch; no other is started."""
        owner = Owner(request(), [[A, B], [C]])
        owner.answer(0, 486)
        owner.cancel()
        self.assertEqual(owner.cancelled, [owner.started[1]])
        owner.cancel()
        owner.answer(1, 487)
        self.assertEqual((owner.uris, owner.statuses), ([A, B], [486]))
        self.assertEqual(len(owner.cancelled), 1)

    def test_unanswered(self) -> None:
        """Nothing came after CANCEL: the INVITE is over with 487."""
        for status in (408, 487):
            owner = Owner(request(), [[A]])
            owner.cancel()
            owner.answer(0, status, local=True)
            self.assertEqual(owner.statuses, [487])
            self.assertTrue(owner.upstream[0].to.tag)

    def test_other_methods(self) -> None:
        """A CANCEL of another request changes nothing (§9.1)."""
        owner = Owner(request("MESSAGE"), [[A], [B]])
        owner.cancel()
        owner.answer(0, 404)
        self.assertEqual((owner.uris, owner.cancelled), ([A, B], []))


class BreadthTests(SynchronousTestCase):
    """RFC 5393 §5."""

    def test_share(self) -> None:
        """The breadth is shared out, all of it, and reclaimed by final responses."""
        owner = Owner(request("MESSAGE"), [[A, B], [C]])
        self.assertEqual([branch.breadth for branch in owner.started], [30, 30])
        owner.answer(0, 404)
        owner.answer(1, 404)
        self.assertEqual(owner.started[2].breadth, 60)

    def test_too_narrow(self) -> None:
        """More targets than breadth: the rest follows as it is freed (§5.5)."""
        owner = Owner(request("MESSAGE", "sip:b@b", ("Max-Breadth", "2")), [[A, B, C]])
        self.assertEqual(owner.uris, [A, B])
        owner.answer(1, 404)
        self.assertEqual(owner.uris, [A, B, C])
        self.assertEqual([branch.breadth for branch in owner.started], [1, 1, 1])

    def test_shared_once(self) -> None:
        """A proxy that does not serialise gives later groups no breadth that was used before."""
        owner = Owner(request("MESSAGE"), [[A, B], [C]], Policy(serialise=False))
        self.assertEqual([branch.breadth for branch in owner.started], [15, 15])
        owner.answer(0, 404)
        owner.answer(1, 404)
        self.assertEqual(owner.started[2].breadth, 30)
        for groups in ([[A], [B], [C]], [[A, B], [C]]):
            with self.assertRaises(PeerError) as caught:
                narrow = request("MESSAGE", "sip:b@b", ("Max-Breadth", "2"))
                Owner(narrow, groups, Policy(serialise=False))
            self.assertEqual(caught.exception.status, 440)

    def test_other_ways(self) -> None:
        """Other ways to a device have their share from the beginning: each 430 that came from
        further on may stand for a fork there (RFC 5393 §5.3.3, RFC 5626 §5.3)."""
        owner = Owner(request("MESSAGE"), [[A]], Policy(serialise=False), alternatives=2)
        for place in range(3):
            added = owner.fork.add([Target(A)], 1.0, compare=False)
            self.assertEqual(added, place < 2)
            owner.answer(place, 430)
        self.assertEqual([branch.breadth for branch in owner.started], [20, 20, 20])
        self.assertEqual(owner.statuses, [480])

    def test_nothing_left(self) -> None:
        """A flow that is known to be gone costs nothing: no message left by it."""
        owner = Owner(request("MESSAGE"), [[A]], Policy(serialise=False))
        self.assertTrue(owner.fork.add([Target(A)], 1.0, compare=False, spent=False))
        owner.answer(0, 430)
        self.assertEqual([branch.breadth for branch in owner.started], [60, 60])

    def test_too_narrow_for_other_ways(self) -> None:
        """Where there is breadth for the devices only, other ways are done without."""
        narrow = request("MESSAGE", "sip:b@b", ("Max-Breadth", "2"))
        owner = Owner(narrow, [[A, B]], Policy(serialise=False), alternatives=3)
        self.assertEqual([branch.breadth for branch in owner.started], [1, 1])
        self.assertFalse(owner.fork.add([Target(A)], 1.0, compare=False))

    @given(
        integers(1, 70),
        lists(sampled_from(["430", "302", "404", "lost"]), max_size=20),
        integers(1, 3),
        integers(0, 4),
        booleans(),
    )
    def test_never_more(
        self, breadth: int, answers: list[str], devices: int, ways: int, recurses: bool
    ) -> None:
        """Whatever is answered, all that was sent out has no more breadth than the request."""
        sent = request("MESSAGE", "sip:b@b", ("Max-Breadth", str(breadth)))
        groups = [[f"sip:u@h{place}.example"] for place in range(devices)]
        policy = Policy(serialise=False)
        try:
            owner = Owner(sent, groups, policy, True, RECURSE if recurses else 0, ways * devices)
        except PeerError as error:
            self.assertEqual(error.status, 440)
            return
        spent = 0
        for number, answer in enumerate(answers):
            waiting = [at for at, one in enumerate(owner.started) if one.state != DONE]
            if not waiting:
                break
            branch = owner.started[waiting[0]]
            spent += branch.breadth if answer != "lost" else 0
            if answer in ("430", "lost"):
                target = [Target(branch.target.uri)]
                owner.fork.add(target, 1.0, compare=False, spent=answer == "430")
                owner.answer(waiting[0], 430)
            else:
                contact = ("Contact", f"<sip:u@n{number}.example>, <sip:u@m{number}.example>")
                owner.answer(waiting[0], int(answer), contact)
        self.assertLessEqual(spent, breadth)

    def test_refused(self) -> None:
        """Or 440, if the proxy does not like that (§5.3.3); 0 allows for nothing."""
        for breadth, policy in [("2", Policy(serialise=False)), ("0", Policy())]:
            with self.assertRaises(PeerError) as caught:
                Owner(request("MESSAGE", "sip:b@b", ("Max-Breadth", breadth)), [[A, B, C]], policy)
            self.assertEqual(caught.exception.status, 440)


class RecursionTests(SynchronousTestCase):
    """RFC 3261 §16.7 step 4."""

    def test_off(self) -> None:
        """Without recursion the redirection goes back as it is."""
        owner = Owner(request("MESSAGE"), [[A]])
        owner.answer(0, 302, ("Contact", f"<{B}>"))
        self.assertEqual(owner.upstream[0].first("Contact"), f"<{B}>")

    def test_on(self) -> None:
        """The contacts are tried, the best first; nothing is left to send back."""
        owner = Owner(request("MESSAGE"), [[A]], Policy(recurse=True))
        owner.answer(0, 302, ("Contact", f"<{C}>;q=0.1, <{B}>;q=0.8"))
        self.assertEqual(owner.uris, [A, B])
        owner.answer(1, 404)
        self.assertEqual(owner.uris, [A, B, C])
        owner.answer(2, 486)
        self.assertEqual(owner.statuses, [404])

    def test_rest(self) -> None:
        """What we cannot follow goes back, without what we did follow."""
        owner = Owner(request("MESSAGE"), [[A]], Policy(recurse=True))
        owner.answer(0, 300, ("Contact", f"<{B}>, <mailto:bob@b.example>"))
        owner.answer(1, 404)
        self.assertEqual(owner.upstream[0].first("Contact"), "<mailto:bob@b.example>")

    def test_circle(self) -> None:
        """A target is not tried twice, so redirections cannot lead in circles."""
        owner = Owner(request("MESSAGE"), [[A]], Policy(recurse=True))
        owner.answer(0, 302, ("Contact", f"<{B}>"))
        owner.answer(1, 302, ("Contact", f"<{A}>"))
        self.assertEqual((owner.uris, owner.statuses), ([A, B], [480]))

    def test_endless(self) -> None:
        """Nor for ever: there are so many targets at most."""
        owner = Owner(request("MESSAGE"), [[A]], Policy(recurse=True))
        place = 0
        while not owner.upstream:
            owner.answer(place, 302, ("Contact", f"<sip:bob@h{place}.example>"))
            place += 1
        self.assertEqual(len(owner.started), TARGETS)

    def test_sips(self) -> None:
        """From sips there is no way to sip."""
        owner = Owner(request("MESSAGE", "sips:bob@b.example"), [[A]], Policy(recurse=True))
        owner.answer(0, 302, ("Contact", f"<{B}>"))
        self.assertEqual((owner.uris, owner.statuses), ([A], [302]))

    def test_not_ours(self) -> None:
        """Only who owns the Request-URI may go elsewhere (§16.5)."""
        owner = Owner(request("MESSAGE"), [[A]], Policy(recurse=True), responsible=False)
        owner.answer(0, 302, ("Contact", f"<{B}>"))
        self.assertEqual(owner.statuses, [302])
        self.assertFalse(owner.fork.add([Target(C)], 1.0))

    def test_caller_decides(self) -> None:
        """recurse and no-recurse go before our policy (RFC 3841 §9.1)."""
        owner = Owner(request("MESSAGE"), [[A]], Policy(recurse=True), bits=NO_RECURSE)
        owner.answer(0, 302, ("Contact", f"<{B}>"))
        self.assertEqual(owner.statuses, [302])
        owner = Owner(request("MESSAGE"), [[A]], bits=RECURSE)
        owner.answer(0, 302, ("Contact", f"<{B}>"))
        self.assertEqual(owner.uris, [A, B])

    def test_tel(self) -> None:
        """A refused tel URI is tried as a SIP URI of ours."""
        owner = Owner(request("MESSAGE"), [["tel:+1555"]])
        owner.answer(0, 416)
        self.assertEqual(owner.uris, ["tel:+1555", "sip:+1555@b.example;user=phone"])
        owner.answer(1, 416)
        self.assertEqual(owner.statuses, [416])

    def test_added(self) -> None:
        """Targets that turn up later follow the others, once (§16.5)."""
        owner = Owner(request("MESSAGE"), [[A]])
        self.assertTrue(owner.fork.add([Target(B), Target(A), Target("rubbish")], 1.0))
        owner.answer(0, 430)
        self.assertEqual(owner.uris, [A, B])
        owner.answer(1, 200)
        self.assertFalse(owner.fork.add([Target(C)], 1.0))

    def test_another_flow(self) -> None:
        """Another flow to the same device is tried though its URI is the same (RFC 5626 §5.3)."""
        owner = Owner(request("MESSAGE"), [[A]])
        self.assertTrue(owner.fork.add([Target(A)], 1.0, compare=False))
        owner.answer(0, 430)
        self.assertEqual(owner.uris, [A, A])
        owner.answer(1, 430)
        self.assertEqual(owner.statuses, [480])

    def test_last_flow(self) -> None:
        """That a flow failed is told no caller; who only passes on tells it (RFC 5626 §11.5)."""
        for responsible, status in ((True, 480), (False, 430)):
            owner = Owner(request("MESSAGE"), [[A]], responsible=responsible)
            owner.answer(0, 430)
            self.assertEqual(owner.statuses, [status])


FINALS = [200, 202, 300, 401, 404, 407, 408, 415, 430, 480, 482, 486, 487, 500, 503, 600, 603]


@composite
def plays(draw: DrawFn) -> tuple[bool, list[list[str]], int, list[tuple[int, int]], float]:
    """A method, groups, a breadth, what happens (which branch, what; 0 a CANCEL) and patience."""
    sizes = draw(lists(integers(1, 4), min_size=1, max_size=4))
    names = iter(range(100))
    groups = [[f"sip:u@h{next(names)}.example" for _ in range(size)] for size in sizes]
    events = draw(lists(sampled_from([(0, 0), (0, 100), (1, 180), (0, 183)]), max_size=4))
    events += [
        (draw(integers(0, 9)), status)
        for status in draw(lists(sampled_from([*FINALS, 100, 180, -1]), max_size=20))
    ]
    order = draw(lists(integers(0, 50), min_size=len(events), max_size=len(events)))
    events = [event for _, event in sorted(zip(order, events, strict=True))]
    return (
        draw(booleans()),
        groups,
        draw(sampled_from([1, 2, 3, 60])),
        events,
        draw(sampled_from([0.0, 3.0])),
    )


def reference(statuses: list[int]) -> set[int]:
    """Return what may go back for these finals, the short way (§16.7 step 6)."""
    six = [status for status in statuses if status >= 600]
    if six:
        return set(six)
    lowest = min(status // 100 for status in statuses)
    chosen = {status for status in statuses if status // 100 == lowest}
    helpful = chosen & {401, 407} or chosen & {415, 420, 484}
    if helpful:
        return helpful
    if chosen == {503}:
        return {500}
    return {480 if status == 430 else status for status in chosen - {503}}


class RandomForkTests(SynchronousTestCase):
    """What holds for every fork (RFC 3261 §16.7; RFC 4320; RFC 5393)."""

    @given(plays())
    def test_invariants(
        self, play: tuple[bool, list[list[str]], int, list[tuple[int, int]], float]
    ) -> None:
        """One final answer, no branch forgotten, breadth kept, the best response chosen."""
        invite, groups, breadth, events, patience = play
        sent = request("INVITE" if invite else "MESSAGE", "sip:b@b", ("Max-Breadth", str(breadth)))
        owner = Owner(sent, groups, Policy(patience=patience))
        finals: list[int] = []
        cancelled = False
        now = 1.0

        def end(place: int, status: int) -> None:
            if not any(200 <= one < 300 for one in finals):
                finals.append(status)
            owner.answer(place, status, now=now)

        def pending() -> list[int]:
            return [at for at, one in enumerate(owner.started) if one.state != DONE]

        for which, status in events:
            now += 1.0
            waiting = pending()
            if not waiting:
                break
            if status == 0:
                cancelled = cancelled or (invite and not owner.fork.answered)
                owner.cancel(now)
            elif status == -1:
                now += 100.0  # two of these, and Timer C fires
                owner.wake(now)
            elif status < 200:
                owner.answer(waiting[which % len(waiting)], status, now=now)
            else:
                end(waiting[which % len(waiting)], status)
        for _ in range(1000):
            waiting = pending()
            if not waiting:
                break
            now += 1.0
            end(waiting[0], 487 if owner.started[waiting[0]] in owner.cancelled else 404)
        upstream_finals = [status for status in owner.statuses if status >= 200]
        succeeded = [status for status in finals if status < 300]

        self.assertTrue(owner.fork.finished)
        self.assertLessEqual(owner.most, breadth)
        self.assertTrue(all(branch.breadth > 0 for branch in owner.started))
        self.assertEqual(len(set(owner.uris)), len(owner.uris))
        self.assertEqual(len(set(owner.cancelled)), len(owner.cancelled))
        self.assertNotIn(100, owner.statuses)
        if not invite:
            self.assertEqual(owner.cancelled, [])
            self.assertEqual([status for status in owner.statuses if status < 200], [])
            self.assertNotIn(408, owner.statuses)
        if succeeded:
            self.assertEqual(upstream_finals[0], succeeded[0])
            if not invite:
                self.assertEqual(len(upstream_finals), 1)
        elif not invite and set(finals) == {408}:
            self.assertEqual(upstream_finals, [])
        elif not finals:
            self.assertEqual(upstream_finals, [487 if cancelled else 408])  # Timer C ended all
        else:
            heard = finals if invite else [status for status in finals if status != 408]
            self.assertEqual(len(upstream_finals), 1)
            self.assertIn(upstream_finals[0], reference(heard))
        if not succeeded and not cancelled and not any(status >= 600 for status in finals):
            self.assertEqual(len(owner.uris), sum(len(group) for group in groups))
        for response in owner.upstream:
            self.assertEqual([via.branch for via in response.vias], ["z9hG4bKcaller"])
        if upstream_finals:
            self.assertTrue(owner.fork.answered)

    @given(lists(sampled_from(FINALS), min_size=1, max_size=6))
    def test_success_leaves_nothing_pending(self, statuses: list[int]) -> None:
        """After the final answer each branch of an INVITE is answered or cancelled (step 10)."""
        owner = Owner(request(), [[f"sip:u@h{n}.example" for n in range(6)]])
        for place, status in enumerate(statuses):
            owner.answer(place, status)
        if any(status >= 600 or status < 300 for status in statuses):
            for branch in owner.started:
                self.assertTrue(branch.state == DONE or branch in owner.cancelled)
