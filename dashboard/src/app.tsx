import { useEffect } from "preact/hooks";
import { health, shownLedgers } from "./book.ts";
import { isLive } from "./link.ts";
import { Alerts } from "./panels/alerts.tsx";
import { Balances } from "./panels/balances.tsx";
import { Door } from "./panels/door.tsx";
import { Equity } from "./panels/equity.tsx";
import { Fills } from "./panels/fills.tsx";
import { Guarded } from "./panels/guarded.tsx";
import { Header } from "./panels/header.tsx";
import { Key } from "./panels/key.tsx";
import { Positions } from "./panels/positions.tsx";
import { Reports } from "./panels/reports.tsx";
import { Opening } from "./panels/opening.tsx";
import { Sources } from "./panels/sources.tsx";
import { Waterfall } from "./panels/waterfall.tsx";
import { WhatIf } from "./panels/whatif.tsx";
import { refusal } from "./token.ts";

export function App() {
  useEffect(() => {
    document.title = health.value && health.value.status !== "healthy" ? "⚠ account-monitor" : "account-monitor";
  }, [health.value?.status]);
  if (refusal.value !== null) return <Door />;
  return (
    <>
      <a class="skip" href="#positions">Skip to positions</a>
      <Guarded name="Top"><Header /></Guarded>
      {shownLedgers.value.length === 0 ? <Guarded name="Accounts"><Opening /></Guarded> : <Account />}
      <footer>
        Times are UTC
        {" · "}
        Charts: <a href="https://www.tradingview.com/" rel="noreferrer noopener" target="_blank">TradingView Lightweight Charts™</a>
        {" · "}
        <a href="/docs">API reference</a>
        {health.value && ` · version ${health.value.version}`}
      </footer>
    </>
  );
}

function Account() {
  return (
    <main class={isLive.value ? "" : "old"}>
      <Guarded name="Key figures"><Key /></Guarded>
      <div class="columns wide">
        <Guarded name="Equity"><Equity /></Guarded>
        <Guarded name="Alerts"><Alerts /></Guarded>
      </div>
      <Guarded name="Positions"><Positions /></Guarded>
      <div class="columns three">
        <Guarded name="Fills"><Fills /></Guarded>
        <Guarded name="Balances"><Balances /></Guarded>
        <Guarded name="Reconciliation"><Reports /></Guarded>
      </div>
      <div class="columns three">
        <Guarded name="Why equity changed"><Waterfall /></Guarded>
        <Guarded name="What if"><WhatIf /></Guarded>
        <Guarded name="Sources"><Sources /></Guarded>
      </div>
    </main>
  );
}
