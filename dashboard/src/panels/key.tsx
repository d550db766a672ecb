import { chosen, elsewhere, shownLedgers, totalOf } from "../book.ts";
import { percent, percentage, shown, signed, signShown } from "../decimal.ts";
import { tone } from "./panel.tsx";

interface Figure {
  name: string;
  value: string;
  about: string;
  tone?: string;
}

export function Key() {
  const one = shownLedgers.value.length === 1 ? shownLedgers.value[0] : undefined;
  const risk = one?.risk.value ?? null;
  const money = (field: Parameters<typeof totalOf>[0], about: string, name: string): Figure => {
    const amount = totalOf(field);
    return { name, value: signed(amount, 2), about, tone: tone(signShown(amount, 2)) };
  };
  const figures: Figure[] = [
    { name: "Equity", value: shown(totalOf("equity"), 2), about: "wallets and unrealized P&L, USD" },
    money("net_pnl", "total less fees, plus funding and other", "Net P&L"),
    money("unrealized_pnl", "of open positions, at their marks", "Unrealized"),
    money("realized_pnl", "of what was closed", "Realized"),
  ];
  if (one) {
    figures.push(
      { name: "Drawdown", value: percentage(risk?.drawdown_pct ?? null), about: "from the peak, deposits aside" },
      { name: "Margin ratio", value: percent(risk?.margin_ratio ?? null), about: "at 100 % the exchange liquidates" },
      { name: "Leverage", value: risk?.leverage == null ? "—" : `${shown(risk.leverage, 2)}×`, about: "of all positions" },
      { name: "Available", value: shown(risk?.available_margin ?? null, 2), about: "margin for new positions, USD" },
    );
  }
  return (
    <>
      <dl class="key" aria-label="Key figures">
        {figures.map((figure) => (
          <div key={figure.name} title={figure.about}>
            <dt>{figure.name}</dt>
            <dd class={figure.tone ?? ""} data-figure={figure.name}>{figure.value}</dd>
          </div>
        ))}
      </dl>
      {chosen.value === null && <LeftOut />}
    </>
  );
}

/** Which accounts are not in the figures, because another process holds them. */
function LeftOut() {
  if (elsewhere.value.length === 0) return null;
  const told = elsewhere.value.map(({ account, member }) => `${account}, held by ${member ?? "another process"}`);
  return <p class="notice" role="note" data-left-out>Not in these figures: {told.join("; ")}. Ask there.</p>;
}
