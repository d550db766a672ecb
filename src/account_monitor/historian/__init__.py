"""Historian: keeps the history in a process of its own, so that no database can slow or blind the monitor."""
