"""How a client answers challenges (RFC 3261 §22, RFC 8760 §2.4, RFC 7616 §3.4 to §3.6)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError
from omaim.ids import Ids
from omaim.sip.answering import Answerer, is_stale, parse_challenge
from omaim.sip.digest import (
    ACCEPTED,
    ALGORITHMS,
    MD5,
    SHA_256,
    SHA_512_256,
    authentication_info,
    challenges,
    digest_of,
    parse_credentials,
    secret_of,
)
from omaim.sip.message import Request
from tests.sip.test_digest import REALM, URI, judge, login, nonces


class AnswererTests(SynchronousTestCase):
    def test_strongest(self) -> None:
        """The strongest algorithm is taken, wherever it stands (RFC 8760 §2.4 local policy)."""
        server = nonces()
        client = Answerer("alice", "secret", Ids(2))
        offered = challenges(REALM, server, 0.0, algorithms=(MD5, SHA_256, SHA_512_256))
        client.take("WWW-Authenticate", offered, 0)
        [(_, answer)] = client.answers("REGISTER", URI, b"")
        self.assertIn("algorithm=SHA-512-256,", answer)
        picky = Answerer("alice", "secret", Ids(2), algorithms=(SHA_256,))
        self.assertFalse(picky.take("WWW-Authenticate", offered[:1], 0))
        self.assertEqual(picky.answers("REGISTER", URI, b""), [])

    def test_ignored(self) -> None:
        """Challenges not understood are ignored, one broken does not hide a good one (§2.4)."""
        server = nonces()
        good = challenges(REALM, server, 0.0, algorithms=(MD5,))
        client = Answerer("alice", "secret", Ids(2))
        junk = [
            'Basic realm="x"',
            "Digest nonsense",
            'Digest realm="x"',
            'Digest realm="x", nonce="n", algorithm=NEW',
            'Digest realm="x", nonce="n", qop="other"',
            'Digest realm="x", nonce="n", algorithm=MD5-sess',
        ]
        self.assertFalse(client.take("WWW-Authenticate", junk, 0))
        self.assertTrue(client.take("WWW-Authenticate", [*junk, *good], 0))

    def test_wrong_password_ends(self) -> None:
        """A second challenge that is not stale means a wrong password: no retry (§22.1)."""
        server = nonces()
        client, _ = login(server, password="guess")
        self.assertFalse(client.take("WWW-Authenticate", challenges(REALM, server, 0.0), 1))

    def test_stale(self) -> None:
        """A stale nonce says that the password is right, however often it is said: the number
        of tries ends it, nothing else (RFC 7616 §3.3)."""
        server = nonces()
        client, _ = login(server)
        for tries in range(1, 6):
            stale = challenges(REALM, server, 2000.0 + tries, stale=True)
            self.assertEqual(client.take("WWW-Authenticate", stale, tries), tries < 4)
            [(_, answer)] = client.answers("REGISTER", URI, b"")
            if tries < 4:
                self.assertIn("nc=00000001", answer)
                self.assertEqual(judge(server, answer, 2000.0 + tries), ACCEPTED)

    def test_stale_side_by_side(self) -> None:
        """Requests that are challenged beside each other, as after a restart of the server, do
        not make each other's stale nonces count (RFC 3261 §22.1)."""
        server = nonces()
        client, _ = login(server)
        for now, tries in ((2000.0, 0), (2001.0, 0), (2002.0, 1), (2003.0, 1)):
            stale = challenges(REALM, server, now, stale=True)
            self.assertTrue(client.take("WWW-Authenticate", stale, tries))
            client.answers("MESSAGE", URI, b"")

    def test_is_stale(self) -> None:
        """What a 401 or 407 says of the nonce is told apart from a wrong password."""
        server = nonces()
        request = Request.make("MESSAGE", URI, [])
        for status, header in ((401, "WWW-Authenticate"), (407, "Proxy-Authenticate")):
            for stale in (False, True):
                response = request.response(status)
                response.add(header, "Digest nonsense")
                for line in challenges(REALM, server, 0.0, stale=stale):
                    response.add(header, line)
                self.assertEqual(is_stale(response), stale)
        self.assertFalse(is_stale(request.response(486)))

    def test_patience_ends(self) -> None:
        """However many new realms challenge one request, it is given up at last."""
        server = nonces()
        client = Answerer("alice", "secret", Ids(2))
        for tries in range(6):
            offered = challenges(f"r{tries}", server, 0.0)
            self.assertEqual(client.take("Proxy-Authenticate", offered, tries), tries < 4)

    def test_counts(self) -> None:
        """The nonce is kept for later requests and each use counted (RFC 7616 §3.6)."""
        client, first = login(nonces())
        self.assertIn("nc=00000001", first)
        [(_, second)] = client.answers("MESSAGE", URI, b"hi")
        self.assertIn("nc=00000002", second)

    def test_two_challengers(self) -> None:
        """A proxy and a registrar in one path are both answered (RFC 3261 §22.3)."""
        server = nonces()
        client = Answerer("alice", "secret", Ids(2))
        self.assertTrue(client.take("Proxy-Authenticate", challenges("p", server, 0.0), 0))
        self.assertTrue(client.take("WWW-Authenticate", challenges("w", server, 0.0), 1))
        headers = [name for name, _ in client.answers("REGISTER", URI, b"")]
        self.assertEqual(headers, ["Proxy-Authorization", "Authorization"])

    def test_realms_are_bounded(self) -> None:
        """A hostile server cannot make us collect realms without end."""
        server = nonces()
        client = Answerer("alice", "secret", Ids(2))
        for number in range(50):
            client.take("WWW-Authenticate", challenges(f"r{number}", server, 0.0), 0)
        self.assertLessEqual(len(client.answers("REGISTER", URI, b"")), 8)

    def test_userhash(self) -> None:
        """The name is hashed when the server wants that (RFC 7616 §3.4.4)."""
        server = nonces()
        client = Answerer("alice", "secret", Ids(2))
        offered = challenges(REALM, server, 0.0, algorithms=(SHA_256,), userhash=True)
        client.take("WWW-Authenticate", offered, 0)
        [(_, answer)] = client.answers("REGISTER", URI, b"")
        found = parse_credentials(answer)
        assert found is not None
        self.assertTrue(found.userhash)
        self.assertEqual(found.username, digest_of(SHA_256, b"alice:example.com"))
        self.assertEqual(judge(server, answer, 0.0), ACCEPTED)

    def test_opaque_returned(self) -> None:
        """opaque goes back unchanged (RFC 7616 §3.3)."""
        client = Answerer("alice", "secret", Ids(2))
        client.take("WWW-Authenticate", ['Digest realm="r", nonce="n", opaque="a\\"b"'], 0)
        [(_, answer)] = client.answers("REGISTER", URI, b"")
        self.assertTrue(answer.endswith('opaque="a\\"b"'))
        self.assertNotIn("qop", answer)

    def test_mutual(self) -> None:
        """Only a server with the secret can write Authentication-Info (RFC 7616 §3.5)."""
        for algorithm in (*ALGORITHMS, "MD5-sess"):
            server = nonces()
            client, answer = login(server, algorithms=(algorithm,), qop="auth-int")
            found = parse_credentials(answer)
            assert found is not None
            ha1 = secret_of("alice", REALM, "secret").ha1(found.algorithm)
            following = server.make(REALM, 1000.0)
            info = authentication_info(found, ha1, b"body", following)
            self.assertFalse(client.confirm(answer, info, b"other"))
            self.assertFalse(
                client.confirm(answer, info.replace("nc=00000001", "nc=00000002"), b"body")
            )
            self.assertFalse(client.confirm(answer, f'nextnonce="{following}"', b"body"))
            self.assertFalse(client.confirm(answer, "rspauth=é", b"body"))
            self.assertTrue(client.confirm(answer, info, b"body"))
            [(_, second)] = client.answers("REGISTER", URI, b"")
            if "-sess" not in algorithm:
                self.assertIn(following, second)
                self.assertIn("nc=00000001", second)
            self.assertEqual(judge(server, second), ACCEPTED)
            self.assertRaises(PeerError, client.confirm, answer, "junk", b"")

    @given(st.text(max_size=120))
    def test_junk_challenge(self, text: str) -> None:
        """A junk challenge raises PeerError only."""
        for candidate in (text, "Digest " + text, 'Digest realm="r", nonce="n", ' + text):
            try:
                parse_challenge(candidate)
            except PeerError:
                pass
