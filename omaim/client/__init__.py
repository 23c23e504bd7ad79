"""The IM Client: a library, a bot and a prompt.

Send a message and await its delivery report::

    from omaim.client import Client, run

    async def main():
        client = Client("sip:alice@north.example", "alice-secret", server="127.0.1.1")
        await client.register()
        sent = await client.send("sip:bob@south.example", "hello")
        report = await sent.delivered(timeout=10)
        await client.close()

    run(main)

Or talk in a session::

    conversation = await client.invite("sip:bob@south.example", subject="Lunch")
    await conversation.send("Hungry?")
    answer = await conversation.next()
    await conversation.leave()

Reading order: messages (what you get), client and meeting (what you call), then inbox, composing,
reading, access; for sessions conversation, invited, talk, leg, sessions, then room, roster,
hosting and hosts, peers, large, fetching; for files upload, download, transfer, files; bot and
prompt stand on the client.
"""

from omaim.client.capabilities import Capabilities
from omaim.client.client import Client
from omaim.client.conversation import Conversation
from omaim.client.download import Download
from omaim.client.failures import Failure
from omaim.client.file_offer import FileOffer
from omaim.client.hosting import HostedRoom
from omaim.client.invited import Invited
from omaim.client.meeting import Meeting
from omaim.client.messages import Message, Report, Sent, State, Typing
from omaim.client.room import Room
from omaim.client.roster import Participant
from omaim.client.running import run
from omaim.client.upload import Upload

__all__ = [
    "Capabilities",
    "Client",
    "Conversation",
    "Download",
    "Failure",
    "FileOffer",
    "HostedRoom",
    "Invited",
    "Meeting",
    "Message",
    "Participant",
    "Report",
    "Room",
    "Sent",
    "State",
    "Typing",
    "Upload",
    "run",
]
