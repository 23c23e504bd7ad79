"""MSRP URIs: reading, writing, and which are equal."""

from __future__ import annotations

from hypothesis import given
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError
from omaim.msrp.uri import MsrpUri, parse_path, write_path
from omaim.testing.strategies import msrp_uris, texts


class UriTests(SynchronousTestCase):
    def test_parts(self) -> None:
        """Each part is found (RFC 4975 §6, §9)."""
        uri = MsrpUri.parse("msrps://alice@Host.example:8493/asfd34/x+y=;tcp;a;b=c")
        self.assertEqual(
            (uri.secure, uri.user, uri.host, uri.port, uri.session, uri.transport, uri.rest),
            (True, "alice", "Host.example", 8493, "asfd34/x+y=", "tcp", ";a;b=c"),
        )
        self.assertEqual(str(uri), "msrps://alice@Host.example:8493/asfd34/x+y=;tcp;a;b=c")
        uri = MsrpUri.parse("msrp://[2001:db8::1]:9;tcp")
        self.assertEqual(
            (uri.host, uri.bare_host, uri.session), ("[2001:db8::1]", "2001:db8::1", "")
        )

    def test_bad(self) -> None:
        """What is no MSRP URI raises PeerError."""
        for text in (
            "",
            "msrp://a.example:9/x",
            "msrp://:9/x;tcp",
            "sip://a.example:9/x;tcp",
            "msrp://a.example:0/x;tcp",
            "msrp://a.example:65536/x;tcp",
            "msrp://a.example:9/x y;tcp",
            "msrp://a.example:9/;tcp",
            "msrp://a.example:9/x;tcp\r\n",
            "msrp://a.example:9/" + "x" * 3000 + ";tcp",
        ):
            self.assertRaises(PeerError, MsrpUri.parse, text)

    def test_equal(self) -> None:
        """Scheme, host and transport in any case, the user and parameters not at all
        (RFC 4975 §6.1)."""
        uri = MsrpUri.parse("msrp://a.example:9/Session;tcp")
        for text in (
            "MSRP://A.Example:9/Session;TCP",
            "msrp://bob@a.example:9/Session;tcp",
            "msrp://a.example:9/Session;tcp;other=1",
            "msrp://a%2Eexampl%65:9/Session;tcp",
        ):
            self.assertEqual(MsrpUri.parse(text), uri, text)
            self.assertEqual(hash(MsrpUri.parse(text)), hash(uri), text)
        for text in (
            "msrps://a.example:9/Session;tcp",
            "msrp://a.example/Session;tcp",
            "msrp://a.example:10/Session;tcp",
            "msrp://a.example:9/session;tcp",
            "msrp://a.example:9;tcp",
            "msrp://a.example:9/Session;ws",
        ):
            self.assertNotEqual(MsrpUri.parse(text), uri, text)

    def test_addresses(self) -> None:
        """Addresses are compared as such (RFC 4975 §6.1 rule 2)."""
        one = MsrpUri.parse("msrp://[2001:DB8:0:0::1]:9/x;tcp")
        self.assertEqual(one, MsrpUri.parse("msrp://[2001:db8::1]:9/x;tcp"))

    def test_path(self) -> None:
        """A path keeps its order; too long a one is refused."""
        text = "msrp://a.example:9/x;tcp msrp://b.example:9/y;tcp"
        self.assertEqual(write_path(parse_path(text)), text)
        self.assertRaises(PeerError, parse_path, " ".join(["msrp://a.example:9/x;tcp"] * 17))
        self.assertRaises(PeerError, parse_path, "msrp://a.example:9/x;tcp  msrp://b:9/x;tcp")

    @given(msrp_uris())
    def test_write_and_read(self, uri: MsrpUri) -> None:
        """parse(str(x)) == x, and nothing is lost."""
        again = MsrpUri.parse(str(uri))
        self.assertEqual((again, str(again)), (uri, str(uri)))
        self.assertEqual((again.user, again.rest, again.session), (uri.user, uri.rest, uri.session))

    @given(texts(60))
    def test_junk(self, text: str) -> None:
        """Junk raises PeerError only."""
        try:
            MsrpUri.parse("msrp://" + text)
        except PeerError:
            pass
