"""PostgreSQL: what is the same for whoever asks a server, be it for the history or for leases."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote

if TYPE_CHECKING:
    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

AnyConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"


def server_of(url: str) -> str:
    """Return where a URI leads, such as `db.example.org:5432/trading` or `trading in /run/postgresql`: no user.

    A URI without a server leads where PGHOST says, and else to this machine.
    """
    address = url.partition("://")[2].partition("?")[0].rpartition("@")[2]
    authority, _, database = address.partition("/")
    asked = re.search(r"[?&]host=([^&]*)", url)
    named = unquote(authority or (asked[1] if asked else "")) or os.environ.get("PGHOST") or "localhost"
    if named.startswith("/"):  # the directory of a socket
        return f"{unquote(database)} in {named}" if database else named
    return f"{named}/{unquote(database)}" if database else named


@asynccontextmanager
async def transaction(connection: AnyConnection) -> AsyncIterator[None]:
    """Commit what happens inside, or nothing of it. Who is cancelled inside has to give the connection up."""
    begun = connection.transaction()
    await begun.start()
    try:
        yield
    except asyncio.CancelledError:
        raise  # what the server is doing is not known; to roll back would wait for it
    except BaseException:
        if not connection.is_closed():
            await begun.rollback()
        raise
    await begun.commit()
