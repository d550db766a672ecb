"""The demonstration: a NATS server of its own, recorded fills, then a market that never ends."""
