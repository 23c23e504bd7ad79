"""Digest authentication: known answers, and the decision of the server (RFC 7616, RFC 8760)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError, UsageError
from omaim.ids import Ids
from omaim.sip.answering import Answerer
from omaim.sip.digest import (
    ACCEPTED,
    ALGORITHMS,
    MAX_TEXT,
    MD5,
    REFUSED,
    REPLAYED,
    SHA_256,
    STALE,
    Credentials,
    Secret,
    authentication_info,
    challenges,
    compute,
    digest_of,
    encode,
    find_credentials,
    hash_a1,
    hash_username,
    parse_credentials,
    parse_parameters,
    quote,
    same_target,
    secret_of,
    verify,
)
from omaim.sip.nonces import Nonces

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "digest" / "digest.json").read_text("utf-8")
)
REALM = "example.com"
URI = "sip:example.com"
KEY = b"a key of the test, 32 octets lon"
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)


def credentials_of(vector: dict[str, Any]) -> Credentials:
    """Return the credentials that a vector describes, without the answer."""
    fields = ("username", "realm", "nonce", "uri", "nc", "cnonce", "qop", "algorithm")
    return Credentials({name: vector[name] for name in fields if name in vector})


def nonces(
    seed: int = 1, lifetime: float = 300.0, capacity: int = 1000, since: float = 0.0
) -> Nonces:
    return Nonces(KEY, Ids(seed), lifetime, capacity, since)


def login(
    server: Nonces,
    password: str = "secret",
    now: float = 1000.0,
    algorithms: tuple[str, ...] = ALGORITHMS,
    qop: str = "auth",
) -> tuple[Answerer, str]:
    """Return a client that took a challenge, and its first answer for a REGISTER."""
    client = Answerer("alice", password, Ids(2))
    offered = challenges(REALM, server, now, algorithms=algorithms, qop=qop)
    assert client.take("WWW-Authenticate", offered, 0)
    return client, client.answers("REGISTER", URI, b"")[0][1]


def judge(
    server: Nonces, answer: str, now: float = 1000.0, body: bytes = b"", realm: str = REALM
) -> int:
    """Return the verdict of a server that knows alice's password "secret"."""
    credentials = parse_credentials(answer)
    assert credentials is not None
    secret = secret_of("alice", REALM, "secret")
    ha1 = secret.ha1(credentials.algorithm)
    return verify(credentials, "REGISTER", body, ha1, server, realm, now)


class KnownAnswers(SynchronousTestCase):
    def test_each(self) -> None:
        """H(A1), response and rspauth are those of the vectors (RFC 7616 §3.4, §3.9)."""
        tried = 0
        for vector in VECTORS:
            algorithm = vector.get("algorithm", MD5).removesuffix("-sess")
            if algorithm not in ALGORITHMS:
                continue  # AKA: not a password scheme
            tried += 1
            with self.subTest(vector["name"]):
                self.known_answer(vector, algorithm)
        self.assertEqual(tried, len(VECTORS) - 4)

    def known_answer(self, vector: dict[str, Any], algorithm: str) -> None:
        expected = vector["expected"]
        body = bytes.fromhex(vector.get("body_hex", ""))
        credentials = credentials_of(vector)
        ha1 = hash_a1(algorithm, vector["username"], vector["realm"], encode(vector["password"]))
        if not credentials.session:
            self.assertEqual(ha1, expected["ha1"])
        answer = compute(credentials, ha1, vector["method"], body)
        self.assertEqual(answer, expected["response"])
        self.assertNotEqual(answer, vector.get("misprinted_in_rfc", {}).get("response"))
        self.assertEqual(compute(credentials, ha1, "", body), expected["rspauth"])
        self.assertIn(
            f'rspauth="{expected["rspauth"]}"', authentication_info(credentials, ha1, body)
        )
        if "username_hash" in expected:
            hashed = hash_username(algorithm, vector["username"], vector["realm"])
            self.assertEqual(hashed, expected["username_hash"])


