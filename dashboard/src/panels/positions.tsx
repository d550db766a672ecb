import { useComputed, useSignal, type ReadonlySignal } from "@preact/signals";
import { shownLedgers, type Row, type Trail } from "../book.ts";
import { isGarbled, price, shown, sign, signed, signShown } from "../decimal.ts";
import type { Decimal, Position, Risk } from "../wire.ts";
import { Empty, Panel, tone } from "./panel.tsx";

const NEAR_PCT = 25;
/** A price that would have to become ten times what it is: how far exactly says nothing. */
const FAR_PCT = 900;

export function Positions() {
  const showsFlat = useSignal(false);
  const rows = useComputed(() => {
    const all = shownLedgers.value.flatMap((each) => each.rows.value.map((row) => ({ account: each.name, risk: each.risk, row })));
    const held = all.filter(({ row }) => showsFlat.value || !row.isFlat.value);
    return held.sort((one, other) => order(one.row, other.row) || one.account.localeCompare(other.account));
  });
  const isMany = shownLedgers.value.length > 1;
  const flat = (
    <label>
      <input type="checkbox" checked={showsFlat.value} onChange={() => (showsFlat.value = !showsFlat.value)} /> flat ones too
    </label>
  );
  return (
    <Panel title="Positions" aside={flat}>
      {rows.value.length === 0 ? (
        <Empty>No open position.</Empty>
      ) : (
        <div class="scroll" tabIndex={0} role="region" aria-label="Positions, scrollable">
          <table>
            <thead>
              <tr>
                {isMany && <th scope="col">Account</th>}
                <th scope="col">Position</th>
                <th scope="col">Side</th>
                <th scope="col" class="number">Unrealized</th>
                <th scope="col" class="number">%</th>
                <th scope="col" class="number">Quantity</th>
                <th scope="col" class="number">Value USD</th>
                <th scope="col" class="number">Entry</th>
                <th scope="col" class="number">Mark</th>
                <th scope="col">To liquidation</th>
                <th scope="col">Of late</th>
              </tr>
            </thead>
            <tbody>
              {rows.value.map(({ account, risk, row }) => (
                <Line key={`${account}:${row.key}`} row={row} risk={risk} account={isMany ? account : null} />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}

/** Open ones first, then by name: nothing jumps while prices move. */
function order(one: Row, other: Row): number {
  return Number(one.isFlat.value) - Number(other.isFlat.value) || one.key.localeCompare(other.key);
}

function Line({ row, risk, account }: { row: Row; risk: ReadonlySignal<Risk | null>; account: string | null }) {
  const position = row.position.value;
  const pct = share(position);
  return (
    <tr data-key={row.key}>
      {account !== null && <td data-account>{account}</td>}
      <th scope="row">{row.key}</th>
      <td class={tone(sign(position.quantity))}>
        {position.state.toLowerCase()}
        {position.leverage !== null && <span class="faint"> {position.leverage}×</span>}
      </td>
      <td class={`number ${tone(signShown(position.unrealized_pnl, 2))}`} data-name="Unrealized" data-field="unrealized">
        {signed(position.unrealized_pnl, 2)}
      </td>
      <td class={`number ${tone(signShown(pct, 2))}`} data-name="%">{pct === null ? "—" : signed(pct, 2)}</td>
      <td class="number" data-name="Quantity"><span data-field="quantity">{shown(position.quantity)}</span></td>
      <td class="number" data-name="Value USD">{shown(position.value_usd, 2)}</td>
      <td class="number" data-name="Entry">{price(position.entry_price)}</td>
      <td class="number" data-name="Mark" title={position.price_source ?? ""} data-field="mark">{price(position.current_price)}</td>
      <td data-name="To liquidation"><Distance position={position} isKnown={(risk.value?.margin_ratio ?? null) !== null} /></td>
      <td data-late><Spark trail={row.trail.value} /></td>
    </tr>
  );
}

/** Unrealized P&L in percent of the cost; a picture of the size, so a float will do. */
function share(position: Position): Decimal | null {
  const cost = Math.abs(Number(position.entry_price ?? 0) * Number(position.quantity));
  if (position.unrealized_pnl === null || !cost) return null;
  return ((Number(position.unrealized_pnl) / cost) * 100).toFixed(2);
}

/** How far the price may go, as a bar that grows as it comes near. */
function Distance({ position, isKnown }: { position: Position; isKnown: boolean }) {
  const text = position.liquidation_distance_pct;
  if (text === null) return <span class="faint">{position.state === "FLAT" ? "" : isKnown ? "none" : "not known"}</span>;
  if (isGarbled(text)) return <span class="faint">{shown(text)}</span>;
  const distance = Number(text);
  const near = Math.max(0, Math.min(1, 1 - distance / NEAR_PCT));
  const level = distance < 5 ? "bad" : distance < 10 ? "warn" : "good";
  return (
    <span class="distance" title={`liquidated at ${price(position.liquidation_price)}`}>
      <svg class={level} viewBox="0 0 60 6" width="60" height="6" aria-hidden="true">
        <rect class="track" width="60" height="6" rx="3" />
        <rect class="fill" width={Math.max(2, 60 * near)} height="6" rx="3" />
      </svg>
      {distance > FAR_PCT ? `over ${FAR_PCT}` : shown(text, 1)} %
    </span>
  );
}

function Spark({ trail }: { trail: Trail }) {
  if (trail.length < 2) return <svg class="spark" width="80" height="20" aria-hidden="true" />;
  const least = Math.min(...trail);
  const height = Math.max(...trail) - least || 1;
  const points = trail.map((value, index) => `${((index / (trail.length - 1)) * 80).toFixed(1)},${(18 - ((value - least) / height) * 16).toFixed(1)}`);
  return (
    <svg class="spark" viewBox="0 0 80 20" width="80" height="20" aria-hidden="true">
      <polyline points={points.join(" ")} />
    </svg>
  );
}
