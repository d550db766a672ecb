"""An escape in the text must not hide a key that comes twice from the quick reader."""

from __future__ import annotations

import pytest

from account_monitor.errors import MalformedEvent
from account_monitor.feeds.wire import fill_from_json


def test_a_key_that_comes_twice_is_found_behind_an_escaped_colon() -> None:
    payload = (
        rb'{"id":"1","symbol":"BTCUSDT","side":"BUY","quantity":"1","price":"100","price":"900",'
        rb'"timestamp":"2026-11-22T12\u003a00:00.000Z"}'
    )

    with pytest.raises(MalformedEvent, match="price"):
        fill_from_json(payload)
