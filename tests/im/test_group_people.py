"""Who gets a message to a group, and who may send one."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.common_policy import OTHER_IDENTITY, Other, Permission, Rule
from omaim.bodies.groups import GroupDocument, write_groups
from omaim.bodies.resource_lists import Entry
from omaim.im.group_documents import ACTIONS, read_groups
from omaim.im.group_people import NAMELESS, NESTED, NO_PAGER, TOO_MANY, Audience, audience
from omaim.im.groups import Group
from omaim.im.policy import Refusal
from omaim.im.room_rules import GUEST, MEMBER, NONE, NOT_A_MEMBER, Rights

ALICE, BOB, CAROL, DAVE = (f"sip:{one}@north.example" for one in ("alice", "bob", "carol", "dave"))
TEA, CAKE, JAM = (f"sip:room.{one}@north.example" for one in ("tea", "cake", "jam"))

SPELLINGS = {
    ALICE: ALICE,
    "sip:alice@NORTH.example:5060;transport=tcp": ALICE,
    BOB: BOB,
    "sip:%62ob@north.example": BOB,
    "im:bob@north.example": BOB,
    "sip:bob@north.example;x=1": BOB,
    CAROL: CAROL,
    "sip:carol@North.Example?Subject=x": CAROL,
    DAVE: DAVE,
    "tel:+1-555-0100": "tel:+15550100",
    "tel:+15550100": "tel:+15550100",
}


def group(
    uri: str, *members: str, everybody: bool = False, pager: bool = True, anonymous: bool = False
) -> Group:
    """Return a group that its members, and others if ``everybody``, may write to."""

    def rights(names: tuple[str, ...], hidden: bool) -> Rights:
        listed = not set(names).isdisjoint(members)
        given = MEMBER if listed else GUEST if everybody else NONE
        return Rights(join=given.join, anonymous=anonymous)

    return Group(uri, rights, members=members, pager=pager)


class AudienceTests(SynchronousTestCase):
    def asked(
        self, groups: list[Group], *names: str, hidden: bool = False, most: int = 100
    ) -> Deferred[Audience]:
        known = {one.uri: one for one in groups}

        async def find(uri: str) -> Group | None:
            return known.get(uri)

        return Deferred.fromCoroutine(audience(groups[0], names, hidden, find, most))

    def of(self, groups: list[Group], *names: str, **named: Any) -> Audience:
        """Return who gets what the first of these groups is sent."""
        reached: Audience = self.successResultOf(self.asked(groups, *names, **named))
        return reached

    def refused(self, groups: list[Group], *names: str, **named: Any) -> str:
        """Return why somebody may not."""
        why: str = self.failureResultOf(self.asked(groups, *names, **named), Refusal).value.why
        return why

    def test_plain(self) -> None:
        """All members but the sender, by whichever of his addresses he is one (spec 10 §3)."""
        tea = group(TEA, ALICE, BOB, "tel:+1", CAROL)
        self.assertEqual(self.of([tea], ALICE).people, {BOB: TEA, "tel:+1": TEA, CAROL: TEA})
        self.assertEqual(self.of([tea], ALICE, "tel:+1").people, {BOB: TEA, CAROL: TEA})

    def test_many_groups(self) -> None:
        """More groups inside than are looked into make the group too large: none of them is taken
        for a person, to whose address the message would go and be multiplied there."""
        inside = [f"sip:room.{number}@north.example" for number in range(NESTED)]
        groups = [group(one, f"sip:p{one[9:]}", everybody=True) for one in inside]
        large = group(TEA, ALICE, *inside)
        self.assertEqual(self.refused([large, *groups], ALICE), TOO_MANY)
        self.assertEqual(self.refused([large, *groups], DAVE), NOT_A_MEMBER)
        fits = group(TEA, ALICE, *inside[1:])
        self.assertEqual(len(self.of([fits, *groups], ALICE).people), NESTED - 1)

    def test_nested(self) -> None:
        """A member of a group inside gets it by that group, a direct one by the outer one."""
        tea, cake = group(TEA, ALICE, BOB, CAKE), group(CAKE, BOB, CAROL, everybody=True)
        self.assertEqual(self.of([tea, cake], ALICE).people, {BOB: TEA, CAROL: CAKE})

    def test_closed(self) -> None:
        """A group inside that lets neither the sender nor the outer group write gets nothing."""
        tea, cake = group(TEA, ALICE, CAKE), group(CAKE, CAROL)
        self.assertEqual(self.of([tea, cake], ALICE), Audience({}, (CAKE,)))
        tea, cake = group(TEA, ALICE, CAKE), group(CAKE, CAROL, TEA)
        self.assertEqual(self.of([tea, cake], ALICE), Audience({CAROL: CAKE}))
        tea, cake = group(TEA, ALICE, CAKE), group(CAKE, ALICE, CAROL)
        self.assertEqual(self.of([tea, cake], ALICE), Audience({CAROL: CAKE}))

    def test_member_by_a_group(self) -> None:
        """Who is a member of a group inside, however deep, may write to the outer one."""
        tea, cake, jam = group(TEA, CAKE, BOB), group(CAKE, TEA, JAM), group(JAM, CAKE, ALICE)
        self.assertEqual(self.of([tea, cake, jam], ALICE).people, {BOB: TEA})

    def test_strangers(self) -> None:
        """Who is no member may write where the rules let him join (spec 10 §12, 403 else)."""
        self.assertEqual(self.refused([group(TEA, BOB)], ALICE), NOT_A_MEMBER)
        self.assertEqual(self.of([group(TEA, BOB, everybody=True)], ALICE).people, {BOB: TEA})

    def test_names(self) -> None:
        """Without a name one may write only where anonymity is allowed (spec 10 §13)."""
        tea = group(TEA, ALICE, BOB)
        self.assertEqual(self.refused([tea], ALICE, hidden=True), NAMELESS)
        tea = group(TEA, ALICE, BOB, anonymous=True)
        self.assertEqual(self.of([tea], ALICE, hidden=True).people, {BOB: TEA})

    def test_pager_off(self) -> None:
        """A group without pager mode takes no messages, inside another one neither."""
        tea, cake = group(TEA, ALICE, CAKE), group(CAKE, TEA, BOB, pager=False)
        self.assertEqual(self.refused([cake], BOB), NO_PAGER)
        self.assertEqual(self.of([tea, cake], ALICE), Audience({}, (CAKE,)))

    def test_too_many(self) -> None:
        """More people than may be are refused, but a stranger does not learn that."""
        tea = group(TEA, ALICE, BOB, CAROL, DAVE)
        self.assertEqual(self.refused([tea], ALICE, most=2), TOO_MANY)
        self.assertEqual(self.refused([tea], "sip:x@y.example", most=2), NOT_A_MEMBER)
        self.assertEqual(len(self.of([tea], ALICE, most=3).people), 3)

    @given(st.data())
    def test_each_once(self, data: st.DataObject) -> None:
        """However members are spelled, and however groups contain one another, each member but
        the sender is reached once, and so is everybody in the groups inside (spec 10 §3)."""
        uris = [TEA, CAKE, JAM]
        spellings = [spelling for spelling in SPELLINGS if data.draw(st.booleans())]
        written = {
            uri: data.draw(st.lists(st.sampled_from([*spellings, *uris]), unique=True))
            for uri in uris
        }
        groups = [one for uri in uris for one in documented(uri, written[uri])]
        names = (ALICE, CAROL) if data.draw(st.booleans()) else (ALICE,)
        people = self.of(groups, *names).people
        meant = {uri: {SPELLINGS.get(one, one) for one in written[uri]} for uri in uris}
        reachable, todo = set(), [TEA]
        while todo:
            uri = todo.pop()
            if uri not in reachable:
                reachable.add(uri)
                todo += meant[uri].intersection(uris)
        wanted = {one for uri in reachable for one in meant[uri]}
        self.assertEqual(set(people), wanted - {*uris, *names})
        for one, by in people.items():
            self.assertIn(one, meant[by])


def documented(uri: str, members: list[str]) -> list[Group]:
    """Return a group that everybody may write to, as its document has it."""
    everybody = Rule("all", (Other(OTHER_IDENTITY),), (Permission(ACTIONS["join"], "true"),))
    entries = tuple(Entry(one) for one in members)
    document = GroupDocument(uri, members=entries, rules=(everybody,))
    return read_groups(write_groups([document]), lambda: 0.0)
