import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { shownLedgers } from "../book.ts";
import { isKnown, shown, sign, signed, signShown, sum } from "../decimal.ts";
import { explained, type Explained } from "../explanation.ts";
import { repeatedly } from "../repeatedly.ts";
import type { Decimal, Explanation } from "../wire.ts";
import { Choice } from "./choice.tsx";
import { Empty, Panel, tone } from "./panel.tsx";

const SPANS = [
  { name: "1 h", ms: 3_600_000 },
  { name: "1 d", ms: 86_400_000 },
  { name: "all", ms: null },
] as const;

const AGAIN_MS = 30_000;
const WIDTH = 120;
/** What was there to begin with: beside it nothing else would be seen. */
const GIVEN = new Set(["opening", "priced later", "transfers"]);

export function Waterfall() {
  const chosenSpan = useSignal<(typeof SPANS)[number]>(SPANS[0]);
  const told = useSignal<Explained | null>(null);
  const problem = useSignal("");
  const one = shownLedgers.value.length === 1 ? shownLedgers.value[0] : undefined;
  const name = one?.name;

  useEffect(() => {
    told.value = null;
    problem.value = "";
    if (name === undefined) return;
    const { ms } = chosenSpan.value;
    const ask = (signal: AbortSignal): Promise<Explained> => explained(name, ms === null ? undefined : new Date(Date.now() - ms).toISOString(), signal);
    const show = (answer: Explained): void => {
      told.value = answer;
      problem.value = "";
    };
    return repeatedly(ask, show, (why) => (problem.value = why), { everyMs: AGAIN_MS });
  }, [name, chosenSpan.value]);

  return (
    <Panel title="Why equity changed" id="why" aside={<Choice label="Span" of={SPANS} chosen={chosenSpan} />}>
      {name === undefined ? <Empty>Choose one account.</Empty> : problem.value ? <p class="loss" role="alert">{problem.value}</p> : told.value && (
        <>
          {told.value.isShorter && <p class="notice" role="note">Not of {chosenSpan.value.name}: so far back it is in the history only. Since the first moment that can be told:</p>}
          <Bars told={told.value.told} />
        </>
      )}
    </Panel>
  );
}

function Bars({ told }: { told: Explanation }) {
  const { causes } = told;
  const all: [string, Decimal | null][] = [
    ["trading", causes.trading],
    ["fees", sum(Object.values(causes.fees))],
    ["funding", causes.funding],
    ["prices of coins", sum(Object.values(causes.prices))],
    ["transfers", causes.transfers],
    ["opening", causes.opening],
    ["other", causes.other],
    ["rounding", causes.rounding],
    ["adjustments", causes.adjustments],
    ["priced later", causes.priced_later],
  ];
  const parts = all.filter(([, amount]) => !isKnown(amount) || sign(amount) !== 0);
  let at = 0;
  const spans = parts.map(([cause, amount]) => (GIVEN.has(cause) || !isKnown(amount) ? ([at, at] as const) : ([at, (at += Number(amount))] as const)));
  const least = Math.min(0, ...spans.flat());
  const width = Math.max(0, ...spans.flat()) - least || 1;
  return (
    <table class="waterfall">
      <tbody>
        {parts.map(([cause, amount], index) => {
          const [start, end] = spans[index] ?? [0, 0];
          return (
            <tr key={cause}>
              <th scope="row">{cause}</th>
              <td class={`number ${tone(signShown(amount, 2))}`}>{signed(amount, 2)}</td>
              <td>
                {!GIVEN.has(cause) && isKnown(amount) && <svg viewBox={`0 0 ${WIDTH} 10`} preserveAspectRatio="none" aria-hidden="true">
                  <rect
                    class={`bar ${tone(sign(amount))}`}
                    x={((Math.min(start, end) - least) / width) * WIDTH}
                    width={Math.max(1, (Math.abs(end - start) / width) * WIDTH)}
                    height="10"
                  />
                </svg>}
              </td>
            </tr>
          );
        })}
      </tbody>
      <tfoot>
        <tr>
          <th scope="row">change</th>
          <td class="number"><strong>{signed(told.equity_change, 2)}</strong></td>
          <td />
        </tr>
        <tr class="faint">
          <th scope="row">unexplained</th>
          <td class="number">{shown(told.residual)}</td>
          <td />
        </tr>
      </tfoot>
    </table>
  );
}
