"""Files between two clients: pushed, pulled, refused, given up, cut and gone on with."""

from __future__ import annotations

import hashlib
from pathlib import Path

from twisted.internet.defer import Deferred

from omaim.client.download import Download
from omaim.client.failures import Declined, NotAcceptable, NotFound
from omaim.client.file_offer import FileOffer
from omaim.client.transfer import DONE, FAILED, TransferFailed
from omaim.client.upload import Upload
from omaim.errors import UsageError
from omaim.roles.negotiation import description_of
from omaim.testing.network import Link
from tests.client.support import ALICE, BOB, PairTests

DATA = bytes(range(256)) * 12_000  # about 3 MB


class FileTests(PairTests):
    """A test with a file of alice's, and a folder of bob's."""

    def setUp(self) -> None:
        super().setUp()
        self.path = self.file("report.pdf", DATA)
        self.folder = Path(self.mktemp())
        self.offers: list[FileOffer] = []
        self.bob.on_file(self.offers.append)

    def file(self, name: str, data: bytes) -> Path:
        """Return a new file of alice's."""
        folder = Path(self.mktemp())
        folder.mkdir()
        path = folder / name
        path.write_bytes(data)
        return path

    def slow(self) -> None:
        """Let the network carry one window in each 0.15 seconds."""
        self.network.between("10.0.0.21", "10.0.0.22", Link(delay=0.15))

    def push(self) -> tuple[Upload, Download]:
        """Have alice send her file, and bob take it."""
        sending = Deferred.fromCoroutine(self.alice.send_file("bob", self.path))
        self.settle()
        download = self.wait(self.offers.pop().accept(self.folder))
        return self.wait(sending), download

    def names(self) -> list[str]:
        """Return what is in bob's folder."""
        return sorted(one.name for one in self.folder.iterdir())


class PushTests(FileTests):
    def test_push(self) -> None:
        """A file is offered, taken, sent and checked (RFC 5547 §8.2.1, §8.3.1)."""
        steps: list[int] = []
        sending = Deferred.fromCoroutine(
            self.alice.send_file("bob", self.path, progress=lambda one: steps.append(one.octets))
        )
        self.settle()
        (offer,) = self.offers
        self.assertEqual((offer.sender, offer.name, offer.size), (ALICE, "report.pdf", len(DATA)))
        self.assertEqual(offer.type, "application/pdf")
        self.assertNoResult(sending)
        download = self.wait(offer.accept(self.folder))
        upload = self.wait(sending)
        path = self.wait(download.done())
        self.assertEqual(self.wait(upload.done()), len(DATA))
        self.assertEqual(path, self.folder / "report.pdf")
        self.assertEqual(path.read_bytes(), DATA)
        self.assertEqual(self.names(), ["report.pdf"])
        self.assertEqual((upload.state, download.state), (DONE, DONE))
        self.assertEqual((upload.octets, upload.confirmed), (len(DATA), len(DATA)))
        self.assertEqual(steps, sorted(steps))
        self.settle()
        self.assertEqual(self.alice.sessions._means.legs, set())
        self.assertEqual(self.bob.sessions._means.legs, set())

    def test_description(self) -> None:
        """The offer says name, type, size, hash and a new identifier (RFC 5547 §6)."""
        self.push()
        (leg,) = self.bob.sessions._means.legs or [None]
        self.assertIsNotNone(leg)
        text = leg.call.request.body.decode()
        digest = hashlib.sha1(DATA).digest().hex(":").upper()
        self.assertIn(f'name:"report.pdf" type:application/pdf size:{len(DATA)}', text)
        self.assertIn(f"hash:sha-1:{digest}", text)
        self.assertIn("a=sendonly", text)
        self.assertIn("a=file-disposition:attachment", text)
        (media,) = description_of(leg.call.local).media
        self.assertIsNotNone(media.attribute("recvonly"))
        self.assertIn("file-transfer-id", "".join(media.lines))

    def test_declined(self) -> None:
        """Who declines gets nothing; the sender learns it."""
        sending = Deferred.fromCoroutine(self.alice.send_file("bob", self.path))
        self.settle()
        self.offers[0].decline()
        self.settle()
        self.failureResultOf(sending, Declined)
        with self.assertRaises(UsageError):
            self.offers[0].decline()

    def test_nobody_to_ask(self) -> None:
        """A client that takes no files says so."""
        self.bob.files.on_file = None
        with self.assertRaises(NotAcceptable):
            self.wait(self.alice.send_file("bob", self.path))

    def test_without_asking(self) -> None:
        """Files can go to a folder by themselves, but not those that are too large."""
        self.bob.files.folder = self.folder
        upload = self.wait(self.alice.send_file("bob", self.path))
        self.wait(upload.done())
        self.assertEqual(self.names(), ["report.pdf"])
        self.bob.files.most = 1000
        with self.assertRaises(Exception) as caught:
            self.wait(self.alice.send_file("bob", self.path))
        self.assertEqual(caught.exception.status, 403)

    def test_empty(self) -> None:
        """A file may be empty."""
        self.path = self.file("empty.txt", b"")
        upload, download = self.push()
        self.assertEqual(self.wait(download.done()).read_bytes(), b"")
        self.wait(upload.done())

    def test_same_name(self) -> None:
        """What is there stays; the new file gets a number."""
        for _ in range(2):
            upload, download = self.push()
            self.wait(download.done())
            self.wait(upload.done())
        self.assertEqual(self.names(), ["report (1).pdf", "report.pdf"])

    def test_evil_name(self) -> None:
        """A name leads to no other folder (RFC 5547 §10)."""
        sending = Deferred.fromCoroutine(self.alice.send_file("bob", self.path))
        self.settle()
        path = self.wait(
            self.wait(self.offers[0].accept(self.folder, "../../.ssh/authorized_keys")).done()
        )
        self.assertEqual(path.parent, self.folder)
        self.assertFalse(path.name.startswith("."))
        self.wait(self.wait(sending).done())

    def test_another_file(self) -> None:
        """What is not the file that was promised does not appear (RFC 5547 §8.3.1)."""
        sending = Deferred.fromCoroutine(self.alice.send_file("bob", self.path))
        self.settle()
        self.path.write_bytes(DATA[:-1] + b"!")
        download = self.wait(self.offers[0].accept(self.folder))
        with self.assertRaises(TransferFailed) as caught:
            self.wait(download.done())
        self.assertIn("another hash", str(caught.exception))
        with self.assertRaises(TransferFailed):
            self.wait(self.wait(sending).done())
        self.assertEqual(self.names(), [])

    def test_given_up_by_sender(self) -> None:
        """The sender aborts: the receiver knows that it is not whole (RFC 5547 §8.4)."""
        self.slow()
        upload, download = self.push()
        self.settle(3.0)
        self.assertGreater(download.octets, 0)
        upload.abort()
        self.settle(3.0)
        self.assertEqual((upload.state, download.state), (FAILED, FAILED))
        self.assertEqual(self.alice.sessions._means.legs, set())
        self.failureResultOf(download.done(), TransferFailed)

    def test_given_up_by_receiver(self) -> None:
        """The receiver aborts with 413: the sender stops, nothing is left (RFC 5547 §8.4)."""
        self.slow()
        upload, download = self.push()
        self.settle(3.0)
        download.abort()
        self.settle(10.0)
        self.assertEqual(upload.state, FAILED)
        self.assertEqual(self.names(), [])
        self.assertEqual(self.bob.sessions._means.legs, set())

    def test_cancelled(self) -> None:
        """Who gives up before the answer: the offer is gone."""
        gone: list[bool] = []
        sending = Deferred.fromCoroutine(self.alice.send_file("bob", self.path))
        self.settle()
        self.offers[0].on_cancel(lambda: gone.append(True))
        sending.cancel()
        self.settle()
        self.failureResultOf(sending)
        self.assertEqual(gone, [True])

    def test_unreadable(self) -> None:
        """What cannot be read is not offered."""
        with self.assertRaises(UsageError):
            self.wait(self.alice.send_file("bob", self.path.parent / "nowhere"))


