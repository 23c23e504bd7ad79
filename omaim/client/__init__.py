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

Reading order: messages (what you get), client (what you call), then inbox, composing, reading,
access; bot and prompt stand on the client.
"""

from omaim.client.client import Client
from omaim.client.failures import Failure
from omaim.client.messages import Message, Report, Sent, State, Typing
from omaim.client.running import run

__all__ = ["Client", "Failure", "Message", "Report", "Sent", "State", "Typing", "run"]
