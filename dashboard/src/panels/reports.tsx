import { isRead, shownLedgers } from "../book.ts";
import { shown, signed } from "../decimal.ts";
import { clock, span } from "../format.ts";
import { now } from "../now.ts";
import { Empty, Panel } from "./panel.tsx";

export function Reports() {
  const reports = shownLedgers.value.flatMap((each) => each.reports.value);
  reports.sort((one, other) => (one.timestamp < other.timestamp ? 1 : -1));
  return (
    <Panel title="Reconciliation">
      {shownLedgers.value.map((each) => {
        const comparison = each.comparison.value;
        if (comparison === null) return null;
        const age = comparison.agreed_at === null ? null : now.value - Date.parse(comparison.agreed_at);
        return (
          <p key={each.name} class="standing">
            <span class={`pill ${comparison.status === "agrees" ? "good" : comparison.status === "waiting" ? "" : "bad"}`}>
              {comparison.status}
            </span>{" "}
            {each.name}: {age === null ? "not compared yet" : `equal to the exchange ${span(age)} ago`}
            {comparison.unexplained.length > 0 && `, ${comparison.unexplained.length} corrections stand unexplained`}
            {comparison.quarantined.length > 0 && `, ${comparison.quarantined.length} quarantined`}
          </p>
        );
      })}
      {reports.length === 0 ? (
        <Empty>{isRead("reports") ? "No difference was found." : "Reports have not been read yet."}</Empty>
      ) : (
        <ol class="timeline scroll" tabIndex={0} aria-label="Reports, scrollable">
          {reports.slice(0, 40).map((report) => (
            <li key={report.id}>
              <time class="faint" dateTime={report.timestamp}>{clock(report.timestamp)}</time>
              <div>
                {report.drifts.map((drift) => (
                  <p key={`${drift.kind}${drift.name}`}>
                    {drift.kind} {drift.name}: {signed(drift.difference)} <em>{drift.causes.join(", ").replaceAll("_", " ").toLowerCase()}</em>
                  </p>
                ))}
                {report.finding_count > 0 && <p>{missed(report.finding_count)} found and booked</p>}
                {report.correction !== null && <p>corrected, since nothing explains it</p>}
                {report.taken_back.length > 0 && <p>{shown(String(report.taken_back.length))} corrections taken back</p>}
              </div>
            </li>
          ))}
        </ol>
      )}
    </Panel>
  );
}

function missed(count: number): string {
  return count === 1 ? "1 missed event was" : `${count} missed events were`;
}
