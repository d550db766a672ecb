import { chosen, elsewhere, folding, health, ledgers, shownLedgers } from "../book.ts";
import { span } from "../format.ts";
import { isLive, isTorn, linkState, lostSince, unheard } from "../link.ts";
import { now } from "../now.ts";
import { forget, token } from "../token.ts";

export function Header() {
  const names = [...ledgers.value.keys()].sort();
  const away = elsewhere.value;
  const all = names.length === 1 ? names[0] : `All ${names.length} accounts${away.length ? " here" : ""}`;
  return (
    <header class="top">
      <h1>
        <img src="./icon.svg" alt="" width="22" height="22" /> <span>account-monitor</span>
      </h1>
      {names.length > 0 && names.length + away.length > 1 ? (
        <select
          aria-label="Account"
          value={chosen.value ?? ""}
          onChange={(event) => (chosen.value = event.currentTarget.value || null)}
        >
          <option value="">{all}</option>
          {names.length > 1 && names.map((name) => (
            <option key={name} value={name}>{name}</option>
          ))}
          {away.map(({ account, member }) => (
            <option key={account} disabled>{account}: held by {member ?? "another process"}</option>
          ))}
        </select>
      ) : (
        <span class="account">{names[0] ?? ""}</span>
      )}
      <span class="place" title="epoch and sequence of what is shown" data-place>
        {shownLedgers.value.length === 1 ? shownLedgers.value[0]?.place.value : ""}
      </span>
      <span class="grow" />
      <Link />
      <HealthPill />
      <Theme />
      {token.value !== null && <button type="button" class="quiet" onClick={leave}>Sign out</button>}
    </header>
  );
}

function leave(): void {
  forget();
  location.reload(); // nothing of the account stays in the page
}

function Link() {
  const [tone, text] = told();
  return <span class={`pill ${tone}`} role="status">{text}</span>;
}

/** How what is shown relates to how things are: a tone and a sentence. */
function told(): [string, string] {
  if (isLive.value) return ["good", "live"];
  const hasFigures = shownLedgers.value.length > 0;
  if (linkState.value === "connecting") return ["", "connecting…"];
  if (linkState.value === "open" && !hasFigures) return ["", "connected"];
  const age = span(now.value - (lostSince.value ?? now.value));
  if (isTorn.value) return ["bad", `messages are missing, figures are ${age} old`];
  if (linkState.value === "lost") return ["bad", `disconnected for ${age}, figures are old`];
  const names = unheard.value.map((each) => each.name);
  const folded = names.filter((name) => folding.value.has(name));
  if (folded.length > 0) return ["warn", `${few(folded)} ${folded.length === 1 ? "is" : "are"} being folded, figures are ${age} old`];
  return ["warn", `connected, nothing of ${few(names)} yet, figures are ${age} old`];
}

/** Accounts in few words. */
function few(names: readonly string[]): string {
  return names.length === 1 ? (names[0] ?? "") : `${names.length} accounts`;
}

const WORDS = { healthy: "good", degraded: "warn", unhealthy: "bad" } as const;

function HealthPill() {
  const told = health.value;
  if (told === null) return null;
  const checks = Object.values(told.checks);
  const ill = checks.filter((check) => check.status !== "healthy").length;
  return (
    <a class={`pill ${WORDS[told.status]}`} href="#sources" title={`${ill} of ${checks.length} checks are not healthy`}>
      {told.status}
      {ill > 0 && ` ${ill}/${checks.length}`}
    </a>
  );
}

const THEME = "account-monitor.theme";

function setTheme(theme: string): void {
  document.documentElement.dataset["theme"] = theme;
  localStorage.setItem(THEME, theme);
  dispatchEvent(new Event("themechange"));
}

const kept = localStorage.getItem(THEME);
if (kept !== null) document.documentElement.dataset["theme"] = kept;

function Theme() {
  const toggle = (): void => {
    const isDark = getComputedStyle(document.documentElement).getPropertyValue("--is-dark").trim() === "1";
    setTheme(isDark ? "light" : "dark");
  };
  return <button type="button" class="quiet" onClick={toggle} aria-label="Switch between light and dark">◐</button>;
}
