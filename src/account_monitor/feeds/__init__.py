"""Feeds: what did we hear? Bytes from outside become events, or the reason why they are none."""
