"""`key_permissions: refuse`: an account whose key may do more than read is not followed, and the others are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.service import Service
from tests.integration.simulated_exchange import Simulation

pytestmark = pytest.mark.integration


def test_an_account_whose_key_may_trade_is_not_followed_and_the_others_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {"TEST_API_KEY": "demo-key", "TEST_SECRET_KEY": "demo-secret",
            "READER_KEY": "reader", "READER_SECRET": "reader-secret"}  # fmt: skip
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    with Simulation() as exchange:
        exchange.admin("POST", "accounts", api_key="reader", secret="reader-secret", permissions=["READ"])
        reader = {"name": "reader", "api_key_env": "READER_KEY", "secret_key_env": "READER_SECRET"}
        accounts = [exchange.account(key_permissions="refuse", **more) for more in ({}, reader)]
        service = Service(tmp_path, None, accounts)
        try:
            service.start(wait=False)
            service.wait_until(lambda: "USDT" in service.get("/api/balance?account=reader")[1], "followed")
            service.wait_until(lambda: "KEY_PERMISSIONS" in str(service.get("/health")), "told of")

            assert service.account("main")["balances"] == {}
            refused = "account main: key_permissions is refuse, and the account may trade"
            service.wait_until(lambda: refused in str(service.get("/ready")), "said why not")
            status, body = service.get("/ready")
            assert status == 503
            assert "account reader" not in str(body)
            shown = service.command("status", "--account", "main", "--config", str(service.config_file)).stdout
            assert shown.startswith("not ready: account main: key_permissions is refuse, and the account may trade")
            assert "degraded  exchange:main  " in shown
        finally:
            service.stop()
