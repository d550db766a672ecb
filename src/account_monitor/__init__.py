"""account-monitor: knows the true state of trading accounts, and can prove it."""

__version__ = "0.1.0"
