/** Link: the one WebSocket. It comes back by itself, goes on after the last message, and draws once a frame. */

import { signal } from "@preact/signals";
import { applyAll, health, ledgers } from "./book.ts";
import { refusal, token } from "./token.ts";
import type { AccountMessage, Message } from "./wire.ts";

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 5_000;
const INTERVAL_MS = 250;
const REFUSED = 4401;
/** The service takes addresses of some 16,000 characters: with hundreds of accounts it is asked for snapshots. */
const LONGEST_SINCE = 10_000;

export type LinkState = "connecting" | "open" | "lost";

export const linkState = signal<LinkState>("connecting");
/** Since when nothing is heard; null while something is. */
export const lostSince = signal<number | null>(null);

let socket: WebSocket | null = null;
let waiting: AccountMessage[] = [];
let isDrawing = false;
let pauseMs = FIRST_PAUSE_MS;

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
    linkState.value = "open";
  };
  made.onmessage = (event: MessageEvent<string>) => {
    hear(JSON.parse(event.data) as Message);
  };
  made.onclose = (event) => {
    if (socket === made) lose(event.code === REFUSED || event.code === 1008);
  };
}

function hear(message: Message): void {
  pauseMs = FIRST_PAUSE_MS;
  lostSince.value = null;
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
  if (!applyAll(messages)) again();
}

function lose(refused: boolean): void {
  socket = null;
  if (refused) refusal.value ??= "the token is valid no longer";
  linkState.value = "lost";
  lostSince.value ??= Date.now();
  setTimeout(reconnect, pauseMs * (0.75 + Math.random() / 2));
  pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
}

function reconnect(): void {
  if (socket !== null) return;
  if (refusal.value !== null) return; // until the reader shows another token
  connect();
}

/** Note that nothing is answered although the connection looks open, and make it anew. */
export function lost(): void {
  if (linkState.value !== "open") return;
  linkState.value = "lost";
  lostSince.value ??= Date.now();
  again();
}

/** Come back at once: a message is missing, or another token is to be shown. */
export function again(): void {
  const old = socket;
  socket = null;
  waiting = [];
  old?.close();
  connect();
}
