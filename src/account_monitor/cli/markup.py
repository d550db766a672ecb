"""Markup: HTML in which every text is escaped, because only what was built here is taken as it is."""

from __future__ import annotations

from html import escape
from typing import TypeAlias

from account_monitor.cli.screen import visible


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Child: TypeAlias = str | Html | None

_VOID = frozenset({"meta", "rect", "path", "line"})


def element(name: str, /, *children: Child, **attributes: str | None) -> Html:
    """Return an element. An attribute that is None is left out; `class_` is `class`, `view_box` is `viewBox`."""
    written = "".join(
        f' {_ATTRIBUTES.get(key, key.replace("_", "-"))}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID and not children:
        return Html(f"<{name}{written}/>")
    return Html(f"<{name}{written}>{joined(*children)}</{name}>")


_ATTRIBUTES = {"class_": "class", "view_box": "viewBox", "preserve_aspect_ratio": "preserveAspectRatio",
               "http_equiv": "http-equiv", "aria_label": "aria-label"}  # fmt: skip


def joined(*children: Child) -> Html:
    """Return children one after the other, each escaped unless it is HTML."""
    return Html("".join(each if isinstance(each, Html) else escape(each) for each in children if each is not None))


def foreign(text: str) -> Html:
    """Return a text that somebody else chose, kept apart from what stands around it."""
    return element("bdi", visible(text))
