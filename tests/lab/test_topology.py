"""omaim/lab: plans, people, certificates and topology files."""

from __future__ import annotations

import datetime
import os
import shutil
import ssl
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import attrs
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.core.config import service_addresses, wildcards
from omaim.errors import Unavailable, UsageError
from omaim.lab import starting
from omaim.lab.certificates import Authority
from omaim.lab.entity import Config as LabConfig
from omaim.lab.entity import add_entities, contents_of
from omaim.lab.stage import places, subscribers, trace_files
from omaim.lab.starting import Folder, free_plan, taken
from omaim.lab.topology import Plan, lay_out, network, split, to_toml
from omaim.node.config import make_config, part_of, read_file
from omaim.node.entity import maker_of
from omaim.node.people import read_people

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)

values: Any = st.recursive(
    st.text(max_size=20) | st.integers(-(2**60), 2**60) | st.booleans(),
    lambda inner: (
        st.dictionaries(st.text(min_size=1, max_size=8), inner, max_size=4)
        | st.lists(st.text(max_size=30), max_size=4)
    ),
    max_leaves=12,
)


class TomlTests(SynchronousTestCase):
    @given(contents=st.dictionaries(st.text(min_size=1, max_size=8), values, max_size=5))
    def test_write_then_read(self, contents: dict[str, Any]) -> None:
        """What is written as TOML is read as it was, whatever the names and texts."""
        read = tomllib.loads(to_toml(contents))
        self.assertEqual(_without_empty(read), _without_empty(contents))


def _without_empty(value: Any) -> Any:
    """Leave out empty tables: those need not be written."""
    if not isinstance(value, dict):
        return value
    inner = {key: _without_empty(one) for key, one in value.items()}
    return {key: one for key, one in inner.items() if one != {}}


class PlanTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="omaim-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.plan = Plan(self.folder, "127.9", 15060, 15300)

    def test_laid_out(self) -> None:
        """Every entity's settings are those of its kind, and every file is there."""
        contents = lay_out(self.plan, NOW)
        self.assertEqual(
            list(contents["entities"]),
            [
                "dns",
                *("core-north", "im-north", "relay-north"),
                *("core-south", "im-south", "relay-south"),
            ],
        )
        for name, entity in contents["entities"].items():
            settings = {key: value for key, value in entity.items() if key != "kind"}
            make_config(maker_of(entity["kind"]).config(), settings, name)
            for key in ("certificate", "ca", "people"):
                if entity.get(key):
                    self.assertTrue(Path(entity[key]).exists())

    def test_people(self) -> None:
        """Three people in each domain, whom the cores understand."""
        contents = lay_out(self.plan, NOW)
        users = [
            user
            for home in self.plan.homes
            for user in read_people(str(self.folder / f"people-{home.short}.toml"), home.domain)
        ]
        self.assertEqual(len(users), 6)
        found = subscribers(contents, "here")
        self.assertEqual(sorted(found), ["alice", "bob", "carol", "xenia", "yusuf", "zoe"])
        self.assertEqual(found["zoe"].aor, "sip:zoe@south.example")
        self.assertEqual(found["zoe"].address, "127.9.2.12")
        self.assertNotIn("secret", repr(found["zoe"]))

    def test_private_files(self) -> None:
        """Keys and passwords are for the owner only."""
        lay_out(self.plan, NOW)
        for path in self.folder.glob("*"):
            if path.name != "ca.pem":
                self.assertEqual(path.stat().st_mode & 0o077, 0, path)

    def test_places(self) -> None:
        """The ladder learns from the file where the servers are."""
        found = places(network(self.plan))
        self.assertIn(("core-south", "core", "127.9.2.1", 15060), [_short(one) for one in found])
        self.assertIn(("im-north", "im", "127.9.1.2", 15061), [_short(one) for one in found])

    def test_peers(self) -> None:
        """Each core trusts the other domain, and not itself as if it were one."""
        entities = network(self.plan)["entities"]
        self.assertEqual(entities["core-north"]["peers"], ["south.example=127.9.2.1"])
        self.assertEqual(entities["core-south"]["peers"], ["north.example=127.9.1.1"])

    def test_msrp(self) -> None:
        """With a port for MSRP, the IM Servers listen there, over TLS one above, and ladders and
        whoever looks for free addresses know; their certificates name the hosts of their URIs
        (RFC 4975 §14.4)."""
        plan = attrs.evolve(self.plan, msrp_port=2855)
        contents = network(plan)
        found = contents["entities"]["im-north"]["msrp"]
        self.assertEqual(found, ["tcp:127.9.1.2:2855", "tls:127.9.1.2:2856"])
        there = [_short(one) for one in places(contents)]
        self.assertIn(("im-north", "im", "127.9.1.2", 2856), there)
        self.assertNotIn("msrp", contents["entities"]["core-north"])
        lay_out(self.plan, NOW)
        pem = (self.folder / "im-south.pem").read_bytes()
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertIn("im.south.example", names.get_values_for_type(x509.DNSName))
        addresses = names.get_values_for_type(x509.IPAddress)
        self.assertEqual([str(one) for one in addresses], ["127.9.2.2"])

    def test_services(self) -> None:
        """The core leads to its IM Server what is for rooms, conferences, lists and history."""
        psis = network(self.plan)["entities"]["core-south"]["psis"]
        addresses = service_addresses(tuple(psis))
        self.assertEqual(set(addresses.values()), {"sip:im.south.example:15060"})
        for name in ("exploder", "deferred-delete", "history", "history-delete", "conference"):
            self.assertIn(f"sip:{name}@south.example", addresses)
        starts = [start for start, _, _ in wildcards(addresses)]
        self.assertEqual(starts, ["sip:conf.", "sip:room."])

    def test_algorithms(self) -> None:
        """The cores offer the digest algorithms of the plan, if it names any."""
        old = attrs.evolve(self.plan, algorithms=("MD5",))
        for name, table in network(old)["entities"].items():
            wanted = ["MD5"] if table["kind"] == "core" else None
            self.assertEqual(table.get("algorithms"), wanted, name)
        self.assertNotIn("algorithms", network(self.plan)["entities"]["core-north"])

    def test_split(self) -> None:
        """The one file gives each process its settings and a state, trace and socket of its own."""
        split(self.plan, NOW)
        path = str(self.folder / "network.toml")
        contents = read_file(path)
        states = set()
        for name in contents["entities"]:
            part = part_of(contents, name, path)
            make_config(maker_of(part.kind).config(), part.settings, name)
            self.assertEqual(part.node.dns, ("127.9.0.10:15300",))
            states |= {part.node.state, part.node.trace, part.node.control}
        self.assertEqual(len(states), 21)
        self.assertEqual(len(trace_files(contents)), 7)
        script = (self.folder / "start.sh").read_text()
        for name in contents["entities"]:
            self.assertIn(f"start {name} ", script)

    def test_split_path(self) -> None:
        """A folder whose path is too long for sockets is refused before anybody starts."""
        plan = Plan(self.folder / ("x" * 100))
        self.assertIn("shorter", str(self.assertRaises(UsageError, split, plan, NOW)))

    def test_cannot_write(self) -> None:
        """A folder that cannot be had is named."""
        (self.folder / "file").touch()
        plan = Plan(self.folder / "file" / "x")
        self.assertIn("file", str(self.assertRaises(UsageError, lay_out, plan, NOW)))

    def test_lab_contents(self) -> None:
        """A lab reads the file it is given, or makes the default network."""
        split(self.plan, NOW)
        contents, plan = contents_of(LabConfig(topology=str(self.folder / "network.toml")), NOW)
        self.assertIsNone(plan)
        self.assertIn("core-north", contents["entities"])
        made, plan = contents_of(LabConfig(folder=str(self.folder), base="127.9", port=1), NOW)
        assert plan is not None
        self.assertEqual(list(made["entities"]), list(contents["entities"]))

    def test_wrong_topology(self) -> None:
        """A part without a kind, or of an unknown one, is named."""
        node: Any = None
        for entity, said in (({}, "no kind"), ({"kind": "nothing"}, "no entity of kind")):
            contents = {"entities": {"x": entity}}
            error = self.assertRaises(UsageError, add_entities, node, contents, "file")
            self.assertIn(said, str(error))
        nobody = {"entities": {"c": {"kind": "core", "listen": ["udp:127.0.0.1:1"]}}}
        self.assertIn("c", str(self.assertRaises(UsageError, subscribers, nobody, "file")))


