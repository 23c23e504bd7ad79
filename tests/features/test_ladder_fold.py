"""omaim/features/ladder_fold.py: a file is one line."""

from hypothesis import given
from hypothesis import strategies as st
from lxml import html
from twisted.trial.unittest import SynchronousTestCase

from omaim.features.ladder import Ladder, climb
from omaim.features.ladder_fold import FEW, fold
from omaim.features.ladder_svg import draw_html, draw_svg
from omaim.features.ladder_text import draw_text
from omaim.net.wire import WireRecord
from tests.features import ladders
from tests.features.sessions import (
    answer,
    both,
    chunks,
    directory,
    invite,
    out,
    request,
    sdp,
    send,
)

ALICE_PATH = "msrp://10.0.1.10:49152/alice1;tcp"
CHAT = "msrp://10.0.1.10:49152/chat;tcp"
SELECTOR = 'a=file-selector:name:"cat.jpg" size:1258291 type:image/jpeg'


def transfer(count: int, size: int = 1_258_291, refused: int = -1) -> Ladder:
    """A file in chunks, each answered, and somebody who speaks meanwhile."""
    seen: list[WireRecord] = [
        out(0.0, "alice", "core-north", invite(sdp(ALICE_PATH, SELECTOR)), "SIP")
    ]
    for number, chunk in enumerate(chunks(b"x" * size, count)):
        at = 1 + number * 0.01
        said = "413 Stop" if number == refused else "200 OK"
        seen += both(at, "alice", "im-north", chunk)
        seen += both(at + 0.005, "im-north", "alice", answer(f"chunk{number}", said))
    chat = send(tid="other", message="other", by="msrp://10.0.1.2:2855/chat;tcp", to=CHAT)
    seen += both(1.002, "im-north", "alice", chat)
    return climb(seen, directory())


class FoldTests(SynchronousTestCase):
    def words(self, ladder: Ladder) -> list[str]:
        return [str(step.summary) for step in ladder.steps]

    def test_file(self) -> None:
        """37 chunks and their answers are two lines; others stay where they were."""
        ladder = transfer(37)
        self.assertEqual(len(ladder.steps), 1 + 37 * 2 + 1)
        self.assertEqual(
            self.words(fold(ladder)),
            [
                "INVITE alice→room.cafe MSRP file “cat.jpg” 1.3 MB",
                "SEND cat.jpg 1-1258291 (37 chunks, 1.3 MB)",
                "SEND “Hello”",
                "200 OK (SEND) ×37",
            ],
        )

    def test_few(self) -> None:
        """A message of a few chunks keeps its lines."""
        ladder = transfer(FEW)
        self.assertEqual(fold(ladder), ladder)

    def test_refused(self) -> None:
        """A chunk that was refused shows; so does how far the file came."""
        ladder = transfer(9, 900, refused=5)
        told = self.words(fold(ladder))
        self.assertIn("413 Stop (SEND)", told)
        self.assertIn("200 OK (SEND) ×8", told)
        steps = ladder.steps[: 1 + 1 + 5 * 2]
        told = self.words(fold(Ladder(ladder.parties, steps)))
        self.assertIn("SEND cat.jpg 1-500/900 (5 chunks, 500 B)", told)

    def test_reports(self) -> None:
        """Reports on parts of a message are one line for each status."""
        seen = []
        for number in range(8):
            status = "408" if number > 3 else "200"
            extent = f"Byte-Range: {number * 10 + 1}-{number * 10 + 10}/80\r\n"
            headers = f"Message-ID: 1\r\n{extent}Status: 000 {status} X\r\n"
            seen += both(number, "im-north", "alice", request("REPORT", headers, f"rep{number}"))
        told = self.words(fold(climb(seen, directory())))
        self.assertEqual(told, ["REPORT 200 ×4", "REPORT 408 ×4"])

    def test_without_beginning(self) -> None:
        """The rest of a file whose beginning nobody saw is one line."""
        seen = [out(number, "alice", "im-north", b"x" * 5000) for number in range(5)]
        (told,) = self.words(fold(climb(seen, directory())))
        self.assertEqual(told, "… 5 pieces, 25.0 kB")

    def test_lost(self) -> None:
        """What was lost keeps its line."""
        seen = [
            record for one in chunks(b"x" * 90, 9) for record in both(1.0, "alice", "im-north", one)
        ]
        told = fold(climb(seen[:-1], directory()))
        self.assertEqual([step.lost for step in told.steps], [False, True])

    def test_drawn(self) -> None:
        """The text, the picture and the page are folded; the page lists what a line stands for."""
        ladder = transfer(37)
        self.assertEqual(draw_text(ladder).count("SEND cat.jpg"), 1)
        self.assertIn("(37 chunks, 1.3 MB)", draw_svg(ladder))
        page = html.fromstring(draw_html(ladder))
        section = page.get_element_by_id("m1").text_content()
        self.assertTrue("1.010 SEND cat.jpg 34008-68014/1258291" in section, section[:300])
        self.assertTrue("MSRP over TCP, 1265862 octets" in section, section[:300])

    @given(seen=st.lists(ladders.records, max_size=12))
    def test_anything(self, seen: list[WireRecord]) -> None:
        """No message is lost by folding, and folding twice changes nothing."""
        ladder = climb(seen, ladders.directory())
        once = fold(ladder)
        told = [one for step in once.steps for one in step.folded or (step,)]
        self.assertCountEqual(told, ladder.steps)
        self.assertEqual(fold(once), once)


class LongTests(SynchronousTestCase):
    def test_names_again(self) -> None:
        """In a long ladder the names stand there again, so that nobody has to scroll for them."""
        seen = []
        for number in range(120):
            seen += both(
                number, "alice", "im-north", send(tid=f"tid{number}", message=f"m{number}")
            )
        ladder = climb(seen, directory())
        lines = draw_text(ladder).splitlines()
        self.assertEqual(sum("alice" in line for line in lines), 3)
        self.assertEqual(sum("SEND" in line for line in lines), 120)
        self.assertEqual(draw_svg(ladder).count('class="again"'), 3 * 2)
