/** Rest: questions to the service that the stream does not answer. */

import { isRefused, token } from "./token.ts";

/** What the service refused, in its own words. */
export class Problem extends Error {
  readonly status: number;

  constructor(status: number, detail: string) {
    super(detail);
    this.status = status;
  }
}

async function ask(path: string, init: RequestInit): Promise<unknown> {
  const headers = new Headers(init.headers);
  if (token.value !== null) headers.set("Authorization", `Bearer ${token.value}`);
  const response = await fetch(path, { ...init, headers });
  if (response.status === 401) isRefused.value = true;
  const told: unknown = await response.json().catch(() => null);
  if (!response.ok) {
    const detail = (told as { detail?: string } | null)?.detail;
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
