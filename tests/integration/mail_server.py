"""A mail server of a few lines: it speaks as much SMTP as a client needs, and keeps what it is given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_string
from email.header import decode_header, make_header
from email.message import Message


class MailServer:
    """What was sent, decoded."""

    def __init__(self) -> None:
        self.mails: list[Message] = []
        self.port = 0

    @property
    def subjects(self) -> list[str]:
        return [str(make_header(decode_header(mail["Subject"]))) for mail in self.mails]

    def text(self, index: int) -> str:
        """Return the plain text of a mail."""
        parts = [part for part in self.mails[index].walk() if part.get_content_type() == "text/plain"]
        payload = parts[0].get_payload(decode=True)
        assert isinstance(payload, bytes)
        return payload.decode()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.test ESMTP\r\n")
        while line := await reader.readline():
            match line.split(None, 1)[0].upper():
                case b"DATA":
                    writer.write(b"354 go on\r\n")
                    text = await reader.readuntil(b"\r\n.\r\n")
                    self.mails.append(message_from_string(text.decode()))
                    writer.write(b"250 taken\r\n")
                case b"QUIT":
                    writer.write(b"221 bye\r\n")
                    break
                case _:
                    writer.write(b"250 mail.test\r\n")
            await writer.drain()
        writer.close()


@asynccontextmanager
async def mail_server() -> AsyncIterator[MailServer]:
    """Open a mail server, and close it at the end."""
    mails = MailServer()
    server = await asyncio.start_server(mails.talk, "127.0.0.1", 0)
    mails.port = server.sockets[0].getsockname()[1]
    async with server:
        yield mails
