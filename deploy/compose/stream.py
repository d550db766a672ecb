"""Make the JetStream stream over trading.fills, unless a stream covers it already: stream.py nats://HOST:PORT"""

from __future__ import annotations

import asyncio
import sys

import nats
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

SUBJECT = "trading.fills"
STREAM = StreamConfig(
    name="TRADING_FILLS",
    subjects=[SUBJECT, f"{SUBJECT}.>"],
    retention=RetentionPolicy.LIMITS,  # what was read stays, for the next reader and for a journal that is lost
    storage=StorageType.FILE,
    discard=DiscardPolicy.OLD,
    max_bytes=4 * 1024**3,
    max_age=90 * 86_400,  # seconds, as history.retention
    duplicate_window=120,  # seconds
)


async def main(url: str) -> str:
    """Return what was done. Raises: nats.errors.Error, OSError where the server cannot be reached, or refuses."""
    connection = await nats.connect(
        url, error_cb=_said_once, connect_timeout=5, max_reconnect_attempts=1, reconnect_time_wait=0.5
    )
    try:
        stream = connection.jetstream()
        try:
            name = await stream.find_stream_name_by_subject(SUBJECT)
        except NotFoundError:
            await stream.add_stream(STREAM)
            return f"made the stream {STREAM.name} over {', '.join(STREAM.subjects or ())}"
        return f"the stream {name} covers {SUBJECT} already, and is left as it is"
    finally:
        await connection.close()


async def _said_once(_error: Exception) -> None:
    """Leave what the client tries again to the error that `connect` raises in the end."""


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: stream.py nats://HOST:PORT")
    try:
        print(asyncio.run(main(sys.argv[1])))
    except (nats.errors.Error, OSError) as error:
        sys.exit(f"stream.py: {sys.argv[1]}: {str(error) or type(error).__name__}")
