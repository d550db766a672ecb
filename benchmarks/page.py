"""How long from a fill to the changed pixel, how many frames a second does the page draw, and how soon is it there?

The service runs as users run it, with 200 positions and 100 prices a second, on the two cores that the browser needs,
too. Chromium draws without a graphics card here, which is slower than any reader's. A fill is sent when NATS is given
it; its pixel has changed once the frame that shows the new quantity was drawn.
"""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
import time
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
from playwright.async_api import Page

from account_monitor.clock import now_ms
from account_monitor.ledger.events import Fill
from account_monitor.ledger.money import to_text
from account_monitor.monitor.reports import time_text
from benchmarks.fills import START_MS, message
from benchmarks.histogram import histogram, shares
from tests.browser.chromium import looking_at
from tests.integration.nats_server import NatsServer, add_stream
from tests.integration.service import Service

POSITIONS = 200
PRICES_PER_SECOND = 100
PROBES = 200
FRAMES_SECONDS = 15.0
PATIENCE_SECONDS = 10.0

SYMBOLS = tuple(f"C{number:03}USDT" for number in range(POSITIONS))
ONE = Decimal(1)

WATCH = """() => {
  window.seen = [];
  const shown = () => performance.timeOrigin + performance.now();
  new MutationObserver(changes => {
    for (const change of changes) {
      const cell = (change.target.parentElement ?? change.target).closest?.("[data-field=quantity]");
      if (!cell) continue;
      const key = cell.closest("tr").dataset.key, text = cell.textContent;
      setTimeout(() => window.seen.push([key, text, shown()]));  // the page writes within a frame: once that is drawn
    }
  }).observe(document.querySelector("#positions"), {subtree: true, characterData: true, childList: true});
}"""
FRAMES = """seconds => new Promise(done => {
  const frames = [], long = [];
  new PerformanceObserver(list => long.push(...list.getEntries())).observe({type: "longtask"});
  const draw = at => {
    frames.push(at);
    if (at - frames[0] < seconds * 1000) requestAnimationFrame(draw); else done([frames, long.length]);
  };
  requestAnimationFrame(draw);
})"""
FIRST_PAINT = (
    """() => performance.getEntriesByType("paint").find(each => each.name === "first-contentful-paint")?.startTime"""
)


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder, NatsServer(Path(folder) / "nats", flushes=False) as server:
        service = Service(Path(folder), server.url)
        try:
            asyncio.run(_measure(server, service))
        finally:
            service.stop()


async def _measure(server: NatsServer, service: Service) -> None:
    client = await server.connect()
    await add_stream(client.jetstream())
    await asyncio.to_thread(service.start)
    held = dict.fromkeys(SYMBOLS, Decimal(0))
    number = 0

    async def buy(symbol: str) -> tuple[str, float]:
        """Buy one contract; return what the page has to show, and when it was sent."""
        nonlocal number
        number += 1
        held[symbol] += ONE
        fill = Fill(
            symbol, str(number), "BUY", ONE, Decimal(100), START_MS + number,
            fee=Decimal(0), fee_asset="USDT", order_id=str(number), maker=False,
        )  # fmt: skip
        sent_ms = time.time() * 1000
        await client.publish("trading.fills.main", message(fill))
        await client.flush()
        return to_text(held[symbol]), sent_ms

    for symbol in SYMBOLS:
        await buy(symbol)
    pricing = asyncio.create_task(_publish_prices(client))
    async with looking_at(f"http://127.0.0.1:{service.http_port}/") as page:
        await page.wait_for_function(f"document.querySelectorAll('tr[data-key]').length === {POSITIONS}")
        print(f"first contentful paint: {await page.evaluate(FIRST_PAINT):.0f} ms")
        await _print_frames(page)
        await page.evaluate(WATCH)
        wanted = []
        for _ in range(PROBES):
            symbol = random.choice(SYMBOLS)
            wanted.append((symbol, *await buy(symbol)))
            await asyncio.sleep(random.uniform(0.05, 0.15))  # against the beat of the frames
        taken = await _until_seen(page, wanted)
        print(f"fill to pixel, {len(taken)} fills: {shares(taken)}", histogram(taken), sep="\n")
    pricing.cancel()
    await client.close()


async def _publish_prices(client: Any) -> None:
    started, number = time.perf_counter(), 0
    while True:
        number += 1
        price = f"{100 + (number % 97) / 100:.2f}"
        told = {"symbol": SYMBOLS[number % POSITIONS], "price": price, "timestamp": time_text(now_ms())}
        await client.publish("trading.prices", json.dumps(told).encode())
        await asyncio.sleep(max(0.0, started + number / PRICES_PER_SECOND - time.perf_counter()))


async def _until_seen(page: Page, wanted: list[tuple[str, str, float]]) -> list[float]:
    """Return how many milliseconds each fill took to be seen, in order; one that never is ends the benchmark."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        seen: dict[tuple[str, str], float] = {}
        for key, text, at_ms in await page.evaluate("window.seen"):
            seen.setdefault((key, text), at_ms)
        missing = [(key, text) for key, text, _ in wanted if (key, text) not in seen]
        if not missing:
            return sorted(seen[key, text] - sent_ms for key, text, sent_ms in wanted)
        if time.monotonic() > deadline:
            raise AssertionError(f"never seen: {missing[:5]}")
        await asyncio.sleep(0.2)


async def _print_frames(page: Page) -> None:
    client = await page.context.new_cdp_session(page)
    await client.send("Performance.enable")

    async def busy() -> float:
        told = await client.send("Performance.getMetrics")
        return next(float(each["value"]) for each in told["metrics"] if each["name"] == "TaskDuration")

    before = await busy()
    frames, long = await page.evaluate(FRAMES, FRAMES_SECONDS)
    share = (await busy() - before) / FRAMES_SECONDS
    gaps = sorted(later - earlier for earlier, later in pairwise(frames))
    rate = (len(frames) - 1) / (frames[-1] - frames[0]) * 1000
    print(f"{POSITIONS} positions, {PRICES_PER_SECOND} prices a second; load {psutil.getloadavg()[0]:.1f}")
    print(f"{rate:.1f} frames a second, between frames: {shares(gaps)}; {long} tasks of 50 ms and more")
    print(f"the page's own thread is busy {share:.0%} of the time")