class CutTests(FileTests):
    def cut(self) -> tuple[Upload, Download]:
        """Begin, and break the connection on the way."""
        self.slow()
        upload, download = self.push()
        for _ in range(100):
            if download.have > len(DATA) // 2:
                break
            self.settle(0.1)
        self.network.reset("10.0.0.21")
        self.settle(60.0)
        self.assertEqual((upload.state, download.state), (FAILED, FAILED))
        self.assertGreater(download.have, 0)
        self.assertLess(download.have, len(DATA))
        return upload, download

    def test_receiver_resumes(self) -> None:
        """The receiver asks for what is missing, and the file is whole (RFC 5547 §6)."""
        _, download = self.cut()
        have = download.have
        again = self.wait(download.resume())
        path = self.wait(again.done())
        self.assertEqual(path.read_bytes(), DATA)
        self.assertEqual(self.names(), ["report.pdf"])
        self.assertEqual(again.transfer.first, have + 1)

    def test_any_cut(self) -> None:
        """Wherever it is cut, however often: it goes on until the file is whole (RFC 5547 §6)."""
        self.slow()
        upload, download = self.push()
        cuts = 0
        for part in (0.02, 0.1, 0.35, 0.36, 0.8, 0.999):
            for _ in range(200):
                if download.over or download.have >= part * len(DATA):
                    break
                self.settle(0.05)
            self.network.reset("10.0.0.21")
            self.settle(40.0)
            if download.state == DONE:
                break  # its last octets were there already
            self.assertEqual(download.state, FAILED)
            self.assertEqual([one for one in self.names() if one[0] != "."], [])
            have = download.have
            download = self.wait(download.resume())
            self.assertEqual(download.transfer.first, have + 1)
            cuts += 1
        self.assertGreaterEqual(cuts, 3)
        self.assertEqual(self.wait(download.done()).read_bytes(), DATA)
        self.assertEqual(self.names(), ["report.pdf"])
        self.assertEqual(upload.state, FAILED)

    def test_sender_resumes(self) -> None:
        """The sender offers what was not confirmed, and the file is whole (RFC 5547 §6)."""
        upload, _ = self.cut()
        self.assertGreater(upload.confirmed, 0)
        resuming = Deferred.fromCoroutine(upload.resume())
        self.settle()
        offer = self.offers.pop()
        self.assertEqual(offer.transfer.first, upload.confirmed + 1)
        download = self.wait(offer.accept(self.folder))
        self.assertEqual(self.wait(download.done()).read_bytes(), DATA)
        self.wait(self.wait(resuming).done())

    def test_receiver_forgot(self) -> None:
        """Where the receiver has kept nothing, the file goes as a whole."""
        upload, _ = self.cut()
        for part in self.folder.iterdir():
            part.unlink()
        self.bob.files.folder = self.folder
        again = self.wait(upload.resume())
        self.wait(again.done())
        self.assertEqual((self.folder / "report.pdf").read_bytes(), DATA)

    def test_changed_meanwhile(self) -> None:
        """A file that has changed is not mixed with what came of the old one."""
        _, download = self.cut()
        self.path.write_bytes(b"something else")
        with self.assertRaises(NotFound):
            self.wait(download.resume())


