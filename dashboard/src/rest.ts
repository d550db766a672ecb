/** Rest: questions to the service that the stream does not answer. */

import { refusal, token } from "./token.ts";

/** What the service refused, in its own words. */
export class Problem extends Error {
  readonly status: number;

  constructor(status: number, detail: string) {
    super(detail);
    this.status = status;
  }
}

/** How long the service may take: one that hangs must not look as if it were only slow. */
const PATIENCE_MS = 8_000;

async function ask(path: string, init: RequestInit): Promise<unknown> {
  const patience = AbortSignal.timeout(PATIENCE_MS);
  const signal = init.signal ? AbortSignal.any([init.signal, patience]) : patience;
  const headers = new Headers(init.headers);
  if (token.value !== null) headers.set("Authorization", `Bearer ${token.value}`);
  const response = await fetch(path, { ...init, headers, signal });
  const told: unknown = await response.json().catch(() => null);
  if (!response.ok) {
    const detail = (told as { detail?: string } | null)?.detail;
    if (response.status === 401) refusal.value = token.value === null ? "" : (detail ?? "the token was refused");
    throw new Problem(response.status, detail ?? `the service answered ${response.status}`);
  }
  return told;
}

/** Read an address; parameters that are undefined are left out. */
export async function read<T>(path: string, parameters: Record<string, string | undefined> = {}, signal?: AbortSignal): Promise<T> {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined) query.set(name, value);
  const whole = query.size ? `${path}?${query}` : path;
  return (await ask(whole, signal ? { signal } : {})) as T;
}

/** Order something. */
export async function order<T>(path: string, body: object): Promise<T> {
  const headers = { "Content-Type": "application/json" };
  return (await ask(path, { method: "POST", headers, body: JSON.stringify(body) })) as T;
}
