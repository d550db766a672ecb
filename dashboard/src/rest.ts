/** Rest: questions to the service that the stream does not answer. */

import { hear } from "./heard.ts";
import { refusal, token } from "./token.ts";

/** What the service refused, in its own words. */
export class Problem extends Error {
  readonly status: number;
  /** Its `type`, where the service gave one: `/docs#bad-parameter`. */
  readonly type: string;

  constructor(status: number, detail: string, type = "") {
    super(detail);
    this.status = status;
    this.type = type;
  }
}

/** How long the service may take: one that hangs must not look as if it were only slow. */
const PATIENCE_MS = 8_000;

/** How many questions are on their way at once: browsers allow six, and slow ones must leave room for `probe`. */
const ROOM = 4;
let asking = 0;
const queue: (() => void)[] = [];

async function inTurn<T>(question: () => Promise<T>): Promise<T> {
  if (asking >= ROOM) await new Promise<void>((resolve) => queue.push(resolve)); // who is done hands its room on
  else asking++;
  try {
    return await question();
  } finally {
    const next = queue.shift();
    if (next) next();
    else asking--;
  }
}

async function ask(path: string, init: RequestInit, patienceMs = PATIENCE_MS): Promise<unknown> {
  const patience = AbortSignal.timeout(patienceMs);
  const signal = init.signal ? AbortSignal.any([init.signal, patience]) : patience;
  const headers = new Headers(init.headers);
  if (token.value !== null) headers.set("Authorization", `Bearer ${token.value}`);
  const response = await fetch(path, { ...init, headers, signal });
  if (response.status < 500) hear(); // what stands before a service answers for one that is gone, too
  const told: unknown = await response.json().catch(() => null);
  if (!response.ok) {
    const { detail, type } = (told ?? {}) as { detail?: string; type?: string };
    if (response.status === 401) refusal.value = token.value === null ? "" : (detail ?? "the token was refused");
    throw new Problem(response.status, detail ?? `the service answered ${response.status}`, type);
  }
  return told;
}

/** Read an address; parameters that are undefined are left out. */
export async function read<T>(path: string, parameters: Record<string, string | undefined> = {}, signal?: AbortSignal): Promise<T> {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined) query.set(name, value);
  const whole = query.size ? `${path}?${query}` : path;
  return (await inTurn(() => ask(whole, signal ? { signal } : {}))) as T;
}

/** Read what tells whether the service is there: it waits for no other question, and not for long. */
export async function probe<T>(path: string, patienceMs: number): Promise<T> {
  return (await ask(path, {}, patienceMs)) as T;
}

/** Order something. */
export async function order<T>(path: string, body: object): Promise<T> {
  const headers = { "Content-Type": "application/json" };
  return (await ask(path, { method: "POST", headers, body: JSON.stringify(body) })) as T;
}
