"""omaim/bodies/xml.py: what is refused before libxml2 sees it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.xml import (
    BadXml,
    Element,
    add,
    boolean,
    child,
    child_text,
    children,
    clean,
    local_name,
    namespace_of,
    new_root,
    parse_xml,
    text_of,
    whole,
    write_xml,
)
from omaim.errors import PeerError

NS = "urn:example:ns"
TOKENS = (
    "<a>|</a>|<a|/>|<!--|-->|<![CDATA[|]]>|<?x|?>|'|\"|&#0;|&x;|&lt;| b='|<!DOCTYPE a|[|]>|é|\0"
)

names = st.from_regex(r"[a-z][a-z0-9-]{0,6}", fullmatch=True)
texts = st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=12
).map(str.strip)


def trees() -> st.SearchStrategy[tuple[Any, ...]]:
    return st.recursive(
        st.tuples(names, texts, st.dictionaries(names, texts, max_size=2), st.just(())),
        lambda inner: st.tuples(
            names,
            texts,
            st.dictionaries(names, texts, max_size=2),
            st.lists(inner, max_size=3).map(tuple),
        ),
        max_leaves=8,
    )


def grow(parent: Element, tree: tuple[Any, ...]) -> None:
    name, text, attributes, inner = tree
    grown = add(parent, f"{{{NS}}}{name}", text, attributes.items())
    for branch in inner:
        grow(grown, branch)


def shape(element: Element) -> tuple[Any, ...]:
    return (
        local_name(element),
        text_of(element),
        dict(element.attrib),
        tuple(shape(inner) for inner in element),
    )


class ParseTests(SynchronousTestCase):
    def refused(self, data: bytes, **limits: int) -> str:
        return self.assertRaises(BadXml, parse_xml, data, **limits).why

    @given(tree=trees())
    def test_write_then_parse(self, tree: tuple[Any, ...]) -> None:
        """What is written is read back the same."""
        root = new_root(f"{{{NS}}}root", {None: NS})
        grow(root, tree)
        again = parse_xml(write_xml(root), f"{{{NS}}}root")
        self.assertEqual(shape(again[0]), tree)

    @given(data=st.binary(max_size=200))
    def test_junk(self, data: bytes) -> None:
        """Any bytes give a tree or a PeerError, nothing else."""
        try:
            parse_xml(data)
        except PeerError:
            pass

    @given(
        data=st.lists(
            st.sampled_from(TOKENS.split("|")),
            max_size=12,
        ).map("".join)
    )
    def test_measured_as_parsed(self, data: str) -> None:
        """What passes nests no deeper than the limit, by libxml2's own count."""
        try:
            root = parse_xml(f"<a>{data}</a>".encode(), depth=3)
        except PeerError:
            return
        for element in root.iter():
            self.assertLess(sum(1 for _ in element.iterancestors()), 3)

    def test_doctype(self) -> None:
        """A DOCTYPE is refused wherever it stands, entities or not."""
        for data in (
            b"<!DOCTYPE a><a/>",
            b'<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
            b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
            b"<!-- x --><!DOCTYPE a><a/>",
            "\ufeff<!DOCTYPE a><a/>".encode("utf-16-le"),
            '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'.encode("utf-16"),
        ):
            self.assertIn("DOCTYPE", self.refused(data))

    def test_undeclared_entity(self) -> None:
        """An entity that was never declared makes the document malformed."""
        self.refused(b"<a>&b;</a>")

    def test_hidden_encoding(self) -> None:
        """An encoding in which markup could hide from the count is refused."""
        for name in ("utf-7", "UTF-16", "ebcdic-cp-us", "utf-32"):
            declared = f'<?xml version="1.0" encoding="{name}"?><a/>'.encode()
            self.assertIn("encoded", self.refused(declared))
        self.refused("<a/>".encode("utf-32"))

    def test_encodings(self) -> None:
        """UTF-8, UTF-16 and ISO-8859-1 are read as what they say."""
        self.assertEqual(text_of(parse_xml("\ufeff<a>é</a>".encode())), "é")
        self.assertEqual(text_of(parse_xml("<a>é</a>".encode("utf-16"))), "é")
        latin = '<?xml version="1.0" encoding="ISO-8859-1" standalone="yes"?><a>é</a>'
        self.assertEqual(text_of(parse_xml(latin.encode("latin-1"))), "é")
        self.refused(b"<a>\xe9</a>")

    def test_limits(self) -> None:
        """Size, depth and the number of elements end at the limit, not one later."""
        three = b"<a><a><a/></a></a>"
        self.assertEqual(parse_xml(three, size=len(three), depth=3, elements=3).tag, "a")
        self.refused(three, size=len(three) - 1)
        self.refused(b"<a><a><a></a></a></a>", depth=2)
        self.refused(three, elements=2)
        self.assertEqual(self.assertRaises(BadXml, parse_xml, three, size=3).status, 413)
        self.refused(b"<a>" * 50_000)

    def test_tricks_of_counting(self) -> None:
        """Tags in comments, CDATA and attribute values do not count."""
        data = b"<a b='>' c=\"'/>\"><!-- <x><x><x> --><![CDATA[<x><x>]]><?p <x> ?></a>"
        root = parse_xml(data, depth=1, elements=1)
        self.assertEqual((root.get("c"), text_of(root)), ("'/>", "<x><x>"))

    def test_comments_are_gone(self) -> None:
        """Comments and processing instructions do not reach the reader."""
        root = parse_xml(b"<a>x<!-- c -->y<?p q?><b/></a>")
        self.assertEqual((text_of(root), [local_name(inner) for inner in root]), ("xy", ["b"]))

    def test_root(self) -> None:
        """Another root than the one asked for is refused."""
        self.assertRaises(BadXml, parse_xml, b"<a/>", "{urn:x}a")


class HelperTests(SynchronousTestCase):
    def test_reading(self) -> None:
        root = parse_xml(b"<a xmlns='urn:x'><b> 1 </b><b>2</b><c/></a>")
        self.assertEqual([text_of(one) for one in children(root, "{urn:x}b")], ["1", "2"])
        self.assertEqual(child_text(root, "{urn:x}b"), "1")
        self.assertEqual(child_text(root, "{urn:x}d", "none"), "none")
        self.assertIsNone(child(root, "b"))
        self.assertEqual((namespace_of(root), local_name(root)), ("urn:x", "a"))
        self.assertEqual(namespace_of(etree.Element("a")), "")

    def test_unwritable(self) -> None:
        """A control character from a peer's name cannot break our document."""
        root = new_root("{urn:x}a", {None: "urn:x"})
        add(root, "{urn:x}b", "x\x00\x1b\ufffey", [("c", "\x01z")])
        again = parse_xml(write_xml(root))
        self.assertEqual((text_of(again[0]), again[0].get("c")), ("xy", "z"))
        self.assertEqual(clean("\t\nå😀"), "\t\nå😀")

    def test_scalars(self) -> None:
        self.assertEqual([boolean(t) for t in (" true", "1", "false", "0 ")], [1, 1, 0, 0])
        self.assertRaises(BadXml, boolean, "TRUE")
        self.assertEqual(whole(" 042 "), 42)
        for bad in ("", "-1", "1.0", "²", "9" * 11):
            self.assertRaises(BadXml, whole, bad)
