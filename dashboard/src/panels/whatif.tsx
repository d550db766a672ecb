import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { shownLedgers } from "../book.ts";
import { percent, shown, signed } from "../decimal.ts";
import { repeatedly } from "../repeatedly.ts";
import { read } from "../rest.ts";
import type { WhatIf as Answer } from "../wire.ts";
import { Empty, Panel } from "./panel.tsx";

const SETTLE_MS = 120;
/** How old its figures may be: those beside it change with the prices. */
const AGAIN_MS = 3_000;
const MOST = 50;

export function WhatIf() {
  const shock = useSignal(-10);
  const told = useSignal<Answer | null>(null);
  const problem = useSignal("");
  const one = shownLedgers.value.length === 1 ? shownLedgers.value[0] : undefined;
  const name = one?.name;

  useEffect(() => {
    told.value = null; // another account's figures
    problem.value = "";
  }, [name]);

  useEffect(() => {
    if (name === undefined) return;
    const ask = (signal: AbortSignal): Promise<Answer> => read("/api/whatif", { account: name, shock: `${shock.value}%` }, signal);
    const show = (answer: Answer): void => {
      told.value = answer;
      problem.value = "";
    };
    return repeatedly(ask, show, (why) => (problem.value = why), { everyMs: AGAIN_MS, firstMs: SETTLE_MS });
  }, [name, shock.value, one?.snapshots.value]);

  if (name === undefined) return <Panel title="What if" id="whatif"><Empty>Choose one account.</Empty></Panel>;
  const answer = told.value;
  return (
    <Panel title="What if" id="whatif">
      <label class="slider">
        All prices move by <output>{signed(String(shock.value))} %</output>
        <input
          type="range"
          min={-MOST}
          max={MOST}
          value={shock.value}
          aria-valuetext={`${shock.value} percent`}
          onInput={(event) => (shock.value = Number(event.currentTarget.value))}
        />
      </label>
      {problem.value && <p class="loss" role="alert">{problem.value}</p>}
      {answer && (
        <div class={problem.value ? "old" : ""}>
          <div class="scroll" tabIndex={0} role="region" aria-label="What if, scrollable">
            <table>
              <thead>
                <tr><td /><th scope="col" class="number">now</th><th scope="col" class="number">then</th></tr>
              </thead>
              <tbody>
                <tr><th scope="row">Equity</th><td class="number">{shown(answer.before.equity, 2)}</td><td class="number">{shown(answer.after.equity, 2)}</td></tr>
                <tr><th scope="row">Margin ratio</th><td class="number">{percent(answer.before.margin_ratio)}</td><td class="number">{percent(answer.after.margin_ratio)}</td></tr>
                <tr><th scope="row">Leverage</th><td class="number">{shown(answer.before.leverage, 2)}</td><td class="number">{shown(answer.after.leverage, 2)}</td></tr>
                <tr><th scope="row">Available</th><td class="number">{shown(answer.before.available_margin, 2)}</td><td class="number">{shown(answer.after.available_margin, 2)}</td></tr>
              </tbody>
            </table>
          </div>
          {answer.liquidated.length === 0 ? (
            <p class="faint">Nothing would be liquidated on the way.</p>
          ) : (
            answer.liquidated.map((each) => (
              <p key={each.pool} class="loss">
                Liquidated after {signed(each.after_pct, 2)} %: {each.positions.join(", ")} ({each.pool})
              </p>
            ))
          )}
        </div>
      )}
    </Panel>
  );
}
