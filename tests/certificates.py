"""Certificates to test with: an authority of one's own, and what it signs, as files."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from account_monitor.config import TlsSettings


class Authority:
    """Signs certificates and puts them into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ca = trustme.CA()

    def write(self, name: str = "authority") -> Path:
        """Write whom to trust."""
        path = self.folder / f"{name}.pem"
        self._ca.cert_pem.write_to_path(path)
        return path

    def issue(self, *names: str, days: int = 90, stem: str = "server", begins_in_days: int = -1) -> TlsSettings:
        """Write a certificate and its key, in place of what was there under this name."""
        expires = datetime.now(UTC) + timedelta(days=days)
        begins = min(datetime.now(UTC), expires) + timedelta(days=begins_in_days)
        issued = self._ca.issue_cert(*(names or ("127.0.0.1", "localhost")), not_before=begins, not_after=expires)
        cert_file, key_file = self.folder / f"{stem}.crt", self.folder / f"{stem}.key"
        key_file.touch(mode=0o600)
        issued.private_key_pem.write_to_path(key_file)
        cert_file.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        return TlsSettings(cert_file, key_file)

    def person(self, stem: str = "person") -> Path:
        """Write a client's certificate and its key into one file."""
        path = self.folder / f"{stem}.pem"
        path.write_bytes(self._ca.issue_cert("ann@example.org").private_key_and_cert_chain_pem.bytes())
        return path

    def client(self, shown: Path | None = None) -> ssl.SSLContext:
        """Return how a client speaks that trusts this authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._ca.configure_trust(context)
        if shown is not None:
            context.load_cert_chain(shown)
        return context
