"""How a client reaches the service: what it takes as TLS and as a token, and where it sends one."""

from __future__ import annotations

from pathlib import Path

import pytest
from grpc import StatusCode

from account_monitor.client import AsyncClient, Client, Tls
from account_monitor.client.errors import call_failed
from account_monitor.client.line import is_on_this_machine, metadata_of
from tests.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_tls_takes_paths_and_pem(authority: Authority) -> None:
    trusted, own = authority.write(), authority.issue()
    assert own.cert_file is not None
    assert own.key_file is not None
    for tls in (
        Tls(),
        Tls(ca=trusted),
        Tls(ca=str(trusted)),
        Tls(ca=trusted.read_bytes()),
        Tls(ca=trusted.read_text()),
        Tls(ca=trusted, cert=own.cert_file, key=own.key_file),
        Tls(cert=own.cert_file.read_bytes(), key=own.key_file.read_text()),
    ):
        tls.credentials()


def test_tls_says_what_it_cannot_use(authority: Authority, tmp_path: Path) -> None:
    trusted, own = authority.write(), authority.issue()
    (tmp_path / "empty").touch()
    damaged = trusted.read_bytes().replace(b"MII", b"xxx", 1)
    for tls, said in (
        (
            Tls(ca=tmp_path / "empty"),
            "ca: .*/empty holds no PEM of a certificate, expected -----BEGIN CERTIFICATE-----",
        ),
        (Tls(ca=b"text"), "ca: what was given holds no PEM of a certificate"),
        (Tls(ca=own.key_file), "ca: .* holds no PEM of a certificate"),
        (Tls(ca=damaged), "ca: the PEM is damaged"),
        (Tls(cert=own.cert_file), "cert was given without key, expected both or none"),
        (Tls(key=own.key_file), "key was given without cert"),
        (Tls(cert=own.cert_file, key=own.cert_file), "key: .* holds no PEM of a private key"),
        (Tls(cert=own.cert_file, key="-----BEGIN ENCRYPTED PRIVATE KEY-----"), "key: what was given is encrypted"),
    ):
        with pytest.raises(ValueError, match=said):
            Client("127.0.0.1:1", tls=tls)
    with pytest.raises(FileNotFoundError, match=r"Tls: ca cannot be read: No such file or directory: '/none\.pem'"):
        Client("127.0.0.1:1", tls=Tls(ca="/none.pem"))
    with pytest.raises(TypeError, match="ca: was int, expected a path or PEM as bytes"):
        Client("127.0.0.1:1", tls=Tls(ca=1))  # type: ignore[arg-type]  # that is the mistake


def test_a_key_is_not_shown() -> None:
    assert "secret" not in repr(Tls(cert="cert.pem", key=b"secret"))


def test_white_space_around_a_token_is_no_part_of_it() -> None:
    assert metadata_of(" am_1.x\r\n") == (("authorization", "Bearer am_1.x"),)
    assert metadata_of(None) == ()


@pytest.mark.parametrize("token", ["am_1\nam_2", "am_\x00", "am_é", "Bearer am_1"])
def test_what_no_token_can_be_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(ValueError, match=r"token: character \d+ of \d+ is none of printable ASCII") as refused:
        Client("127.0.0.1:1", token=token)
    assert "am_" not in str(refused.value)


def test_an_empty_token_is_refused() -> None:
    with pytest.raises(ValueError, match="token: was empty"):
        Client("127.0.0.1:1", token="\n")


def test_a_token_is_not_sent_in_clear_text_to_another_machine() -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(ValueError, match=r"in clear text to 'monitor:50051'; expected tls=.* or insecure=True"):
            kind("monitor:50051", token="am_1")
    Client("monitor:50051", token="am_1", insecure=True).close()
    Client("monitor:50051", token="am_1", tls=Tls()).close()
    Client("monitor:50051").close()


@pytest.mark.parametrize(
    ("address", "stays"),
    [
        ("127.0.0.1:50051", True), ("127.8.0.1:1", True), ("localhost:50051", True), ("[::1]:50051", True),
        ("ipv4:127.0.0.1:1", True), ("ipv6:[::1]:1", True), ("dns:///localhost:1", True), ("unix:/run/monitor", True),
        ("10.0.0.1:50051", False), ("localhost.example.org:1", False), ("monitor", False), ("[fe80::1]:1", False),
        ("dns:///monitor:1", False), ("ipv4:127.0.0.1:1,10.0.0.1:1", False), ("127.0.0.1.example.org:1", False),
        ("localhost@monitor:1", False), ("xds:///localhost", False), ("", False),
    ],
)  # fmt: skip
def test_which_addresses_are_on_this_machine(address: str, stays: bool) -> None:
    assert is_on_this_machine(address) is stays


def test_a_line_that_was_cut_is_not_taken_for_a_port_of_tls() -> None:
    cut, closed = "Socket closed", "failed to connect to all addresses; last error: ipv4:127.0.0.1:1: Socket closed"

    assert "TLS" not in str(call_failed(StatusCode.UNAVAILABLE, cut, is_tls=False))
    assert "TLS" not in str(call_failed(StatusCode.UNAVAILABLE, closed, is_tls=True))
    assert "expected tls=Tls(...)" in str(call_failed(StatusCode.UNAVAILABLE, closed, is_tls=False))


def test_who_is_not_let_in_is_told_of_the_argument() -> None:
    assert "token=" in str(call_failed(StatusCode.UNAUTHENTICATED, "no token"))