class ParsingTests(SynchronousTestCase):
    def test_rfc_example(self) -> None:
        """The parameters of RFC 3261 §20.7's example are read."""
        found = parse_credentials(
            'Digest username="Alice", realm="atlanta.com",\r\n nonce="84a4cc6f3082121f32b42a21",'
            ' uri="sip:bob@biloxi.com", response="7587245234b3434cc3412213e5f113a5"'
        )
        assert found is not None
        self.assertEqual(found.username, "Alice")
        self.assertEqual(found.algorithm, MD5)
        self.assertEqual((found.qop, found.count), ("", 0))

    def test_other_scheme(self) -> None:
        """Basic is not accepted in SIP: it counts as no credentials (RFC 8760 §2.6)."""
        self.assertIsNone(parse_credentials("Basic YWxpY2U6c2VjcmV0"))

    def test_initial_ims(self) -> None:
        """Empty nonce and response only name the user; they are no syntax error (RFC 8760 §2.7)."""
        found = parse_credentials(
            'Digest username="a@home", realm="home", nonce="", uri="sip:home", response=""'
        )
        assert found is not None
        self.assertEqual((found.username, found.nonce, found.response), ("a@home", "", ""))
        self.assertEqual(judge(nonces(), 'Digest username="alice", response=""'), REFUSED)

    def test_escapes(self) -> None:
        """Quoting slashes are no part of the value (RFC 7616 §3.3)."""
        found = parse_parameters(r'a="x\"y\\z", b=t', 0)
        self.assertEqual(found, {"a": 'x"y\\z', "b": "t"})

    def test_extended_username(self) -> None:
        """username* carries what a quoted-string cannot; not both (RFC 7616 §3.4)."""
        found = parse_credentials("Digest username*=UTF-8''J%C3%A4s%C3%B8n%20Doe, realm=r")
        assert found is not None
        self.assertEqual(found.username, "Jäsøn Doe")
        for text in (
            "Digest username*=UTF-8''a, username=a",
            "Digest username*=UTF-8''%ff",
            "Digest username*=latin1''a",
            "Digest username*=plain",
        ):
            self.assertRaises(PeerError, parse_credentials, text)

    def test_malformed(self) -> None:
        """Broken parameters deserve a 400 (RFC 7616 §3.4)."""
        for text in (
            "Digest ",
            "Digest username",
            'Digest username="open',
            "Digest a=1 b=2",
            "Digest a=1, A=2",
            "Digest qop=auth, nc=00000001",
            'Digest qop=auth, cnonce="x", nc=1',
            'Digest qop=auth, cnonce="x", nc=0000_001',
            'Digest qop=auth, cnonce="x", nc=٠٠٠٠٠٠٠١',
            'Digest qop=other, cnonce="x", nc=00000001',
            "Digest algorithm=MD5-sess",
            "Digest realm=" + "x" * MAX_TEXT,
        ):
            error = self.assertRaises(PeerError, parse_credentials, text)
            self.assertEqual(error.status, 400)

    def test_find(self) -> None:
        """Of several credentials those of our realm count (RFC 3261 §22.3)."""
        texts = ["Basic x", 'Digest realm="a", username=x', 'Digest realm="b", username=y']
        found = find_credentials(texts, "b")
        assert found is not None
        self.assertEqual(found.username, "y")
        self.assertIsNone(find_credentials(texts, "c"))

    @given(st.text(max_size=200))
    def test_junk(self, text: str) -> None:
        """Junk raises PeerError only, also in verification."""
        for candidate in (
            text,
            'Digest username="' + text,
            "Digest algorithm=MD5, response=" + text,
        ):
            try:
                found = parse_credentials(candidate)
            except PeerError:
                continue
            if found is not None:
                self.assertNotEqual(
                    verify(found, "REGISTER", b"", "0" * 32, nonces(), REALM, 0.0), ACCEPTED
                )

    @given(st.dictionaries(st.sampled_from(["a", "b", "realm", "x-y"]), NAMES, min_size=1))
    def test_round_trip(self, values: dict[str, str]) -> None:
        """parse(write(x)) == x for any quoted values."""
        text = ", ".join(f"{name}={quote(value)}" for name, value in values.items())
        self.assertEqual(parse_parameters(text, 0), values)

    def test_quote_refuses_line_breaks(self) -> None:
        """No header line can be smuggled in through a name."""
        self.assertRaises(UsageError, quote, "alice\r\nX: y")


