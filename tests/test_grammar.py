"""omaim.grammar: tokens, quoted strings, lists, parameters, hosts."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim import grammar
from omaim.errors import PeerError
from omaim.grammar import NO_PARAMS, Params, parse_params
from omaim.testing import strategies


class WordTests(SynchronousTestCase):
    def test_tokens(self) -> None:
        """Tokens are of ASCII letters, digits and some marks (RFC 3261 §25.1)."""
        for text in ("a", "z9hG4bK-.!%*_+`'~", "0"):
            self.assertTrue(grammar.is_token(text), text)
        for text in ("", "a b", "a;b", "é", "a\n", "\u212a", '"a"', "a=b", "²"):
            self.assertFalse(grammar.is_token(text), text)

    def test_numbers(self) -> None:
        """Only ASCII digits count, and no more than the largest (RFC 4475 §3.1.2.4)."""
        self.assertEqual(grammar.number("0068"), 68)
        self.assertEqual(grammar.number("4294967295"), 4294967295)
        for text in ("", "-1", "+1", "1 ", "4294967296", "²", "٣", "1_0", "9" * 5000):
            self.assertRaises(PeerError, grammar.number, text)

    def test_clamped(self) -> None:
        """Too many seconds are as many as can be kept (RFC 3261 §25.1 delta-seconds)."""
        self.assertEqual(grammar.clamped("0" * 80 + "5"), 5)
        self.assertEqual(grammar.clamped("1" + "0" * 5000), grammar.MAX_NUMBER)
        self.assertEqual(grammar.clamped("4294967295"), 4294967295)
        self.assertEqual(grammar.clamped("4294967296"), 4294967295)
        self.assertRaises(PeerError, grammar.clamped, "-5")
        self.assertRaises(PeerError, grammar.clamped, "")

    @given(text=strategies.texts())
    def test_quoting(self, text: str) -> None:
        """What is quoted is read back, and ends where it ends (RFC 3261 §25.1)."""
        quoted = grammar.quote(text)
        self.assertEqual(grammar.unquote(quoted), text)
        self.assertEqual(grammar.end_of_quoted(quoted + '"x', 0), len(quoted))

    def test_quote_line_ends(self) -> None:
        """A line end cannot be smuggled into a header inside quotes."""
        self.assertEqual(grammar.quote("a\r\nVia: x"), '"a  Via: x"')

    def test_unfold(self) -> None:
        """A fold is one space (RFC 3261 §7.3.1)."""
        self.assertEqual(grammar.unfold("a \r\n \t b\r\n c"), "a b c")


class ListTests(SynchronousTestCase):
    def test_split(self) -> None:
        """Commas in quotes and angle brackets do not split (RFC 3261 §7.3.1)."""
        text = '"a,\\"b" <sip:a,b@c;x=1>;p="q,r" , <sip:d> ,e'
        self.assertEqual(
            grammar.split_header_list(text), ['"a,\\"b" <sip:a,b@c;x=1>;p="q,r"', "<sip:d>", "e"]
        )
        self.assertEqual(grammar.split_header_list("  "), [])
        for bad in ("a,,b", ",", '"a,b', "<a,b", "a,", 'a,"b\\"'):
            self.assertRaises(PeerError, grammar.split_header_list, bad)

    @given(values=st.lists(strategies.name_addrs().map(str), min_size=1, max_size=4))
    def test_joined(self, values: list[str]) -> None:
        """What is joined by commas is split again."""
        self.assertEqual(grammar.split_header_list(", ".join(values)), values)


class ParamsTests(SynchronousTestCase):
    @given(params=strategies.params(["tag", "expires"]))
    def test_law(self, params: Params) -> None:
        """Parameters are read back as written."""
        self.assertEqual(parse_params(str(params)), params)

    def test_spaces(self) -> None:
        """White space around ";" and "=" means nothing, names have no case (RFC 3261 §7.3.1)."""
        params = parse_params(' ;  TAG \t=  a ; b;c = "x;\\"=" ')
        self.assertEqual(params.names, ["tag", "b", "c"])
        self.assertEqual(params.raw, ["a", None, '"x;\\"="'])
        self.assertEqual(params.get("c"), 'x;"=')
        self.assertIsNone(params.get("b"))
        self.assertTrue(params.has("b"))
        self.assertFalse(params.has("d"))

    def test_refused(self) -> None:
        """Empty, doubled and unnamed parameters are errors (RFC 4475 §3.1.2.1)."""
        bad = (";", ";;", ";a;", ";a;A", ";=b", ";a=", ";a b", "a", ';a="b', ';a="b"c', ";a=b c",
               ";a,b", ";a=<b", ";a=b;a=c", ";é=1", ";a=é")  # fmt: skip
        for text in bad:
            self.assertRaises(PeerError, parse_params, text)

    def test_changed(self) -> None:
        """Changes make another value and leave the old one alone."""
        params = parse_params(";a=1;b")
        self.assertEqual(str(params.with_("a", "2").with_("c", None)), ";a=2;b;c")
        self.assertEqual(str(params.without("a").without("z")), ";b")
        self.assertEqual(str(params), ";a=1;b")
        self.assertEqual(params.items(), [("a", "1"), ("b", None)])
        self.assertEqual((len(params), len(NO_PARAMS)), (2, 0))

    def test_comma_list(self) -> None:
        """Digest headers cut by comma (RFC 3261 §25.1 digest-cln)."""
        params = grammar.parse_param_list('realm="a,b", nonce="c" , stale=TRUE')
        self.assertEqual([params.get(name) for name in params.names], ["a,b", "c", "TRUE"])
        self.assertRaises(PeerError, grammar.parse_param_list, 'realm="a",,nonce="c"')

    @given(
        st.dictionaries(
            st.from_regex("[a-z][a-z0-9-]{0,7}", fullmatch=True),
            st.from_regex(r'[A-Za-z0-9=/+:.-]{1,9}|"[^"\\\r\n]{0,9}"', fullmatch=True),
            min_size=1,
            max_size=9,
        ),
        st.sampled_from([",", ", ", " ,\t"]),
        st.sampled_from(["=", " = "]),
    )
    def test_pairs(self, pairs: dict[str, str], comma: str, equals: str) -> None:
        """However a list is spaced, its values come out as written, quotes and all."""
        text = comma.join(name.upper() + equals + value for name, value in pairs.items())
        params = grammar.parse_param_list(text)
        self.assertEqual(params, Params(list(pairs), list(pairs.values())))
        self.assertRaises(PeerError, grammar.parse_param_list, text + comma)
        self.assertRaises(PeerError, grammar.parse_param_list, text + comma + text)


class HostTests(SynchronousTestCase):
    @given(host=strategies.hosts(), port=strategies.ports())
    def test_law(self, host: str, port: int) -> None:
        """A host and port are read back as written."""
        text = f"{host}:{port}" if port else host
        self.assertEqual(grammar.parse_host_port(text), (host, port))

    def test_refused(self) -> None:
        """What is neither name nor address is refused (RFC 3261 §25.1; RFC 5118 §4.2)."""
        bad = ("", "2001:db8::10", "[", "[]x", "[1:2]", "[::1::]", "[12345::]", "[::1.2.3]",
               "[::1.2.3.256]", "[1:2:3:4:5:6:7:8:9]", "[1:2:3:4:5:6:7::8]", "a..b", ".a", "-a",
               "256.1.1.1", "1.2.3", "1.2.3.4.5", "é.example", "a b", "a/b", "x" * 256, "[::g]",
               "[:1:2:3:4:5:6:7]")  # fmt: skip
        for text in bad:
            self.assertRaises(PeerError, grammar.parse_host, text)
        for text in ("a:", "a:0", "a:65536", "a:-1", "[::1]:", ":5060", "a:b"):
            self.assertRaises(PeerError, grammar.parse_host_port, text)

    def test_ipv6(self) -> None:
        """Two spellings of an IPv6 address are the same host (RFC 4291 §2.2)."""
        self.assertTrue(grammar.same_host("[2001:db8::1]", "[2001:db8:0:0::0:1]"))
        self.assertTrue(grammar.same_host("[::ffff:192.0.2.1]", "[::ffff:c000:201]"))
        self.assertFalse(grammar.same_host("[::1]", "[::2]"))
        self.assertFalse(grammar.same_host("[::1]", "localhost"))
        self.assertEqual(grammar.ipv6_groups("::"), [0] * 8)
        self.assertEqual(grammar.parse_host("[2001:DB8:::1]"), "[2001:db8::1]")
