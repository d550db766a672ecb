"""Letters: what people read. One short title that says it all, and plain text below it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final, Literal, NamedTuple, TypeAlias

from account_monitor.config.secrets import hide_passwords
from account_monitor.ledger.alerts import SEVERITIES, Alert, Severity
from account_monitor.ledger.money import to_text
from account_monitor.monitor.reports import time_text
from account_monitor.notifiers.rounding import rounded

Mood: TypeAlias = Literal["info", "success", "warning", "failure"]
"""What Apprise calls the type of a notification: it chooses color, icon and urgency where a service has any."""

MAX_LINES: Final = 30
"""Of a summary."""

_MOODS: Final[dict[Severity, Mood]] = {"INFO": "info", "WARNING": "warning", "CRITICAL": "failure"}

_UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


class Letter(NamedTuple):
    """One message to people."""

    title: str
    body: str
    mood: Mood = "info"


class Told(NamedTuple):
    """An alert as of one transition, and whose it is."""

    account: str
    alert: Alert


class Outage(NamedTuple):
    """From when to when a channel took no letters."""

    from_ms: int
    to_ms: int


def transition_letter(told: Told) -> Letter:
    """Say what became of one alert."""
    alert = told.alert
    mood: Mood = "success" if alert.state == "RESOLVED" else _MOODS[alert.severity]
    return Letter(headline(told), _body(told), mood)


def reminder_letter(told: Told, now_ms: int) -> Letter:
    """Say that an alert fires still."""
    lasted = duration_text(now_ms - told.alert.fired_ms)
    return Letter(f"STILL {headline(told)} ({lasted})", _body(told), _MOODS[told.alert.severity])


def summary_letter(transitions: Sequence[Told], *, outage: Outage | None = None) -> Letter:
    """Say in one letter what became of several alerts, each as of its last transition, the worst first."""
    latest = list({(told.account, told.alert.id): told for told in transitions}.values())
    latest.sort(key=_urgency)
    firing = [told for told in latest if told.alert.state == "FIRING"]
    lines = _bounded(latest, headline)
    if outage is not None:
        lines.insert(0, f"Nothing could be sent here {_span(outage)}. Meanwhile:")
    title = f"{_counted(firing, len(latest) - len(firing))} ({', '.join(_accounts(latest))})"
    return Letter(_clean(title), _clean("\n".join(lines)), _worst(firing))


def standing_letter(standing: Sequence[Told], now_ms: int) -> Letter:
    """Remind of several alerts at once, the worst first."""
    ordered = sorted(standing, key=_urgency)
    lines = _bounded(ordered, lambda told: f"{headline(told)} ({duration_text(now_ms - told.alert.fired_ms)})")
    title = f"STILL {_counted(ordered, 0)} ({', '.join(_accounts(ordered))})"
    return Letter(_clean(title), _clean("\n".join(lines)), _worst(ordered))


def headline(told: Told) -> str:
    """Say in one line: how bad, whose, what, where, the figure against its threshold, since when, and why.

    A transition that says who looks after it begins with that; a later one with how bad it is.
    """
    account, alert = told
    what = " ".join(filter(None, (account, alert.type, alert.symbol)))
    if alert.state == "RESOLVED":
        return _clean(f"RESOLVED {what} after {duration_text(alert.at_ms - alert.fired_ms)}")
    cause = "" if alert.cause is None else f", cause {alert.cause}"
    if alert.acked_by is not None and alert.at_ms == alert.acked_ms:
        return _clean(f"ACKNOWLEDGED by {alert.acked_by}: {alert.severity} {what}{cause}")
    acknowledged = "" if alert.acked_by is None else f", acknowledged by {alert.acked_by}"
    since = f"since {moment_text(alert.fired_ms)}"
    return _clean(f"{alert.severity} {what}{_figures(alert)} {since}{cause}{acknowledged}")


def duration_text(milliseconds: int) -> str:
    """Return a duration with its two largest units, such as `5 min 3 s`; below a second in milliseconds."""
    if milliseconds < 1000:
        return f"{max(0, milliseconds)} ms"
    seconds, parts = milliseconds // 1000, list[str]()
    for size, unit in _UNITS:
        count, seconds = divmod(seconds, size)
        if count or parts:
            parts.append(f"{count} {unit}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(filter(None, parts))


def moment_text(at_ms: int) -> str:
    """Return a time as `2026-11-22 12:00:05Z`."""
    text = time_text(at_ms)
    return f"{text[:10]} {text[11:19]}Z"


def figure(value: Decimal) -> str:
    """Return a figure with at most eight decimal places; a leverage may have no end."""
    if not value.is_finite():
        return "∞" if value > 0 else "−∞"
    return to_text(rounded(value, 8))


def _figures(alert: Alert) -> str:
    if alert.value is None:
        return ""
    against = "" if alert.threshold is None else f" against {figure(alert.threshold)}"
    return f": {figure(alert.value)}{against}"


def _body(told: Told) -> str:
    alert = told.alert
    lines = [alert.message]
    if alert.cause is not None:
        lines.append(f"Cause: {alert.cause}")
    if alert.state == "RESOLVED":
        lines.append(f"From {moment_text(alert.fired_ms)} to {moment_text(alert.at_ms)}")
    lines.append(f"Alert {alert.id}, transition {alert.revision}")
    return _clean("\n".join(lines))


def _urgency(told: Told) -> tuple[bool, int, int]:
    """The order in which people should read: what fires, the severe first, then the oldest."""
    alert = told.alert
    return alert.state == "RESOLVED", -SEVERITIES.index(alert.severity), alert.fired_ms


def _counted(firing: Sequence[Told], resolved: int) -> str:
    counts = Counter(told.alert.severity for told in firing)
    parts = [f"{counts[severity]} {severity}" for severity in reversed(SEVERITIES) if counts[severity]]
    if resolved:
        parts.append(f"{resolved} RESOLVED")
    return ", ".join(parts)


def _accounts(told: Sequence[Told], most: int = 5) -> list[str]:
    names = list(dict.fromkeys(each.account for each in told))
    return names if len(names) <= most else [*names[:most], f"{len(names) - most} more"]


def _worst(firing: Sequence[Told]) -> Mood:
    if not firing:
        return "success"
    return _MOODS[max((told.alert.severity for told in firing), key=SEVERITIES.index)]


def _bounded(told: Sequence[Told], line: Callable[[Told], str]) -> list[str]:
    """Return a line for each of the first ones, and how many more there are."""
    lines = [line(each) for each in told[:MAX_LINES]]
    return lines if len(told) <= MAX_LINES else [*lines, f"and {len(told) - MAX_LINES} more"]


def _span(outage: Outage) -> str:
    lasted = duration_text(outage.to_ms - outage.from_ms)
    return f"from {moment_text(outage.from_ms)} to {moment_text(outage.to_ms)} ({lasted})"


def _clean(text: str) -> str:
    """Return the text as it may leave: no passwords, and nothing that does not print but the ends of lines."""
    return "".join(letter for letter in hide_passwords(text) if letter.isprintable() or letter == "\n")
