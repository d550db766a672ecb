"""Failures: one line of words, whatever the system or a library made of it."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest

from account_monitor.failures import reason


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"), "connection refused"),
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on device"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "name or service not known"),
        (ssl.SSLError(1, "[SSL] record layer failure"), "[SSL] record layer failure"),
        (ValueError("two\nlines"), "two lines"),
        (TimeoutError(), "no answer in time"),
    ],
)
def test_it_is_said_in_words_in_one_line(error: Exception, words: str) -> None:
    assert reason(error).endswith(words)
    assert "Errno" not in reason(error)
