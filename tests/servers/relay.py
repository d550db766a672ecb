"""A relay between a client and a server: what does a test make of the bytes that pass?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

Change = Callable[[bytes], bytes]


class Relay:
    """Listens on a port of its own, and hands on what comes, changed or not at all."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: Change = bytes
        """What becomes of what the server says, from the next connection on."""
        self.breaks_at: bytes | None = None
        """What a client says last, once: the server is told, and the client never hears what it answers."""
        self.is_cut = False

    def cut(self) -> None:
        """Hand on nothing any more, in either direction, and tell nobody: as a cable that was pulled."""
        self.is_cut = True


@asynccontextmanager
async def relay_to(server_url: str) -> AsyncIterator[Relay]:
    """Relay to a server as long as the block runs."""
    target = urlsplit(server_url)
    relay = Relay()
    tasks = set[asyncio.Task[None]]()

    async def serve(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        server, to_server = await asyncio.open_connection(target.hostname, target.port)
        answers = asyncio.create_task(_hand_on(server, to_client, relay))
        try:
            while data := await client.read(65_536):
                if relay.is_cut:
                    continue
                is_last = relay.breaks_at is not None and relay.breaks_at in data
                if is_last:
                    relay.breaks_at = None
                    answers.cancel()
                to_server.write(data)
                await to_server.drain()
                if is_last:
                    await server.read(1)  # it has answered
                    break
        except ConnectionError:
            pass
        finally:
            answers.cancel()
            to_client.close()
            to_server.close()
            tasks.discard(task)

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    relay.url = server_url.replace(f"{target.hostname}:{target.port}", f"127.0.0.1:{port}")
    try:
        yield relay
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _hand_on(source: asyncio.StreamReader, target: asyncio.StreamWriter, relay: Relay) -> None:
    change = relay.answers
    try:
        while data := await source.read(65_536):
            if not relay.is_cut:
                target.write(change(data))
                await target.drain()
    except ConnectionError:
        pass
    finally:
        target.close()
