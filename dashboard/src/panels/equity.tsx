import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { shownLedgers } from "../book.ts";
import { EquityChart } from "../chart.ts";
import { points, RANGES, type Range } from "../history.ts";
import { addedUp, type Point } from "../line.ts";
import { Choice } from "./choice.tsx";
import { Panel } from "./panel.tsx";

const AGAIN_MS = 15_000;
const LIVE = RANGES[0] as Range;

export function Equity() {
  const range = useSignal(LIVE);
  const problem = useSignal("");
  const isEmpty = useSignal(true);
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<EquityChart | null>(null);
  const shownRange = useRef<string>("");
  const shownFrom = useRef(Infinity);
  const names = shownLedgers.value.map((each) => each.name).join(" ");

  useEffect(() => {
    if (place.current === null) return;
    const made = (chart.current = new EquityChart(place.current));
    return () => made.remove();
  }, []);

  const show = (line: readonly Point[]): void => {
    const what = `${range.value.name} ${names}`;
    const from = line[0]?.time ?? Infinity;
    isEmpty.value = line.length === 0;
    // What the page heard first is a second or two; what was before is read meanwhile, and has to come into the picture.
    chart.current?.show(line, range.value.step, what !== shownRange.current || line.length < 3 || from < shownFrom.current);
    shownRange.current = what;
    shownFrom.current = from;
  };

  const live = range.value === LIVE ? addedUp(shownLedgers.value.map((each) => each.line.value)) : null;
  useEffect(() => {
    if (live !== null) show(live);
  }, [live?.length, live?.at(-1)?.time, live?.at(-1)?.equity, names, range.value]);

  useEffect(() => {
    problem.value = "";
    if (range.value === LIVE) return;
    show([]); // what was there is of another account, or another time
    const abort = new AbortController();
    const ask = async (): Promise<void> => {
      try {
        show(await points(names.split(" ").filter(Boolean), range.value, abort.signal));
        problem.value = "";
      } catch (error) {
        if (!abort.signal.aborted) problem.value = (error as Error).message;
      }
    };
    void ask();
    const timer = setInterval(ask, AGAIN_MS);
    return () => {
      abort.abort();
      clearInterval(timer);
    };
  }, [range.value, names]);

  return (
    <Panel title="Equity" aside={<Choice label="Range" of={RANGES} chosen={range} />}>
      <div class="chart" ref={place} role="img" aria-label="Equity in USD over time; below it, how far net P&L is under its highest" />
      {problem.value ? <p class="loss" role="alert">{problem.value}</p> : isEmpty.value && <p class="empty">Nothing is known of this time yet.</p>}
    </Panel>
  );
}
