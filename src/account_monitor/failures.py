"""Failures: what the system, or a library, said went wrong, in words for people: no numbers, no names of calls."""

from __future__ import annotations

import os
import socket
import ssl


def reason(error: BaseException) -> str:
    """Return why something failed, such as `connection refused`, in one line."""
    if isinstance(error, socket.gaierror):
        return (error.strerror or str(error)).lower()
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.errno is not None:
        return os.strerror(error.errno).lower()  # its own words name the call, or the server again
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    return " ".join(str(error).split()) or type(error).__name__
