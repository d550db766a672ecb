"""Composition: puts the rooms together for one process. The only room that knows every other."""

from account_monitor.app.app import RELOAD_AGAIN_SECONDS, App

__all__ = ["RELOAD_AGAIN_SECONDS", "App"]
