/** Link: the one WebSocket. It comes back by itself, goes on after the last message, and draws once a frame. */

import { computed, signal } from "@preact/signals";
import { applyAll, health, ledgers, shownLedgers } from "./book.ts";
import { hear, heardAt } from "./heard.ts";
import { Pause } from "./pause.ts";
import { refusal, token } from "./token.ts";
import type { AccountMessage, Message } from "./wire.ts";

const INTERVAL_MS = 250;
const REFUSED = 4401;
/** The service takes addresses of some 16,000 characters: with hundreds of accounts it is asked for snapshots. */
const LONGEST_SINCE = 10_000;

/** `open` is that of the connection alone: what it was told of no account yet is old. */
export type LinkState = "connecting" | "open" | "lost";

export const linkState = signal<LinkState>("connecting");
/** Since when what is shown is old; null while it is not. */
export const lostSince = signal<number | null>(null);
/** Whether the connection is made anew because messages were missing in it, again and again. */
export const isTorn = signal(false);

/** The accounts that are looked at, and of which this connection has told nothing so far. */
export const unheard = computed(() => shownLedgers.value.filter((each) => !each.isCurrent.value));

/** Whether what is shown is how things are. */
export const isLive = computed(() => linkState.value === "open" && shownLedgers.value.length > 0 && unheard.value.length === 0);

const pause = new Pause();
let socket: WebSocket | null = null;
let waiting: AccountMessage[] = [];
let isDrawing = false;

function address(): string {
  const url = new URL("ws", location.href.replace(/^http/, "ws"));
  url.searchParams.set("interval_ms", String(INTERVAL_MS));
  url.searchParams.set("risk", "true");
  const known = [...ledgers.value.values()].filter((each) => each.seq >= 0);
  const since = known.map((each) => `${each.name}:${each.epoch}:${each.seq}`).join(",");
  if (since && since.length < LONGEST_SINCE) url.searchParams.set("since", since); // without, snapshots come
  return url.href;
}

/** Connect, now and whenever the connection is lost. */
export function connect(): void {
  const protocols = token.value === null ? [] : ["account-monitor", `bearer.${token.value}`];
  const made = (socket = new WebSocket(address(), protocols));
  made.onopen = () => {
    hear();
    linkState.value = "open";
  };
  made.onmessage = (event: MessageEvent<string>) => {
    if (socket === made) take(JSON.parse(event.data) as Message);
  };
  made.onclose = (event) => {
    if (socket !== made) return;
    if (event.code === REFUSED || event.code === 1008) refusal.value ??= "the token is valid no longer";
    lose(false);
  };
}

function take(message: Message): void {
  hear();
  if (message.type === "health") {
    health.value = message.data;
    return;
  }
  waiting.push(message);
  if (isDrawing) return;
  isDrawing = true;
  // A hidden page is given no frames, and must not hold what it did not draw.
  if (document.hidden) setTimeout(draw, INTERVAL_MS);
  else requestAnimationFrame(draw);
}

function draw(): void {
  isDrawing = false;
  const messages = waiting;
  waiting = [];
  if (messages.length === 0) return;
  if (!applyAll(messages)) return tear();
  pause.useful(Date.now());
  if (unheard.value.length > 0) return;
  lostSince.value = null;
  isTorn.value = false;
}

/** Connect anew because a message is missing: the first time at once, and then with a pause, which is said. */
function tear(): void {
  const ms = pause.failed(Date.now(), true);
  if (ms === 0) return again();
  isTorn.value = true;
  part(ms);
}

/** Note that the connection is gone, or good for nothing, and come back; `atOnce`: without a pause, if this is the first failure. */
function lose(atOnce: boolean): void {
  part(pause.failed(Date.now(), atOnce));
}

function part(ms: number): void {
  drop();
  linkState.value = "lost";
  lostSince.value ??= heardAt();
  setTimeout(reconnect, ms * (0.75 + Math.random() / 2));
}

function reconnect(): void {
  if (socket !== null) return;
  if (refusal.value !== null) return; // until the reader shows another token
  connect();
}

/** Note that nothing is answered although the connection looks open, and make it anew. */
export function lost(): void {
  if (linkState.value === "open") lose(true);
}

/** Come back at once: a message is missing, or another token is to be shown. */
export function again(): void {
  drop();
  connect();
}

function drop(): void {
  const old = socket;
  socket = null;
  waiting = [];
  for (const each of ledgers.value.values()) each.isCurrent.value = false;
  old?.close();
}
