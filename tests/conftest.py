"""What every test starts with: exact arithmetic, as in the service."""

from __future__ import annotations

from account_monitor.ledger.money import use_exact_arithmetic

use_exact_arithmetic()