class PullTests(FileTests):
    def test_pull(self) -> None:
        """A file that is shared can be asked for by its hash (RFC 5547 §8.2.2, §8.3.2)."""
        file = self.wait(self.alice.files.share(self.path, [BOB]))
        digest = file.hashes[0][1].hex()
        download = self.wait(self.bob.request_file("alice", self.folder, sha1=digest))
        path = self.wait(download.done())
        self.assertEqual(path.read_bytes(), DATA)

    def test_by_name(self) -> None:
        """It can be asked for by its name, too; it is checked by the hash of the answer."""
        self.wait(self.alice.files.share(self.path, [BOB]))
        download = self.wait(self.bob.request_file("alice", self.folder, name="report.pdf"))
        self.assertEqual(self.wait(download.done()), self.folder / "report.pdf")
        self.assertTrue(download.selector.hashes)

    def test_not_for_everybody(self) -> None:
        """Only those may ask with whom it is shared; the others learn nothing."""
        self.wait(self.alice.files.share(self.path, ["sip:carol@north.example"]))
        with self.assertRaises(NotFound):
            self.wait(self.bob.request_file("alice", self.folder, name="report.pdf"))
        self.assertEqual(self.names(), [])

    def test_nothing_asked(self) -> None:
        """Who asks says for what."""
        with self.assertRaises(UsageError):
            self.wait(self.bob.request_file("alice", self.folder))


class InConversationTests(FileTests):
    def setUp(self) -> None:
        super().setUp()
        self.hers, self.his = self.talk()

    def test_beside_the_talk(self) -> None:
        """A file goes in a medium of its own, and the talk goes on (RFC 5547 §8.2.1)."""
        sending = Deferred.fromCoroutine(self.hers.send_file(self.path))
        self.settle()
        self.wait(self.hers.send("meanwhile"))
        download = self.wait(self.offers[0].accept(self.folder))
        upload = self.wait(sending)
        self.assertEqual(self.wait(download.done()).read_bytes(), DATA)
        self.wait(upload.done())
        self.settle(5.0)
        self.assertFalse(self.hers.ended or self.his.ended)
        self.assertIsNone(self.hers.leg.media[1])
        self.wait(self.his.send("got it"))
        self.assertEqual(self.successResultOf(self.hers.next()).text, "got it")

    def test_declined(self) -> None:
        """A refused file leaves the conversation as it was."""
        sending = Deferred.fromCoroutine(self.hers.send_file(self.path))
        self.settle()
        self.offers[0].decline()
        self.settle()
        self.failureResultOf(sending, Declined)
        self.wait(self.hers.send("still here"))

    def test_both_at_once(self) -> None:
        """Files that are offered by both sides at once both arrive (RFC 3261 §14)."""
        self.bob.files.folder = self.folder
        self.alice.files.folder = other = Path(self.mktemp())
        his_path = self.file("his.txt", b"his")
        sending = [
            Deferred.fromCoroutine(self.hers.send_file(self.path)),
            Deferred.fromCoroutine(self.his.send_file(his_path)),
        ]
        self.settle(60.0)
        for one in sending:
            self.wait(self.successResultOf(one).done())
        self.assertEqual(self.names(), ["report.pdf"])
        self.assertEqual((other / "his.txt").read_bytes(), b"his")

    def test_end(self) -> None:
        """Who leaves gives up the files, too."""
        self.slow()
        sending = Deferred.fromCoroutine(self.hers.send_file(self.path))
        self.settle()
        download = self.wait(self.offers[0].accept(self.folder))
        upload = self.wait(sending)
        self.settle(2.0)
        self.wait(self.hers.leave())
        self.settle(5.0)
        self.assertEqual((upload.state, download.state), (FAILED, FAILED))

    def test_pull(self) -> None:
        """A file can be asked for in the conversation."""
        self.wait(self.alice.files.share(self.path, [BOB]))
        download = self.wait(self.his.request_file(self.folder, name="report.pdf"))
        self.assertEqual(self.wait(download.done()).read_bytes(), DATA)
