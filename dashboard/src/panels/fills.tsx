import { isRead, shownLedgers } from "../book.ts";
import { isGarbled, price, shown, signed, signShown } from "../decimal.ts";
import { clock } from "../format.ts";
import { Empty, Panel, tone } from "./panel.tsx";

const SHOWN = 60;

export function Fills() {
  const fills = shownLedgers.value.flatMap((each) => each.fills.value);
  fills.sort((one, other) => (one.timestamp < other.timestamp ? 1 : one.timestamp > other.timestamp ? -1 : other.seq - one.seq));
  return (
    <Panel title="Fills">
      {fills.length === 0 ? (
        <Empty>{isRead("fills") ? "No fill in the last six hours." : "Fills have not been read yet."}</Empty>
      ) : (
        <div class="scroll" tabIndex={0} role="region" aria-label="Fills, scrollable">
          <table>
            <thead>
              <tr>
                <th scope="col">Time (UTC)</th>
                <th scope="col">Symbol</th>
                <th scope="col">Side</th>
                <th scope="col" class="number">Quantity</th>
                <th scope="col" class="number">Price</th>
                <th scope="col" class="number">Result</th>
              </tr>
            </thead>
            <tbody>
              {fills.slice(0, SHOWN).map((fill) => (
                <tr key={`${fill.account}:${fill.symbol}:${fill.id}:${fill.side}`} data-fill={fill.id} class="fresh">
                  <td class="faint" title={fill.timestamp}>{clock(fill.timestamp)}</td>
                  <th scope="row">{fill.symbol}</th>
                  <td class={fill.side === "BUY" ? "gain" : "loss"}>{fill.side.toLowerCase()}</td>
                  <td class="number">{shown(fill.quantity)}</td>
                  <td class="number">{price(fill.price)}</td>
                  <td class={`number ${tone(signShown(fill.realized_pnl, 2))}`}>
                    {signShown(fill.realized_pnl, 2) !== 0 || isGarbled(fill.realized_pnl) ? signed(fill.realized_pnl, 2) : ""}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}
