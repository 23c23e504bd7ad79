"""omaim/node/config.py: settings from text and TOML, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import UsageError
from omaim.node.config import (
    Listen,
    NodeConfig,
    make_config,
    parse_listen,
    parse_place,
    part_of,
    read_file,
    reference,
    setting,
    settings_of,
)


@attrs.frozen
class Config:
    """One setting of each type."""

    text: str = setting("a", "some text")
    number: int = setting(1, "a number")
    share: float = setting(0.5, "a share")
    on: bool = setting(True, "a switch")
    names: tuple[str, ...] = setting(("x",), "some names")
    ports: tuple[int, ...] = setting((), "some numbers")
    maybe: int | None = setting(None, "a number or nothing")
    even: int = setting(
        2, "an even number", check=lambda value: "must be even" if value % 2 else ""
    )
    key: str = setting("", "a key", secret=True)
    inner: int = 7  # no setting


class MakeTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """Without any value the defaults hold."""
        self.assertEqual(make_config(Config, {}, "here"), Config())

    def test_text(self) -> None:
        """Text, as from a command line, becomes the type of the field; a dash is an underscore."""
        made = make_config(
            Config,
            {
                "text": "b",
                "number": "7",
                "share": "0.25",
                "on": "no",
                "names": "a, b,c",
                "ports": "1,2",
                "maybe": "3",
            },
            "here",
        )
        self.assertEqual(
            (made.text, made.number, made.share, made.on, made.names, made.ports, made.maybe),
            ("b", 7, 0.25, False, ("a", "b", "c"), (1, 2), 3),
        )

    def test_toml(self) -> None:
        """Values as TOML has them."""
        made = make_config(Config, {"on": False, "ports": [1, 2], "share": 1}, "here")
        self.assertEqual((made.on, made.ports, made.share), (False, (1, 2), 1.0))

    def test_wrong(self) -> None:
        """A wrong value is named with its place."""
        for key, value, said in (
            ("number", "seven", "a whole number"),
            ("number", True, "a whole number"),
            ("share", "x", "a number"),
            ("on", "perhaps", "yes or no"),
            ("text", 1, "text"),
            ("names", 5, "a list"),
            ("ports", ["x"], "a whole number"),
            ("even", 3, "must be even"),
        ):
            error = self.assertRaises(UsageError, make_config, Config, {key: value}, "file: part")
            self.assertIn(f"file: part: {key}", str(error))
            self.assertIn(said, str(error))

    def test_unknown(self) -> None:
        """An unknown name gets the nearest known one, or all; what is no setting is unknown."""
        error = self.assertRaises(UsageError, make_config, Config, {"nmber": 1}, "here")
        self.assertIn("did you mean number?", str(error))
        error = self.assertRaises(UsageError, make_config, Config, {"zzz": 1}, "here")
        self.assertIn("known: text, number", str(error))
        self.assertRaises(UsageError, make_config, Config, {"inner": 1}, "here")

    @given(number=st.integers(), names=st.lists(st.from_regex(r"[a-z0-9.:@]+", fullmatch=True)))
    def test_same_from_text_and_toml(self, number: int, names: list[str]) -> None:
        """A value means the same from a command line and from a file."""
        text = make_config(Config, {"number": str(number), "names": ",".join(names)}, "")
        toml = make_config(Config, {"number": number, "names": names}, "")
        self.assertEqual(text, toml)

    def test_secret(self) -> None:
        """A secret is not in the repr of its Config, nor on the reference page."""
        self.assertNotIn("hunter2", repr(make_config(Config, {"key": "hunter2"}, "")))
        page = reference(attrs.make_class("C", {"key": setting("hunter2", "a key", secret=True)}))
        self.assertIn("a key", page)
        self.assertNotIn("hunter2", page)

    def test_reference(self) -> None:
        """The page names every setting, its default and its meaning."""
        page = reference(Config)
        for field in settings_of(Config):
            self.assertIn(f"``{field.name}``", page)
        self.assertIn("(empty)", page)


class FileTests(SynchronousTestCase):
    def write(self, text: str) -> str:
        path = Path(self.mktemp())
        path.write_text(text)
        return str(path)

    def part(self, text: str, name: str = "core-north") -> Any:
        path = self.write(text)
        return part_of(read_file(path), name, path)

    def test_part(self) -> None:
        """A part has its kind, its settings and its node's, its own before the shared."""
        part = self.part(
            '[node]\nstate = "memory:"\nmetrics = "127.0.0.1:9"\nfeatures = ["wordfilter"]\n'
            '[features.wordfilter]\nwords = ["x"]\n'
            '[entities.core-north]\nkind = "core"\ndomain = "north.example"\n'
            '[entities.core-north.node]\nstate = "sqlite:///x.db"\n'
        )
        self.assertEqual((part.name, part.kind), ("core-north", "core"))
        self.assertEqual(dict(part.settings), {"domain": "north.example"})
        self.assertEqual(
            part.node,
            NodeConfig(
                name="core-north",
                state="sqlite:///x.db",
                metrics="127.0.0.1:9",
                features=("wordfilter",),
                feature_settings={"wordfilter": {"words": ["x"]}},
            ),
        )

    def test_no_part(self) -> None:
        """A missing part is answered with those there are; a part needs a kind."""
        error = self.assertRaises(UsageError, self.part, '[entities.b]\nkind = "im"\n')
        self.assertIn("there are: b", str(error))
        self.assertIn("there are: none", str(self.assertRaises(UsageError, self.part, "")))
        error = self.assertRaises(UsageError, self.part, '[entities.core-north]\nlisten = "x"\n')
        self.assertIn('kind = "core"', str(error))

    def test_unreadable(self) -> None:
        """A file that is missing or no TOML is one line that names it."""
        self.assertIn("/nowhere", str(self.assertRaises(UsageError, read_file, "/nowhere")))
        path = self.write("a = ")
        self.assertIn(f"{path} is not TOML", str(self.assertRaises(UsageError, read_file, path)))
        Path(path).write_bytes(b"\xff\xfe")
        self.assertRaises(UsageError, read_file, path)


class AddressTests(SynchronousTestCase):
    def test_listen(self) -> None:
        """Addresses of both families, in any case; they are written as they are read."""
        self.assertEqual(parse_listen("udp:127.0.0.1:5060"), Listen("UDP", "127.0.0.1", 5060))
        self.assertEqual(parse_listen("TLS:[::1]:5061"), Listen("TLS", "::1", 5061))
        for text in ("udp:127.0.0.1:5060", "tcp:[::1]:0"):
            self.assertEqual(str(parse_listen(text)), text)

    def test_not_listen(self) -> None:
        for text in (
            "",
            "udp",
            "sctp:1.2.3.4:5",
            "udp:host:5060",
            "udp:1.2.3.4:65536",
            "udp:::1:5",
        ):
            self.assertRaises(UsageError, parse_listen, text)

    def test_place(self) -> None:
        """HOST:PORT, with a port to stand in."""
        self.assertEqual(parse_place("1.2.3.4:53"), ("1.2.3.4", 53))
        self.assertEqual(parse_place("[::1]:53"), ("::1", 53))
        self.assertEqual(parse_place("1.2.3.4", 53), ("1.2.3.4", 53))
        for text in ("", "1.2.3.4", "1.2.3.4:x", "1.2.3.4:99999"):
            self.assertRaises(UsageError, parse_place, text)

    @given(text=st.text(max_size=30))
    def test_junk(self, text: str) -> None:
        """Junk is a UsageError, whatever it is."""
        for parse in (parse_listen, parse_place):
            try:
                parse(text)
            except UsageError:
                pass