class VerifyTests(SynchronousTestCase):
    @given(
        password=NAMES,
        given_password=NAMES,
        name=NAMES,
        algorithm=st.sampled_from(ALGORITHMS),
        qop=st.sampled_from(["auth", "auth-int", "auth,auth-int"]),
        body=st.binary(max_size=40),
    )
    def test_right_password_only(
        self, password: str, given_password: str, name: str, algorithm: str, qop: str, body: bytes
    ) -> None:
        """Accepted if and only if the password is right (RFC 3261 §22.2)."""
        server = nonces()
        client = Answerer(name, given_password, Ids(5), integrity=True)
        offered = challenges(REALM, server, 0.0, algorithms=(algorithm,), qop=qop)
        self.assertTrue(client.take("Proxy-Authenticate", offered, 0))
        [(header, answer)] = client.answers("MESSAGE", URI, body)
        self.assertEqual(header, "Proxy-Authorization")
        found = parse_credentials(answer)
        assert found is not None
        self.assertEqual((found.username, found.algorithm), (name, algorithm))
        ha1 = secret_of(name, REALM, password).ha1(algorithm)
        verdict = verify(found, "MESSAGE", body, ha1, server, REALM, 0.0)
        self.assertEqual(verdict, ACCEPTED if password == given_password else REFUSED)

    def test_stale(self) -> None:
        """An old nonce with the right password is stale, with a wrong one refused (§22.1)."""
        server = nonces(lifetime=60.0)
        _, answer = login(server)
        self.assertEqual(judge(server, answer, 1061.0), STALE)
        _, wrong = login(server, password="guess")
        self.assertEqual(judge(server, wrong, 1061.0), REFUSED)
        self.assertEqual(judge(server, answer, 1060.0), ACCEPTED)

    def test_foreign_nonce(self) -> None:
        """A nonce of another key is stale: after a restart users need not type again."""
        _, answer = login(Nonces(KEY[::-1], Ids(1)))
        self.assertEqual(judge(nonces(), answer), STALE)

    def test_replay(self) -> None:
        """The same answer is accepted once; the next count again (RFC 7616 §3.4 nc)."""
        server = nonces()
        client, answer = login(server)
        self.assertEqual(judge(server, answer), ACCEPTED)
        self.assertEqual(judge(server, answer), REPLAYED)
        [(_, second)] = client.answers("REGISTER", URI, b"")
        self.assertEqual(judge(server, second), ACCEPTED)
        self.assertEqual(judge(server, answer), REPLAYED)

    def test_without_qop(self) -> None:
        """A client of RFC 2069 cannot count: its nonce works once (RFC 3261 §22.4)."""
        server = nonces()
        nonce = server.make(REALM, 1000.0)
        text = f'Digest username="alice", realm="{REALM}", nonce="{nonce}", uri="{URI}"'
        found = parse_credentials(text)
        assert found is not None
        ha1 = hash_a1(MD5, "alice", REALM, b"secret")
        text += f', response="{compute(found, ha1, "REGISTER", b"")}"'
        self.assertEqual(judge(server, text), ACCEPTED)
        self.assertEqual(judge(server, text), REPLAYED)

    def test_body_changed(self) -> None:
        """auth-int covers the body, auth does not (RFC 7616 §3.4.3)."""
        for qop, verdict in (("auth-int", REFUSED), ("auth", ACCEPTED)):
            server = nonces()
            _, answer = login(server, qop=qop)
            self.assertEqual(judge(server, answer, body=b"changed"), verdict)

    def test_unknown_user_and_realm(self) -> None:
        """No kept hash, another realm or algorithm never passes."""
        server = nonces()
        _, answer = login(server)
        found = parse_credentials(answer)
        assert found is not None
        self.assertEqual(verify(found, "REGISTER", b"", "", server, REALM, 1000.0), REFUSED)
        self.assertEqual(judge(server, answer, realm="other"), REFUSED)
        found.algorithm = "AKAV1-MD5"
        self.assertEqual(verify(found, "REGISTER", b"", "x", server, REALM, 1000.0), REFUSED)

    def test_empty_hash_is_no_password(self) -> None:
        """An answer computed over an empty hash does not pass for an unknown user."""
        server = nonces()
        nonce = server.make(REALM, 0.0)
        found = Credentials({"username": "x", "realm": REALM, "nonce": nonce, "uri": URI})
        found.response = compute(found, "", "REGISTER", b"")
        self.assertEqual(verify(found, "REGISTER", b"", "", server, REALM, 0.0), REFUSED)

    def test_session_algorithm(self) -> None:
        """The session variants verify against the same kept hash (RFC 7616 §3.4.2)."""
        server = nonces()
        client = Answerer("alice", "secret", Ids(2))
        offered = challenges(REALM, server, 0.0, algorithms=("SHA-256-sess",))
        self.assertTrue(client.take("WWW-Authenticate", offered, 0))
        for _ in range(2):
            [(_, answer)] = client.answers("REGISTER", URI, b"")
            self.assertIn("algorithm=SHA-256-sess", answer)
            self.assertEqual(judge(server, answer, 0.0), ACCEPTED)

    def test_target(self) -> None:
        """The URI of the credentials is compared as a URI (RFC 8760 §2.6 item 6)."""
        _, answer = login(nonces())
        found = parse_credentials(answer)
        assert found is not None
        for uri, same in (
            ("sip:example.com", True),
            ("sip:EXAMPLE.com", True),
            ("sip:other.com", False),
            ("junk", False),
        ):
            self.assertEqual(same_target(found, uri), same)

    def test_nothing_shown(self) -> None:
        """Neither hash nor password appears in any representation."""
        secret = secret_of("alice", REALM, "secret")
        client, answer = login(nonces())
        found = parse_credentials(answer)
        assert found is not None
        shown = f"{secret!r} {secret} {client!r} {client} {found!r} {found}"
        for hidden in (secret.md5, secret.sha_256, secret.sha_512_256, "secret", found.response):
            self.assertNotIn(hidden, shown.replace("Secret(", ""))
        self.assertEqual(Secret(md5="a").ha1(SHA_256), "")
        self.assertEqual(secret.ha1("other"), "")
        self.assertRaises(UsageError, digest_of, "other", b"")
