"""omaim/bodies/list_pointer.py: RFC 4825 §6; RFC 4826 §3.1."""

from __future__ import annotations

from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.list_pointer import BadPointer, NotHere, Pointer, Step
from omaim.bodies.resource_lists import Entry, EntryRef, External, ResourceList, parse_lists
from omaim.errors import PeerError
from omaim.testing.strategies import mutated

ROOTS = ("http://xcap.example.com", "https://XCAP.example.com/deep/root")
INDEX = "resource-lists/users/sip:bill@example.com/index"
FRIENDS = f'{INDEX}/~~/resource-lists/list[@name="friends"]'
DOCUMENT = b"""<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">
 <list name="friends"><entry uri="sip:a@b"/><entry uri="sip:c/d@b"/>
  <list name="near"><entry uri="sip:e@b"/></list><list name="far"/>
  <entry-ref ref="resource-lists/global/index"/><external anchor="http://x/y"/></list>
 <list name='"quoted"'/>
</resource-lists>"""


def pointer(text: str) -> Pointer:
    return Pointer.parse(text, ROOTS)


class PointerTests(SynchronousTestCase):
    def test_parse(self) -> None:
        """The root goes, the rest names a document, and what of it is meant."""
        self.assertEqual(pointer(INDEX), Pointer(INDEX))
        for text in (
            FRIENDS,
            f"http://xcap.example.com/{FRIENDS}",
            f"HTTP://XCAP.EXAMPLE.COM/{quote(FRIENDS, safe='/~')}",
            f"https://xcap.example.com/deep/root/{FRIENDS}",
        ):
            steps = (Step("list", 0, "name", "friends"),)
            self.assertEqual(pointer(text), Pointer(INDEX, steps))
        self.assertEqual(pointer(INDEX).owner, "sip:bill@example.com")
        self.assertEqual(pointer("resource-lists/global/index").owner, "")
        prefixed = f"{INDEX}/~~/r:resource-lists/r:list%5b2%5d?xmlns(r={NAMESPACE})"
        self.assertEqual(pointer(prefixed).steps, (Step("list", 2),))

    def test_elsewhere(self) -> None:
        """What is on another server is told from what is wrong: it cannot be fetched yet."""
        for text in (
            "http://xcap.example.org/" + INDEX,
            "http://xcap.example.com.evil/" + INDEX,
            "https://xcap.example.com/" + INDEX,
            "http://xcap.example.com:8080/" + INDEX,
            "https://xcap.example.com/deep/rooted/" + INDEX,
            "urn:x",
        ):
            error = self.assertRaises(NotHere, pointer, text)
            self.assertEqual(error.status, 502)
            self.assertIn("cannot be fetched yet", error.why)

    def test_bad(self) -> None:
        """Nothing leads out of the tree of lists, and no selector is guessed at."""
        for text in (
            "resource-lists/users/sip:a@b",
            "resource-lists/users/sip:a@b/",
            "resource-lists/users/../index",
            "resource-lists/users/%2e%2e/index",
            "resource-lists/users/sip:a%2Fb/index",
            "resource-lists/other/index",
            "resource-lists/global/x//y",
            "http://xcap.example.com/pres-rules/users/sip:a@b/index",
            f"{INDEX}/~~/",
            f"{INDEX}/~~/list",
            f"{INDEX}/~~/resource-lists/",
            f"{INDEX}/~~/resource-lists/list[@name=friends]",
            f"{INDEX}/~~/resource-lists/*[2]",
            f"{INDEX}/~~/resource-lists/x:list",
            f"{INDEX}/~~/resource-lists/x:list?xmlns(x=urn:other)",
            f"{INDEX}/~~/resource-lists" + "/list" * 20,
            "http://[/" + INDEX,
            "x" * 3000,
        ):
            error = self.assertRaises(BadPointer, pointer, text)
            self.assertNotEqual(error.status, NotHere.status, text)

    def test_select(self) -> None:
        """A selector has to hit one element, at the place and with the attribute it says."""
        lists = parse_lists(DOCUMENT)
        self.assertEqual(pointer(INDEX).select(lists), lists)
        inside = f"{FRIENDS}/"
        for text, kind in (
            ("list[1]", ResourceList),
            ('list[@name="near"]', ResourceList),
            ("list[@name='near']/entry", Entry),
            ("list[1]/*", Entry),
            ('entry[@uri="sip:c/d@b"]', Entry),
            ('entry[2][@uri="sip:c/d@b"]', Entry),
            ("entry-ref", EntryRef),
            ('external[@anchor="http://x/y"]', External),
        ):
            (found,) = pointer(inside + text).select(lists)
            self.assertIsInstance(found, kind)
        (found,) = pointer(f"{INDEX}/~~/resource-lists/list[@name='\"quoted\"']").select(lists)
        self.assertEqual(found, lists[1])
        for text in ("entry", "list[3]", 'entry[1][@uri="sip:c/d@b"]', "entry[1]/entry", "other"):
            self.assertRaises(BadPointer, pointer(inside + text).select, lists)

    @given(text=mutated([FRIENDS.encode(), f"http://xcap.example.com/{FRIENDS}".encode()]))
    def test_junk(self, text: bytes) -> None:
        """Whatever stands there, it points into the tree of lists or is refused."""
        try:
            found = pointer(text.decode("utf-8", "replace"))
            found.select(parse_lists(DOCUMENT))
        except PeerError:
            return
        self.assertTrue(found.path.startswith(("resource-lists/users/", "resource-lists/global/")))
        self.assertNotIn("..", found.path.split("/"))

    @given(name=st.text(st.characters(codec="utf-8", exclude_characters="\"'"), min_size=1))
    def test_names(self, name: str) -> None:
        """Any name of a list is found again when it is written as RFC 4825 §6.3 says."""
        text = f"{INDEX}/~~/resource-lists/list{quote('[@name=')}%22{quote(name)}%22%5d"
        wanted = ResourceList((), name)
        self.assertEqual(pointer(text).select([ResourceList((), name + "x"), wanted]), (wanted,))


NAMESPACE = "urn:ietf:params:xml:ns:resource-lists"
