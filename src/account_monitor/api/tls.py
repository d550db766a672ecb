"""TLS: the certificate that a door shows and whose it asks for, taken over when the files change.

A connection that is open keeps what it was opened with; the next handshake takes what was loaded last. Files that do
not fit together change nothing: what was loaded goes on, and `problem` says why.
"""

from __future__ import annotations

import os
import re
import ssl
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import structlog

from account_monitor.config import TlsSettings
from account_monitor.config.exposure import is_exposed
from account_monitor.errors import ConfigurationError
from account_monitor.failures import reason

LOOK_SECONDS = 2.0
"""How often it is looked whether the files have changed."""

WARN_DAYS = 14
"""How long before a certificate expires the health says so."""

MAX_FILE_BYTES = 1 << 20
"""Chains and lists of authorities are far smaller."""

if TYPE_CHECKING:
    import grpc

_DAY_MS = 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CERTIFICATES = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_CERTIFICATE, _KEY = b"-----BEGIN CERTIFICATE-----", b"PRIVATE KEY-----"
_SEQUENCE, _VERSION, _UTC_TIME = 0x30, 0xA0, 0x17

log = structlog.get_logger()


class _Loaded(NamedTuple):
    """What handshakes use: the context of HTTP, the texts for gRPC, and from and until when (ms) the chain is valid."""

    context: ssl.SSLContext
    certificates: bytes
    key: bytes
    client_authorities: bytes | None
    begins_ms: int
    expires_ms: int


