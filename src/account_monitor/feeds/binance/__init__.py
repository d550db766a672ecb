"""Binance USD-M futures: what the exchange says about an account, as events."""