def _short(place: Any) -> tuple[str, str, str, int]:
    return place.name, place.role, place.host, place.port


class CertificateTests(SynchronousTestCase):
    def test_issue(self) -> None:
        """A server's certificate names its SIP domain and is good in the eyes of the authority's
        friends (RFC 5922 §7.1)."""
        authority = Authority(NOW)
        pem = authority.issue(("north.example", "core.north.example"), "127.0.1.1")
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(
            names.get_values_for_type(x509.UniformResourceIdentifier)[0], "sip:north.example"
        )
        self.assertIn("core.north.example", names.get_values_for_type(x509.DNSName))
        certificate.verify_directly_issued_by(authority.certificate)
        path = self.mktemp()
        Path(path).write_bytes(pem)
        context = ssl.create_default_context(cadata=authority.pem().decode())
        context.load_cert_chain(path)


class StartingTests(SynchronousTestCase):
    def test_free_plan(self) -> None:
        """The usual addresses, others when those are in use, and what one asks for."""
        used = {"127.0"}
        self.patch(starting, "taken", lambda plan: "x" if plan.base in used else "")
        self.assertNotEqual(free_plan(Path("x")).base, "127.0")
        used.clear()
        self.assertEqual(free_plan(Path("x")).base, "127.0")
        self.assertEqual(free_plan(Path("x"), base="127.8").base, "127.8")
        self.patch(starting, "taken", lambda plan: "x")
        self.assertRaises(Unavailable, free_plan, Path("x"))

    def test_taken(self) -> None:
        """An address of which somebody makes use is found."""
        import socket

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.8.2.1", 0))
            port = other.getsockname()[1]
            self.assertEqual(taken(Plan(Path("x"), "127.8", port, port)), f"127.8.2.1:{port}")
        self.assertEqual(taken(Plan(Path("x"), "127.8", port, port)), "")
        with socket.socket() as other:
            other.bind(("127.8.2.2", 0))
            other.listen()
            msrp = other.getsockname()[1]
            plan = Plan(Path("x"), "127.8", port, port, msrp_port=msrp)
            self.assertEqual(taken(plan), f"127.8.2.2:{msrp}")

    def test_folder(self) -> None:
        """A folder that nobody named is gone at the end, one that was named stays."""
        with Folder() as made:
            self.assertTrue(made.path.is_dir())
        self.assertFalse(made.path.exists())
        named = os.path.abspath(self.mktemp())
        os.mkdir(named)
        with Folder(named) as kept:
            self.assertTrue(kept.kept)
        self.assertTrue(kept.path.is_dir())

    def test_runtime_folder(self) -> None:
        """Sockets are kept where nobody else can come; a folder open to others is refused."""
        above = os.path.abspath(self.mktemp())
        os.mkdir(above)
        self.patch(os, "environ", {"XDG_RUNTIME_DIR": above})
        found = starting.runtime_folder()
        self.assertEqual(found.stat().st_mode & 0o777, 0o700)
        self.assertTrue(starting.control_path("127.5").startswith(str(found)))
        found.chmod(0o755)
        self.assertRaises(Unavailable, starting.runtime_folder)