class Certificates:
    """What one door shows."""

    def __init__(self, settings: TlsSettings, section: str) -> None:
        """Load the files. Raises: ConfigurationError naming the file and what is wrong with it."""
        assert settings.cert_file is not None
        assert settings.key_file is not None
        self._settings = settings
        self.section = section
        """The part of the configuration that names the files."""
        self._files = (settings.cert_file, settings.key_file, settings.client_ca_file)
        self.problem: str | None = None
        """Why the files as they are now are not used; None while they are."""
        self._stamps = self._suspect = self._stamped()
        self._loaded = self._load()
        self.context = _bare_context()
        """For the server; every handshake goes on with what was loaded last."""
        if settings.client_ca_file is not None:
            self.context.verify_mode = ssl.CERT_REQUIRED  # a handshake that is moved keeps whether it asks
        self.context.sni_callback = self._choose

    @property
    def expires_ms(self) -> int:
        """Until when the shown chain is valid: the first of its certificates to expire, since 1970 UTC."""
        return self._loaded.expires_ms

    def look(self) -> None:
        """Take over the files if they have changed. Reads files: ask in a thread.

        A certificate and its key cannot be replaced at once, so a pair that does not fit is told of only when it has
        stayed so from one look to the next.
        """
        stamps = self._stamped()
        if stamps == self._stamps:
            return
        try:
            self._loaded = self._load()
        except ConfigurationError as error:
            if stamps == self._suspect and self.problem != str(error):
                self.problem = str(error)
                log.error("certificate_refused", reason=self.problem, goes_on_until_ms=self.expires_ms)
            self._suspect = stamps
            return
        self._stamps = self._suspect = stamps
        self.problem = None
        log.info("certificate_taken_over", section=self.section, expires_ms=self.expires_ms)

    def texts(self) -> tuple[bytes, bytes, bytes | None]:
        """Return key, chain and client authorities as PEM."""
        loaded = self._loaded
        return loaded.key, loaded.certificates, loaded.client_authorities

    def days_left(self, now_ms: int) -> int:
        """Return for how many whole days the shown chain is still valid."""
        return (self.expires_ms - now_ms) // _DAY_MS

    def expiry_text(self, now_ms: int) -> str | None:
        """Say when the certificate expires if that is soon, or was, and when it begins to be valid; None otherwise."""
        left_ms = self.expires_ms - now_ms
        where = f"{self.section}.cert_file: {self._settings.cert_file}"
        if now_ms < self._loaded.begins_ms:
            return f"{where} is not valid before {_minute(self._loaded.begins_ms)}: clients refuse it"
        if left_ms > WARN_DAYS * _DAY_MS:
            return None
        at = _minute(self.expires_ms)
        if left_ms <= 0:
            return f"{where} has expired at {at}: clients refuse it"
        return f"{where} expires in {self.days_left(now_ms)} days, at {at}"

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _first: ssl.SSLContext) -> None:
        # Loading into a context that is in use cannot be undone half-way, and never forgets an authority: so each load
        # makes a context of its own, and a handshake is moved there.
        connection.context = self._loaded.context

    def _stamped(self) -> tuple[object, ...]:
        """Identify the content of the files without reading them."""
        return tuple(None if file is None else _stamp(file) for file in self._files)

    def _load(self) -> _Loaded:
        cert_file, key_file, authority_file = self._files
        assert cert_file is not None
        assert key_file is not None
        certificates = self._read("cert_file", cert_file)
        key = self._read("key_file", key_file)
        begins_ms, expires_ms = self._validity(cert_file, certificates, key)
        self._require_key(key_file, key)
        self._require_private(key_file)
        context = _bare_context()
        try:
            # A password would be asked for on the terminal: an encrypted key is refused instead.
            context.load_cert_chain(cert_file, key_file, password=_no_password)
        except (ssl.SSLError, ValueError, _Encrypted) as error:
            raise ConfigurationError(self._unfit(cert_file, key_file, error)) from error
        except OSError as error:
            raise ConfigurationError(f"{self.section}: {cert_file}, {key_file}: {reason(error)}") from error
        authorities = None if authority_file is None else self._demand(context, authority_file)
        return _Loaded(context, certificates, key, authorities, begins_ms, expires_ms)

    def _demand(self, context: ssl.SSLContext, file: Path) -> bytes:
        """Ask clients for a certificate that an authority of the file has signed."""
        text = self._read("client_ca_file", file)
        try:
            context.load_verify_locations(cadata=text.decode("ascii"))
        except (ssl.SSLError, ValueError) as error:
            problem = f"{self.section}.client_ca_file: {file} holds no certificates in PEM ({reason(error)})"
            raise ConfigurationError(problem) from error
        context.verify_mode = ssl.CERT_REQUIRED
        return text

    def _read(self, name: str, file: Path) -> bytes:
        try:
            with file.open("rb") as opened:
                content = opened.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise ConfigurationError(f"{self.section}.{name}: {file} cannot be read: {reason(error)}") from error
        if len(content) > MAX_FILE_BYTES:
            raise ConfigurationError(f"{self.section}.{name}: {file} is larger than {MAX_FILE_BYTES} bytes")
        return content

    def _require_private(self, file: Path) -> None:
        try:
            mode = stat.S_IMODE(file.stat().st_mode)
        except OSError as error:
            raise ConfigurationError(f"{self.section}.key_file: {file} cannot be read: {reason(error)}") from error
        if os.name == "posix" and is_exposed(mode):
            raise ConfigurationError(
                f"{self.section}.key_file: {file} can be read or written by others (mode {mode:04o});"
                " expected a key that is private: chmod 600, or 640 for a group"
            )

    def _unfit(self, cert_file: Path, key_file: Path, error: Exception) -> str:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            told = f"{key_file} is not the key of the first certificate in {cert_file}"
            return f"{self.section}.key_file: {told}; expected the certificate, then its chain, and its key"
        why = "the key is encrypted" if isinstance(error, _Encrypted) else reason(error)
        told = f"{key_file} cannot be used with {cert_file} ({why})"  # whose certificates could be read
        return f"{self.section}.key_file: {told}; expected the key of the certificate, without a password, in PEM"

    def _validity(self, file: Path, certificates: bytes, key: bytes) -> tuple[int, int]:
        """Return from and until when (ms) all certificates of a chain are valid. Raises: ConfigurationError."""
        found = _CERTIFICATES.findall(certificates.decode("ascii", "replace"))
        if not found:
            is_swapped = _KEY in certificates and _CERTIFICATE in key
            hint = "; it holds a key: are cert_file and key_file swapped?" if is_swapped else ""
            raise ConfigurationError(f"{self.section}.cert_file: {file} holds no whole certificate in PEM{hint}")
        try:
            spans = [_validity_ms(ssl.PEM_cert_to_DER_cert(text)) for text in found]
            _bare_context().load_verify_locations(cadata="\n".join(found))
        except (ssl.SSLError, ValueError, IndexError) as error:
            raise ConfigurationError(f"{self.section}.cert_file: {file} holds no X.509 certificate") from error
        return max(begins for begins, _ in spans), min(expires for _, expires in spans)

    def _require_key(self, file: Path, key: bytes) -> None:
        if _KEY not in key:
            what = "a certificate, and no private key" if _CERTIFICATE in key else "no private key"
            raise ConfigurationError(f"{self.section}.key_file: {file} holds {what} in PEM")


