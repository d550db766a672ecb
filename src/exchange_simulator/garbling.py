"""Garbling: how does a message look after something on its way, or at its source, went wrong?

Each function takes the text of a sound message and returns another text. Pure, given the random numbers.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from exchange_simulator.wire import to_json

BAD_NUMBERS = (
    "NaN", "sNaN", "Infinity", "-Infinity", "1e999999", "-1e999999", "1_000", " 1", "0x10", "", "١٢٣", "1,5", "--1",
    "null", "1" * 400,
)  # fmt: skip
"""What no number of the venue looks like."""

_Leaf = tuple[Any, Any]  # a container, and the key or index in it


def half(text: str, _generator: random.Random) -> str:
    return text[: len(text) // 2]


def wrong_type(text: str, generator: random.Random) -> str:
    """Turn a number into text, or a text into a number, a list or null."""
    return _change_leaf(text, generator, lambda value: _retyped(value, generator))


def bad_number(text: str, generator: random.Random) -> str:
    """Put something that is no number where a number was, in quotes or, as some libraries write it, without."""
    message, leaves = _leaves(text)
    numbers = [(box, key) for box, key in leaves if _is_number(box[key])]
    if not numbers:
        return text
    box, key = generator.choice(numbers)
    if isinstance(box[key], int):
        box[key] = generator.choice((float("nan"), float("inf"), 1e308, -1, 10**400))
    else:
        box[key] = generator.choice(BAD_NUMBERS)
    return to_json(message)


def missing_key(text: str, generator: random.Random) -> str:
    message, leaves = _leaves(text)
    keyed = [(box, key) for box, key in leaves if isinstance(box, dict)]
    if keyed:
        box, key = generator.choice(keyed)
        del box[key]
    return to_json(message)


def extra_key(text: str, generator: random.Random) -> str:
    message, leaves = _leaves(text)
    boxes = [box for box, _ in leaves if isinstance(box, dict)]
    if boxes:
        generator.choice(boxes)["zz"] = {"new": [1, "2", None, True]}
    return to_json(message)


def duplicate_key(text: str, generator: random.Random) -> str:
    """Put a key of the outermost object in twice; most readers take the last."""
    message = json.loads(text)
    if not isinstance(message, dict) or not message:
        return text
    key = generator.choice(list(message))
    return to_json({key: "0"})[:-1] + "," + to_json(message)[1:]


def invalid_utf8(text: str, generator: random.Random) -> str:
    """Put bytes into the text that are no UTF-8, as lone surrogates; see wire.Text."""
    at = generator.randrange(1, max(2, len(text)))
    return text[:at] + b"\xff\xfe\xc0".decode("utf-8", "surrogateescape") + text[at:]


def byte_order_mark(text: str, _generator: random.Random) -> str:
    return "﻿" + text


CHANGES: dict[str, Callable[[str, random.Random], str]] = {
    "missing_key": missing_key,
    "extra_key": extra_key,
    "wrong_types": wrong_type,
    "bad_number": bad_number,
    "duplicate_key": duplicate_key,
    "cut_json": half,
    "invalid_utf8": invalid_utf8,
    "byte_order_mark": byte_order_mark,
}
"""The faults that change one message, those first that still need to read it."""


def unknown_event(now_ms: int) -> str:
    return to_json({"e": "SOMETHING_NEW", "E": now_ms, "T": now_ms, "x": {"s": "BTCUSDT", "v": "1"}})


def huge(now_ms: int, size: int) -> str:
    frame = to_json({"e": "SOMETHING_LARGE", "E": now_ms, "x": ""})
    return frame[:-2] + "x" * max(0, size - len(frame)) + frame[-2:]


def nested(depth: int) -> str:
    return '{"e":"SOMETHING_DEEP","x":' + "[" * depth + "]" * depth + "}"


def conflicting(text: str) -> str | None:
    """Return the same fill under the same trade id with another price and fee, None if this is no fill."""
    message = json.loads(text)
    event = message.get("data", message) if isinstance(message, dict) else {}
    order = event.get("o") if isinstance(event, dict) else None
    if not isinstance(order, dict) or event.get("e") != "ORDER_TRADE_UPDATE" or order.get("l", "0") == "0":
        return None
    if order.get("x") not in ("TRADE", "CALCULATED"):
        return None
    for name in ("L", "n"):
        order[name] = _raised(order.get(name, "0"))
    return to_json(message)


def _raised(number: str) -> str:
    """Return a number whose first digit that is not zero is another one."""
    for index, digit in enumerate(number):
        if digit in "123456789":
            return number[:index] + ("1" if digit == "9" else str(int(digit) + 1)) + number[index + 1 :]
    return "1"


def _leaves(text: str) -> tuple[Any, list[_Leaf]]:
    message = json.loads(text)
    found: list[_Leaf] = []
    open_boxes: list[Any] = [message]
    while open_boxes:
        box = open_boxes.pop()
        items: Any = box.items() if isinstance(box, dict) else enumerate(box) if isinstance(box, list) else ()
        for key, value in items:
            if isinstance(value, dict | list):
                open_boxes.append(value)
            else:
                found.append((box, key))
    return message, found


def _change_leaf(text: str, generator: random.Random, change: Callable[[Any], Any]) -> str:
    message, leaves = _leaves(text)
    if leaves:
        box, key = generator.choice(leaves)
        box[key] = change(box[key])
    return to_json(message)


def _retyped(value: Any, generator: random.Random) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if _is_number(value) and generator.random() < 0.5:
        return float(value)
    return generator.choice((None, [value], {"value": value}, True, 7))


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return True
    return isinstance(value, str) and value.lstrip("-").replace(".", "", 1).isdecimal()
