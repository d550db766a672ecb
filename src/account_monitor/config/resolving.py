"""Resolving: the secrets that keys ending in `_env` and `_file` name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from account_monitor.config.nodes import joined
from account_monitor.config.problems import Violation
from account_monitor.config.secrets import EVERY_PURPOSE, Purpose, Secret, escaped
from account_monitor.config.settings import AccountSettings, AlertSettings, DatabaseSettings, Exchange, Settings

MAX_SECRET_BYTES: Final = 64 * 1024
"""Keys, passwords and lists of channels are far smaller."""


class Resolver:
    """Fills secrets into settings; what could not be found is in `missing`, and left None."""

    def __init__(
        self, environ: Mapping[str, str], written: frozenset[str], purposes: Collection[Purpose] = EVERY_PURPOSE
    ) -> None:
        """Find what is for these purposes, and leave the rest None without asking for it."""
        self._environ = environ
        self._purposes = purposes
        self._written = written
        self.missing: list[Violation] = []

    def resolve(self, settings: Settings) -> Settings:
        """Return the settings with the secrets that they need."""
        accounts, database, alerts = settings.accounts, self._database(settings.database), settings.alerts
        if Purpose.EXCHANGE in self._purposes:
            accounts = tuple(self._account(f"accounts[{i}]", account) for i, account in enumerate(accounts))
        if Purpose.CHANNELS in self._purposes:
            alerts = self._alerts(alerts)
        if Purpose.NATS in self._purposes and settings.pubsub.nats.urls is not None:
            self._check_file("pubsub.nats.credentials_file", settings.pubsub.nats.credentials_file)
            self._check_file("pubsub.nats.ca_file", settings.pubsub.nats.ca_file)
        return settings._replace(accounts=accounts, database=database, alerts=alerts)

    def _account(self, path: str, account: AccountSettings) -> AccountSettings:
        if account.exchange is Exchange.NONE:
            return account
        api_key = self._needed(account, path, "api_key")
        return account._replace(api_key=api_key, secret_key=self._needed(account, path, "secret_key"))

    def _database(self, database: DatabaseSettings) -> DatabaseSettings:
        password = redis_password = None
        if Purpose.DATABASE in self._purposes and database.url != "sqlite":
            password = self._named(database, "database", "password")
        if Purpose.CACHE in self._purposes and database.redis_url is not None:
            redis_password = self._named(database, "database", "redis_password")
        return database._replace(password=password, redis_password=redis_password)

    def _alerts(self, alerts: AlertSettings) -> AlertSettings:
        channels = self._named(alerts, "alerts", "channels")
        return alerts._replace(channels=channels, heartbeat_url=self._named(alerts, "alerts", "heartbeat_url"))

    def _needed(self, account: AccountSettings, path: str, name: str) -> Secret | None:
        if getattr(account, f"{name}_env") is None and getattr(account, f"{name}_file") is None:
            text = f"was null, expected the name of an environment variable: {account.exchange} needs it"
            self._miss(joined(path, f"{name}_env"), text, joined(path, "exchange"))
            return None
        return self._named(account, path, name)

    def _named(
        self, section: AccountSettings | DatabaseSettings | AlertSettings, path: str, name: str
    ) -> Secret | None:
        variable: str | None = getattr(section, f"{name}_env")
        file: Path | None = getattr(section, f"{name}_file")
        variable_path, file_path = joined(path, f"{name}_env"), joined(path, f"{name}_file")
        if file is not None:
            if variable is not None and variable_path in self._written:
                self._miss(file_path, f"stands beside {variable_path}, expected one of the two", variable_path)
            return self._from_file(file_path, file)
        return None if variable is None else self._from_variable(variable_path, variable, joined(path, "exchange"))

    def _from_variable(self, path: str, variable: str, *reasons: str) -> Secret | None:
        value = self._environ.get(variable, "")
        if not value.strip():
            state = "empty" if variable in self._environ else "not set"
            self._miss(path, f"names the environment variable {variable}, which is {state}", *reasons)
            return None
        return Secret(value.strip())

    def _from_file(self, path: str, file: Path) -> Secret | None:
        content = self._content(path, file)
        if content is None:
            return None
        try:
            text = content.decode().strip()
        except UnicodeDecodeError:
            text = ""
        if not text or len(content) > MAX_SECRET_BYTES:
            self._miss(
                path, f"names {escaped(str(file))}, expected UTF-8 text of at most {MAX_SECRET_BYTES} bytes in it"
            )
            return None
        return Secret(text)

    def _check_file(self, path: str, file: Path | None) -> None:
        if file is not None:
            self._content(path, file)

    def _content(self, path: str, file: Path) -> bytes | None:
        try:
            with file.open("rb") as opened:
                return opened.read(MAX_SECRET_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self._miss(path, f"names {escaped(str(file))}, which cannot be read: {reason}")
            return None

    def _miss(self, path: str, text: str, *reasons: str) -> None:
        self.missing.append(Violation((*reasons, path), text))