class _Encrypted(Exception):
    """A key asks for a password."""


def _no_password() -> str:
    raise _Encrypted


def _bare_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A session that is resumed shows no certificate again, so it would outlive an authority that was taken away.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    return context


def _stamp(file: Path) -> tuple[int, int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_ino, status.st_size, status.st_mode)


def certificates_of(settings: TlsSettings, section: str) -> Certificates | None:
    """Return what a door shows, None where it speaks no TLS. Raises: ConfigurationError."""
    return None if settings.cert_file is None else Certificates(settings, section)


def grpc_credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """Return the credentials of a server of gRPC, which asks for them at every handshake, in a thread of its own."""
    import grpc  # here: it takes a while, and health is answered before

    told: list[tuple[bytes, bytes, bytes | None]] = [certificates.texts()]

    def configuration(texts: tuple[bytes, bytes, bytes | None]) -> grpc.ServerCertificateConfiguration:
        key, chain, authorities = texts
        return grpc.ssl_server_certificate_configuration([(key, chain)], authorities)

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        texts = certificates.texts()
        if texts == told[0]:
            return None  # as before
        told[0] = texts
        return configuration(texts)

    asks_clients = told[0][2] is not None
    return grpc.dynamic_ssl_server_credentials(
        configuration(told[0]),
        fetch,  # type: ignore[arg-type]  # None says: as before; the types forgot that
        asks_clients,
    )


# -- when is it valid? -------------------------------------------------------------------------------------------------


def _validity_ms(certificate: bytes) -> tuple[int, int]:
    """Return from and until when a certificate (DER) is valid, in milliseconds since 1970 UTC.

    The standard library tells that of a peer's certificate only. Source: RFC 5280, section 4.1:
    Certificate ::= SEQUENCE {tbsCertificate SEQUENCE {[0] version, serialNumber, signature, issuer,
    validity SEQUENCE {notBefore, notAfter}, …
    Raises: ValueError or IndexError for what is no certificate.
    """
    fields = _inside(_inside(certificate, _SEQUENCE), _SEQUENCE)
    if fields[0] == _VERSION:
        fields = _element(fields)[2]
    for _ in range(3):  # serial number, signature algorithm, issuer
        fields = _element(fields)[2]
    validity = _inside(fields, _SEQUENCE)
    return _moment_ms(validity), _moment_ms(_element(validity)[2])


def _moment_ms(encoded: bytes) -> int:
    """Return the time that an element begins with, in milliseconds since 1970 UTC."""
    tag, text, _ = _element(encoded)
    digits = text.decode("ascii")
    if tag == _UTC_TIME:  # two digits mean 1950 to 2049
        digits = ("19" if digits >= "50" else "20") + digits
    moment = datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    return int((moment - _EPOCH).total_seconds()) * 1000


def _minute(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def _inside(encoded: bytes, expected: int) -> bytes:
    tag, content, _ = _element(encoded)
    if tag != expected:
        raise ValueError(f"tag {tag:#x}, expected {expected:#x}")
    return content


def _element(encoded: bytes) -> tuple[int, bytes, bytes]:
    """Return tag and content of the first element, and what comes after it."""
    tag, length, start = encoded[0], encoded[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(encoded[2:start], "big")
    if start + length > len(encoded):
        raise ValueError("cut short")
    return tag, encoded[start : start + length], encoded[start + length :]
