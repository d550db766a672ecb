"""The unit: does systemd take it, what may the service do, and does it find what it names?"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deployed import DEPLOY, UNIT_FILE
from tests.sandbox import directives

EXPOSURE = 2.0
"""The most that `systemd-analyze security` may say, of 10: it was 1.4 in systemd 252."""


def analyzed(*arguments: str) -> str:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze; it is in Debian's package systemd")
    command = ["systemd-analyze", "--no-pager", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "Unknown option" in done.stderr or "unrecognized option" in done.stderr:
        pytest.skip(f"this systemd-analyze is too old: {done.stderr.strip()}")
    return done.stdout + done.stderr


def test_systemd_takes_every_line(tmp_path: Path) -> None:
    program = tmp_path / "account-monitor"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / UNIT_FILE.name
    unit.write_text(UNIT_FILE.read_text().replace("/opt/account-monitor/bin/account-monitor", str(program)))

    assert analyzed("verify", str(unit)) == ""


def test_little_is_exposed() -> None:
    said = analyzed("security", "--offline=true", str(UNIT_FILE))
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)

    assert level is not None, said
    assert float(level[1]) <= EXPOSURE


def test_it_is_started_again_and_ended_in_time() -> None:
    given = directives(UNIT_FILE)

    assert given["Restart"] == ["always"]
    assert given["StartLimitIntervalSec"] == ["0"]
    assert given["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert given["TimeoutStopSec"] == ["10"]
    assert given["KillMode"] == ["mixed"]  # the service ends the writer of its history itself


@pytest.mark.parametrize(
    ("directive", "value"),
    [
        ("NoNewPrivileges", "yes"), ("ProtectSystem", "strict"), ("PrivateTmp", "yes"), ("ProtectHome", "yes"),
        ("MemoryDenyWriteExecute", "yes"), ("CapabilityBoundingSet", ""), ("SystemCallArchitectures", "native"),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"), ("UMask", "0077"),
    ],
)  # fmt: skip
def test_it_may_little(directive: str, value: str) -> None:
    assert directives(UNIT_FILE)[directive] == [value]


def test_it_does_not_run_as_root_and_its_user_is_made() -> None:
    (user,) = directives(UNIT_FILE)["User"]
    made = (DEPLOY / "systemd" / "account-monitor.sysusers.conf").read_text()

    assert re.search(rf"^u {user} - ", made, re.MULTILINE)


def test_data_are_where_the_unit_lets_it_write() -> None:
    given = directives(UNIT_FILE)

    assert f"ACCOUNT_MONITOR__SERVICE__DATA_DIR=/var/lib/{given['StateDirectory'][0]}" in given["Environment"]
    assert given["StateDirectoryMode"] == ["0700"]


def test_secrets_are_credentials_and_stand_in_no_environment() -> None:
    given = directives(UNIT_FILE)

    assert given["LoadCredential"] == ["secrets:/etc/account-monitor/secrets"]
    assert not any(re.search(r"KEY|SECRET|PASSWORD|TOKEN", pair.partition("=")[0]) for pair in given["Environment"])
