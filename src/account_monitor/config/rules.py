"""Rules: what values that are fine one by one may not be together, and what is not built yet."""

from __future__ import annotations

from collections.abc import Container, Iterator

from account_monitor.config.problems import Violation
from account_monitor.config.settings import Exchange, Lease, OpeningPosition, Settings, TlsSettings, split_position_key
from account_monitor.config.values import duration_text, is_loopback

_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104  # compared with, not bound


def violations(settings: Settings, written: Container[str] = ()) -> Iterator[Violation]:
    """Yield what contradicts itself, or would open the accounts to everyone. `written` holds the keys that were named:
    a default follows what contradicts it.
    """
    yield from _same_names(settings)
    yield from _openings(settings)
    yield from _open_doors(settings)
    yield from _same_ports(settings)
    yield from _incomplete_tls("http.tls", settings.http.tls)
    if settings.grpc.tls is not None:
        yield from _incomplete_tls("grpc.tls", settings.grpc.tls)
    yield from _loops(settings)
    yield from _leases(settings)
    if "history.compress_after" in written:
        yield from _compression(settings)


def _same_names(settings: Settings) -> Iterator[Violation]:
    first: dict[str, int] = {}
    for index, account in enumerate(settings.accounts):
        # Names become file names, and some file systems do not tell case apart.
        before = first.setdefault(account.name.lower(), index)
        if before != index:
            paths = (f"accounts[{before}].name", f"accounts[{index}].name")
            yield Violation(paths, f'was "{account.name}", expected a name that accounts[{before}] does not have')


def _openings(settings: Settings) -> Iterator[Violation]:
    for index, account in enumerate(settings.accounts):
        path = f"accounts[{index}].opening"
        if account.opening is None:
            continue
        if account.exchange is not Exchange.NONE:
            text = f"is for exchange: none only; {account.exchange} states itself what the account holds"
            yield Violation((f"accounts[{index}].exchange", path), text)
        if account.opening.balances is None and account.opening.positions is None:
            yield Violation(
                (f"{path}.balances", f"{path}.positions", path), "says nothing, expected balances or positions, or null"
            )
        for key, position in account.opening.positions or ():
            yield from _signs(f"{path}.positions.{key}.quantity", key, position)


def _signs(path: str, key: str, position: OpeningPosition) -> Iterator[Violation]:
    _, side = split_position_key(key)
    if side == "LONG" and position.quantity < 0:
        yield Violation((path,), f'was "{position.quantity:f}", expected a positive quantity of a LONG position')
    if side == "SHORT" and position.quantity > 0:
        yield Violation((path,), f'was "{position.quantity:f}", expected a negative quantity of a SHORT position')


def _open_doors(settings: Settings) -> Iterator[Violation]:
    for path, host in (("grpc.host", settings.grpc.host), ("http.host", settings.http.host)):
        if settings.auth.tokens_file is None and not is_loopback(host):
            text = (
                f'was "{host}", expected 127.0.0.1, ::1 or localhost: without auth.tokens_file anyone could read; or'
                " name a file there, and make tokens with: account-monitor token create"
            )
            yield Violation(("auth.tokens_file", path), text)
    if settings.metrics.require_token and settings.auth.tokens_file is None:
        text = "was true, expected false without auth.tokens_file: there is no token that could be shown"
        yield Violation(("auth.tokens_file", "metrics.require_token"), text)


def _same_ports(settings: Settings) -> Iterator[Violation]:
    http, grpc, metrics = settings.http, settings.grpc, settings.metrics
    doors = [("grpc", grpc.host, grpc.port), ("http", http.host, http.port), ("metrics", metrics.host, metrics.port)]
    for index, (name, host, port) in enumerate(doors):
        for other_name, other_host, other_port in doors[:index]:
            meets = host == other_host or host in _WILDCARDS or other_host in _WILDCARDS
            if port and port == other_port and meets:
                paths = (f"{other_name}.port", f"{name}.port")
                yield Violation(paths, f'was "{port}", expected a port that {other_name}.port does not take')


def _incomplete_tls(path: str, tls: TlsSettings) -> Iterator[Violation]:
    if (tls.cert_file is None) != (tls.key_file is None):
        named, missing = ("cert_file", "key_file") if tls.key_file is None else ("key_file", "cert_file")
        yield Violation((f"{path}.{named}", f"{path}.{missing}"), f"was null, expected a file: {path}.{named} needs it")
    elif tls.client_ca_file is not None and tls.cert_file is None:
        text = "was null, expected a file: who asks for certificates shows one"
        yield Violation((f"{path}.client_ca_file", f"{path}.cert_file"), text)


def _loops(settings: Settings) -> Iterator[Violation]:
    topics = settings.pubsub.topics
    named = [("fill_events", topics.fill_events), ("prices", topics.prices), ("alerts", topics.alerts),
             ("pnl_updates", topics.pnl_updates)]  # fmt: skip
    for index, (name, subject) in enumerate(named):
        for other_name, other in named[:index]:
            # Fills are heard on trading.fills.<account> too, so nothing else may be said below it.
            below_fills = other_name == "fill_events" and subject.startswith(f"{other}.")
            if subject == other or below_fills:
                paths = (f"pubsub.topics.{other_name}", f"pubsub.topics.{name}")
                yield Violation(paths, f'was "{subject}", expected a subject that {paths[0]} does not cover')


def _leases(settings: Settings) -> Iterator[Violation]:
    """Who takes an account over reads the copy of its journal, which has to be where every replica can read it."""
    lease = settings.cluster.lease
    if lease is Lease.NONE:
        return
    if settings.database.url == "sqlite":
        text = f'was "sqlite", expected a URI of PostgreSQL: with cluster.lease {lease} replicas share the history'
        yield Violation(("cluster.lease", "database.url"), text)
    if lease is Lease.NATS and settings.pubsub.nats.urls is None:
        text = "was null, expected the address of a NATS server: cluster.lease nats keeps the leases there"
        yield Violation(("cluster.lease", "pubsub.nats.url"), text)


def _compression(settings: Settings) -> Iterator[Violation]:
    compress_after, retention = settings.history.compress_after_seconds, settings.history.retention_seconds
    if compress_after > retention:
        text = (
            f'was "{duration_text(compress_after)}", expected at most the {duration_text(retention)} of'
            " history.retention: what is removed is never compressed"
        )
        yield Violation(("history.retention", "history.compress_after"), text)


# What the configuration can name before the program can do it. Whoever builds one removes its line.


def not_built(settings: Settings) -> Iterator[Violation]:
    """Yield what is asked for and not built yet, each with the value that works today."""
    if settings.service.reporting_currency != "USD":
        yield _not_built("service.reporting_currency", settings.service.reporting_currency, "USD")


def _not_built(path: str, asked: str, works: str) -> Violation:
    return Violation((path,), f"asks for {asked}, which is not built yet; expected {works}")
