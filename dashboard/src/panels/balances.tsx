import { shownLedgers } from "../book.ts";
import { shown } from "../decimal.ts";
import { Empty, Panel } from "./panel.tsx";

export function Balances() {
  const isMany = shownLedgers.value.length > 1;
  const lines = shownLedgers.value.flatMap((each) => each.balances.value.map((balance) => ({ account: each.name, balance })));
  lines.sort((one, other) => Number(other.balance.usd_value ?? 0) - Number(one.balance.usd_value ?? 0));
  return (
    <Panel title="Balances">
      {lines.length === 0 ? (
        <Empty>No wallet is known yet.</Empty>
      ) : (
        <div class="scroll" tabIndex={0} role="region" aria-label="Balances, scrollable">
          <table>
            <thead>
              <tr>
                {isMany && <th scope="col">Account</th>}
                <th scope="col">Asset</th>
                <th scope="col" class="number">Total</th>
                <th scope="col" class="number">Free</th>
                <th scope="col" class="number">USD</th>
              </tr>
            </thead>
            <tbody>
              {lines.map(({ account, balance }) => (
                <tr key={`${account}:${balance.asset}`} data-asset={balance.asset}>
                  {isMany && <td>{account}</td>}
                  <th scope="row">{balance.asset}</th>
                  <td class="number" data-field="total">{shown(balance.total)}</td>
                  <td class="number">{shown(balance.free)}</td>
                  <td class="number">{shown(balance.usd_value, 2)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}
