"""Who placed the order behind a missed fill, by the id that the exchange gave it."""

from __future__ import annotations

import pytest

from account_monitor.errors import MalformedEvent
from account_monitor.feeds.binance.answers import OrderAnswer, order_of
from account_monitor.feeds.binance.orders import placed_by


@pytest.mark.parametrize(
    ("client_order_id", "cause"),
    [
        ("autoclose-1646759180079333112", "LIQUIDATION"),
        ("adl_autoclose", "ADL"),
        ("settlement_autoclose-1", "SETTLEMENT"),
        ("web_tvwAW", "FOREIGN_ORDER"),
        ("android_WrDCjqlzTWlU9FGcNp1Q", "FOREIGN_ORDER"),
        ("ios_1", "FOREIGN_ORDER"),
        ("x-bot-17", "MISSED_FILL"),
        ("website", "MISSED_FILL"),
        ("", "MISSED_FILL"),
    ],
)
def test_ids_tell_what_the_exchange_and_its_page_did_from_what_a_bot_did(client_order_id: str, cause: str) -> None:
    assert placed_by(client_order_id) == cause


def test_an_order_is_read_by_its_three_names_and_nothing_is_guessed() -> None:
    body = b'{"symbol":"BTCUSDT","orderId":9223372036854775807,"clientOrderId":"web_1","status":"FILLED"}'
    assert order_of(body) == OrderAnswer("BTCUSDT", "9223372036854775807", "web_1")
    with pytest.raises(MalformedEvent):
        order_of(b'{"symbol":"BTCUSDT","orderId":"7"}')
