/** Token: what the reader shows at the door, kept for this tab alone. */

import { signal } from "@preact/signals";

const PLACE = "account-monitor.token";

export const token = signal<string | null>(sessionStorage.getItem(PLACE));

/** Whether the service asked for a token, or refused the one it was shown. */
export const isRefused = signal(false);

export function take(text: string): void {
  sessionStorage.setItem(PLACE, text);
  token.value = text;
  isRefused.value = false;
}

export function forget(): void {
  sessionStorage.removeItem(PLACE);
  token.value = null;
}
