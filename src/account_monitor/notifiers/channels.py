"""Channels: where people are reached. One Apprise URL each: mail, a chat, a pager, a webhook."""

from __future__ import annotations

import asyncio
import logging
import re
from _thread import start_new_thread
from collections.abc import Iterator
from contextvars import ContextVar
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote

from account_monitor.config.secrets import hide_passwords
from account_monitor.config.settings import AlertSettings
from account_monitor.errors import ChannelFailed, ConfigurationError
from account_monitor.ledger.alerts import SEVERITIES, Severity
from account_monitor.notifiers.letters import Letter

if TYPE_CHECKING:
    from apprise import Apprise

SEND_SECONDS: Final = 15.0
"""How long a channel may take over one letter."""

MAX_HANGING: Final = 4
"""Attempts of one channel that may hang at once, each in a thread of its own; no other begins before one has ended."""

MAX_CHANNELS: Final = 50

MAX_REASON: Final = 200

_LISTED = re.compile(r"[\s,]+(?=(?:[A-Za-z]+=)?[A-Za-z][A-Za-z0-9]*://)|\s+")
_PARTS = re.compile(r"[/?&=:@,#+;]+")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9]{1,20})://(.*)", re.DOTALL)
_LEAST = re.compile(r"(critical|warning)=(?=[A-Za-z][A-Za-z0-9]*://)", re.IGNORECASE)
_PREFIXED = re.compile(r"([A-Za-z]{1,20})=(?:[A-Za-z][A-Za-z0-9]*://.*)?", re.DOTALL)

_NAMES_ITS_HOST: Final = ("json", "jsons", "xml", "xmls", "form", "forms", "mailto", "mailtos")
"""Channels whose URL begins with a user and a host; in others there may be a token in its place."""

_SHORTEST_SECRET: Final = 3

_EXAMPLE: Final = "jsons://hooks.example.org/monitor"

# What the libraries below say of a connection that failed, without the address, in which there may be a token.
_SAYINGS: Final = (
    "Connection refused", "Connection reset", "Connection aborted", "timed out", "Name or service not known",
    "Temporary failure in name resolution", "nodename nor servname", "No route to host", "Network is unreachable",
    "certificate verify failed", "WRONG_VERSION_NUMBER", "Connection unexpectedly closed",
    "SMTP AUTH extension not supported",
)  # fmt: skip


class _Overheard(logging.Handler):
    """Keeps what Apprise says about an attempt, for who makes it, and from everybody else."""

    def __init__(self) -> None:
        super().__init__()
        self._said: ContextVar[list[tuple[int, str]] | None] = ContextVar("said", default=None)

    def emit(self, record: logging.LogRecord) -> None:
        """Note a record, where somebody listens."""
        said = self._said.get()
        if said is not None:
            said.append((record.levelno, record.getMessage()))

    def listen(self) -> list[tuple[int, str]]:
        """Return the list to which the records of this context, as (level, text), are added from now on."""
        lines: list[tuple[int, str]] = []
        self._said.set(lines)
        return lines


_overheard = _Overheard()


