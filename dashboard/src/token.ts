/** Token: what the reader shows at the door, kept for this tab alone. */

import { signal } from "@preact/signals";

const PLACE = "account-monitor.token";

/** As `account-monitor token create` prints it; the scheme of the header may stand before it. */
const FORM = /^(?:bearer\s+)?(am_[A-Za-z0-9_-]+)$/i;

export function tokenIn(text: string): string | null {
  return FORM.exec(text.trim())?.[1] ?? null;
}

export const token = signal<string | null>(tokenIn(sessionStorage.getItem(PLACE) ?? ""));

/** Why the service lets this reader in no more, in its own words; null while it does. */
export const refusal = signal<string | null>(null);

export function take(text: string): void {
  sessionStorage.setItem(PLACE, text);
  token.value = text;
  refusal.value = null;
}

export function forget(): void {
  sessionStorage.removeItem(PLACE);
  token.value = null;
}
