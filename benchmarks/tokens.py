"""What a token costs each request, what it costs to refuse one, and whether time tells two wrong ones apart."""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable
from contextlib import suppress

from account_monitor.api.access import TokenAccess
from account_monitor.api.flood import Pace
from account_monitor.api.problems import Refused
from account_monitor.clock import now_ms
from account_monitor.tokens import TokenSet, new_token

ROUNDS, CALLS, TOKENS = 25, 5_000, 100
HERE = "10.0.0.1"


def main() -> None:
    """Print the best of many rounds: what else runs on the machine only adds."""
    made = [new_token(f"t{n}", "read", ["main"], now_ms=now_ms(), by="bench", lifetime_ms=10**9) for n in range(TOKENS)]
    tokens = TokenSet(token for token, _ in made)
    text = made[TOKENS // 2][1]
    wrong = text[:-1] + ("A" if text[-1] != "A" else "B")
    unknown = "am_0123456789ab_" + text.split("_", 2)[2]
    access = TokenAccess(tokens, clock=now_ms, rate_per_second=1e9)
    pace = Pace(1e9, time.monotonic)

    def refuse() -> None:
        with suppress(Refused):
            access.caller(wrong, HERE)

    print(f"let in with a valid token        {_microseconds(lambda: access.caller(text, HERE)):5.2f} µs")
    print(f"  of that, its rate              {_microseconds(lambda: pace.wait('t', HERE)):5.2f} µs")
    print(f"refused with a wrong one         {_microseconds(refuse):5.2f} µs")
    print(f"not recognized: unknown id       {_microseconds(lambda: tokens.recognize(unknown)):5.2f} µs")
    print(f"not recognized: wrong secret     {_microseconds(lambda: tokens.recognize(wrong)):5.2f} µs")


def _microseconds(work: Callable[[], object]) -> float:
    return min(timeit.repeat(work, number=CALLS, repeat=ROUNDS)) / CALLS * 1e6