class Channel:
    """One way to reach people. `name` and `digest` give no secret away; `digest` tells one URL from another.

    `least` is for pagers: what is less severe is not told there, and no daily report; None: everything is.
    """

    def __init__(self, name: str, url: str, apprise: Apprise, *, least: Severity | None = None) -> None:
        self.name = name
        self.least = least
        self.digest = sha256(url.encode()).hexdigest()[:12]
        self._apprise = apprise
        self._secrets = _secrets_of(url)
        self._hanging = 0

    def __repr__(self) -> str:
        return f"Channel({self.name})"

    def wants(self, severity: Severity) -> bool:
        """Whether people are told here of what is so severe."""
        return self.least is None or SEVERITIES.index(severity) >= SEVERITIES.index(self.least)

    async def send(self, letter: Letter) -> None:
        """Hand a letter over. Raises: ChannelFailed, saying why without a secret.

        It waits in a thread that nothing waits for at the end: what hangs must not keep the process from stopping.
        Nothing waits for its beginning, either: `Thread.start` holds up the event loop until it has had its first turn.
        """
        if self._hanging >= MAX_HANGING:
            raise ChannelFailed(f"{self._hanging} attempts hang")
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[str | None] = loop.create_future()

        def end(problem: str | None) -> None:
            self._hanging -= 1
            if not outcome.done():
                outcome.set_result(problem)

        def work() -> None:
            problem = self._attempt(letter)
            try:
                loop.call_soon_threadsafe(end, problem)
            except RuntimeError:
                return  # the loop is closed, and nobody waits any more

        try:
            start_new_thread(work, ())
        except RuntimeError as error:  # the system gives no more threads; later it may
            raise ChannelFailed(f"no thread to send it in: {error}") from None
        self._hanging += 1  # `end` comes later, in this loop
        try:
            async with asyncio.timeout(SEND_SECONDS):
                problem = await outcome
        except TimeoutError:
            raise ChannelFailed(f"no answer within {SEND_SECONDS:g} s") from None
        if problem is not None:
            raise ChannelFailed(problem)

    def _attempt(self, letter: Letter) -> str | None:
        """Send in this thread, and return what went wrong, None when nothing did."""
        from apprise import NotifyFormat, NotifyType

        said = _overheard.listen()
        try:
            is_sent = self._apprise.notify(
                body=letter.body, title=letter.title, notify_type=NotifyType(letter.mood), body_format=NotifyFormat.TEXT
            )
        except Exception as error:  # noqa: BLE001  # a hundred services' code: whatever it does, the channel failed
            return f"{type(error).__name__} within Apprise"
        return None if is_sent else self._reason(said)

    def _reason(self, said: list[tuple[int, str]]) -> str:
        """Return what Apprise complained of, without the parts of the URL that may be secret."""
        complaints = [text for level, text in said if level >= logging.WARNING]
        text = " ".join(" ".join(complaints).split()) or "not sent, and Apprise does not say why"
        for secret in self._secrets:
            text = text.replace(secret, "***")
        causes = [saying for saying in _SAYINGS if any(saying in line for _, line in said)]
        if causes and causes[0] not in text:
            text = f"{text.rstrip('.')}: {causes[0].lower()}"
        return hide_passwords(text)[:MAX_REASON]


class _Entry(NamedTuple):
    """One URL of a list: a channel, or what is wrong with it."""

    channel: Channel | None
    problem: str | None


def channels_of(alerts: AlertSettings) -> tuple[Channel, ...]:
    """Return the channels that the settings list; takes a second the first time. Raises: ConfigurationError."""
    entries = list(_entries(alerts))
    for entry in entries:
        if entry.problem is not None:
            raise ConfigurationError(entry.problem)
    return tuple(entry.channel for entry in entries if entry.channel is not None)


def channel_problems(alerts: AlertSettings) -> list[str]:
    """Return a line for everything in the list that is no channel, without the secrets in it."""
    return [entry.problem for entry in _entries(alerts) if entry.problem is not None]


def _entries(alerts: AlertSettings) -> Iterator[_Entry]:
    if alerts.channels is None:
        return
    source, where = _source(alerts)
    try:
        import apprise
    except ImportError:
        yield _Entry(None, f"{source}: needs the package apprise; install account-monitor[notify]")
        return
    _keep_quiet()
    urls = list(_listed(alerts.channels.reveal()))
    if not urls:
        yield _Entry(
            None, f"{source}: {where} lists no channel; write one URL a line, such as {_EXAMPLE}, or remove the key"
        )
        return
    if len(set(urls)) > MAX_CHANNELS:
        yield _Entry(
            None, f"{source}: {where} lists {len(set(urls))} channels, expected at most {MAX_CHANNELS}; leave some out"
        )
        return
    asset = apprise.AppriseAsset(
        app_id="account-monitor",
        app_desc="account-monitor",
        async_mode=False,
        service_timeout=0,  # Apprise keeps it with threads that the end of the process waits for
        storage_mode=apprise.PersistentStoreMode.MEMORY,
    )
    counts: dict[str, int] = {}
    known: dict[str, tuple[int, Severity | None]] = {}
    for number, listed in enumerate(urls, start=1):
        least, url = _least(listed)
        first, urgency = known.setdefault(url, (number, least))
        if first != number:
            if urgency != least:
                text = f"{source}: entry {number} of {where} is the URL of entry {first}"
                change = f"with {_prefix(least)} before it instead of {_prefix(urgency)}"
                yield _Entry(None, f"{text}, {change}; list each URL once")
            continue
        made = apprise.Apprise(asset=asset)
        scheme = _scheme(url)
        if scheme is None or not made.add(url):
            shown = "" if scheme is None else f" ({scheme}://…)"
            text = f"{source}: entry {number} of {where}{shown} is no URL that Apprise understands"
            yield _Entry(None, f"{text}: {_advice(url)}; docs/alerts.md shows some")
            continue
        counts[scheme] = count = counts.get(scheme, 0) + 1
        yield _Entry(Channel(scheme if count == 1 else f"{scheme} #{count}", url, made, least=least), None)


