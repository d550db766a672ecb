"""Sandbox: run a command under what a systemd unit forbids, without systemd.

    python -m tests.sandbox UNIT COMMAND…

Of the unit it takes what a process can forbid itself: SystemCallFilter, SystemCallArchitectures, NoNewPrivileges,
MemoryDenyWriteExecute and RestrictAddressFamilies. The kernel enforces them as it does for systemd, by the same means.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import re
import socket
import struct
import subprocess
import sys
from functools import cache
from pathlib import Path

NUMBERS = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
"""The numbers of system calls; of Debian's linux-libc-dev."""

_ARCHITECTURE = 0xC000003E  # AUDIT_ARCH_X86_64
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_KILL = 0x80000000
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENT_AT = 0, 4, 16  # in struct seccomp_data
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _PR_SET_MDWE = 22, 38, 65


def unavailable() -> str | None:
    """Return why nothing can be run here, None where it can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "the numbers of system calls here are those of Linux on x86-64"
    if not NUMBERS.exists():
        return f"there is no {NUMBERS}; it is in Debian's package linux-libc-dev"
    try:
        _sets()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"systemd-analyze does not tell its sets of system calls: {error}"
    return None


def directives(unit: Path) -> dict[str, list[str]]:
    """Return the values of each directive of a unit, in their order."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text(encoding="utf-8").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith(("#", ";", "[")):
            found.setdefault(name, []).append(value)
    return found


def allowed_calls(filters: list[str]) -> set[str]:
    """Return the names of the system calls that SystemCallFilter allows; the first lists what is allowed."""
    allowed: set[str] = set()
    for line in filters:
        named = _expanded(line.removeprefix("~").split())
        allowed = allowed - named if line.startswith("~") else allowed | named
    return allowed


def _expanded(names: list[str]) -> set[str]:
    sets = _sets()
    return {call for name in names for call in (_expanded(sets[name]) if name.startswith("@") else {name})}


@cache
def _sets() -> dict[str, list[str]]:
    """Return the sets of system calls that systemd knows here."""
    said = subprocess.run(
        ["systemd-analyze", "--no-pager", "syscall-filter"], capture_output=True, text=True, check=True
    ).stdout
    sets: dict[str, list[str]] = {}
    name = ""
    for line in said.splitlines():
        if line.startswith("@"):
            name = line.strip()
            sets[name] = []
        elif name and line.startswith("    ") and not line.strip().startswith("#"):
            sets[name].append(line.strip())
    return sets


def confine(unit: Path) -> None:
    """Forbid this process, and all that it starts, what the unit forbids."""
    given = directives(unit)
    libc = ctypes.CDLL(None, use_errno=True)
    if given["NoNewPrivileges"] == ["yes"]:
        _control(libc, _PR_SET_NO_NEW_PRIVS, 1)
    if given["MemoryDenyWriteExecute"] == ["yes"]:
        _control(libc, _PR_SET_MDWE, 1)
    numbers = dict(re.findall(r"^#define __NR_(\w+) (\d+)$", NUMBERS.read_text(), re.MULTILINE))
    calls = sorted(int(numbers[name]) for name in allowed_calls(given["SystemCallFilter"]) if name in numbers)
    families = [getattr(socket, name) for name in given["RestrictAddressFamilies"][0].split()]
    program = _program(calls, int(numbers["socket"]), [int(family) for family in families])
    code = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    _control(libc, _PR_SET_SECCOMP, 2, ctypes.create_string_buffer(header))


def _program(calls: list[int], socket_call: int, families: list[int]) -> bytes:
    """Return the filter: calls in the list pass, `socket` for these families alone, everything else is refused."""
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT), (_JUMP_IF_EQUAL, 1, 0, _ARCHITECTURE), (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]  # fmt: skip
    for call in calls:
        if call != socket_call:
            steps += [(_JUMP_IF_EQUAL, 0, 1, call), (_RETURN, 0, 0, _ALLOW)]
    steps += [(_JUMP_IF_EQUAL, 1, 0, socket_call), (_RETURN, 0, 0, _REFUSE), (_LOAD, 0, 0, _ARGUMENT_AT)]
    for family in families:
        steps += [(_JUMP_IF_EQUAL, 0, 1, family), (_RETURN, 0, 0, _ALLOW)]
    steps.append((_RETURN, 0, 0, 0x00050000 | errno.EAFNOSUPPORT))
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def _control(libc: ctypes.CDLL, option: int, value: int, pointer: ctypes.Array[ctypes.c_char] | int = 0) -> None:
    if libc.prctl(option, value, pointer, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606  # no shell, and the process keeps its number