def _source(alerts: AlertSettings) -> tuple[str, str]:
    """Return the key that names the list, and what it names."""
    if alerts.channels_file is not None:
        return "alerts.channels_file", str(alerts.channels_file)
    return "alerts.channels_env", str(alerts.channels_env)


def _listed(text: str) -> Iterator[str]:
    """Yield the URLs of a list: separated by spaces, lines or commas; a line that begins with # says nothing."""
    for line in text.splitlines():
        if not line.lstrip().startswith("#"):
            yield from filter(None, (url.strip(",") for url in _LISTED.split(line.strip())))


def _least(listed: str) -> tuple[Severity | None, str]:
    """Return from which severity on a channel is told, and its URL."""
    match = _LEAST.match(listed)
    if match is None:
        return None, listed
    return ("CRITICAL" if match[1].lower() == "critical" else "WARNING"), listed[match.end() :]


def _advice(listed: str) -> str:
    """Return what to write instead of an entry that is no channel; of the entry, nothing that may be a secret."""
    prefixed, scheme = _PREFIXED.fullmatch(listed), _scheme(listed)
    if prefixed is not None:
        word = prefixed[1].lower()
        if word not in ("critical", "warning"):
            return f"before a URL stands critical=, warning= or nothing, but not {word}="
        return f"behind {word}= comes the URL, without a space, such as {word}={_EXAMPLE}"
    if scheme is None:
        return f"it begins with the name of a service and ://, such as {_EXAMPLE}"
    if scheme in ("http", "https"):
        return f"a webhook is written as json{scheme[4:]}:// instead of {scheme}://"
    forms = _forms_of(scheme)
    if not forms:
        return f"it has no service {scheme}; https://appriseit.com/services/ lists those that it has"
    return f"expected {forms[0]}, with @, / and spaces within a password as %40, %2F and %20"


def _forms_of(scheme: str) -> list[str]:
    """Return how the URLs of a service are made up, as Apprise says; none where it has no such service."""
    from apprise.manager_plugins import NotificationManager

    services = NotificationManager()  # type: ignore[no-untyped-call]  # Apprise states no types here
    if scheme not in services:
        return []
    return [form.format_map(_Named(schema=scheme)) for form in services[scheme].templates]


class _Named(dict[str, str]):
    """Keeps the names of what is not known in a form: `{token}` stays `{token}`."""

    def __missing__(self, name: str) -> str:
        return f"{{{name}}}"


def _prefix(least: Severity | None) -> str:
    return "nothing" if least is None else f"{least.lower()}="


def _scheme(url: str) -> str | None:
    match = _SCHEME.match(url)
    return None if match is None else match[1].lower()


def _secrets_of(url: str) -> tuple[str, ...]:
    """Return what must not be shown of a URL, the longest first: all but its scheme and the name of a host."""
    match = _SCHEME.match(url)
    if match is None:
        return (url,)
    scheme, rest = match[1].lower(), match[2]
    shown: set[str] = set()
    if scheme in _NAMES_ITS_HOST:
        shown.update(_PARTS.split(re.split(r"[/?]", rest, maxsplit=1)[0].rpartition("@")[2]))
    parts = {part for written in _PARTS.split(rest) for part in (written, unquote(written))}
    secrets = {part for part in parts - shown if len(part) >= _SHORTEST_SECRET}
    return tuple(sorted(secrets, key=len, reverse=True))


def _keep_quiet() -> None:
    """Keep from the log what Apprise and its libraries say: there are URLs in it, and tokens in these."""
    logger = logging.getLogger("apprise")
    if _overheard not in logger.handlers:
        logger.addHandler(_overheard)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
    for name in ("urllib3", "requests", "requests_oauthlib", "oauthlib"):
        logging.getLogger(name).propagate = False
        logging.getLogger(name).addHandler(logging.NullHandler())
