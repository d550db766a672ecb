/** History: P&L over time, of one account or of several together, for the picture of it. */

import { isKnown } from "./decimal.ts";
import { addedUp, LIVE_STEP, type Point } from "./line.ts";
import { read } from "./rest.ts";
import type { Bucket } from "./wire.ts";

export interface Range {
  name: string;
  /** How far back it goes; 0 is what this page has heard itself. */
  ms: number;
  interval: string;
  /** The interval in seconds. */
  step: number;
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export const RANGES: readonly Range[] = [
  { name: "Live", ms: 0, interval: "", step: LIVE_STEP },
  { name: "1 h", ms: HOUR, interval: "10s", step: 10 },
  { name: "1 d", ms: DAY, interval: "5m", step: 300 },
  { name: "1 w", ms: 7 * DAY, interval: "1h", step: 3_600 },
  { name: "1 m", ms: 30 * DAY, interval: "4h", step: 14_400 },
  { name: "1 y", ms: 365 * DAY, interval: "1d", step: 86_400 },
];

/** Read the points of some accounts added up; an account without a figure at a time counts with its last one. */
export async function points(accounts: readonly string[], range: Range, signal?: AbortSignal): Promise<Point[]> {
  const from = new Date(Date.now() - range.ms).toISOString();
  const answers = await Promise.all(
    accounts.map((account) => read<{ buckets: Bucket[] }>("/api/pnl/history", { account, from, interval: range.interval }, signal)),
  );
  return addedUp(answers.map((answer) => answer.buckets.map(point).filter((each) => each !== null)));
}

function point(bucket: Bucket): Point | null {
  const { equity, net_pnl: net } = bucket.last;
  return !isKnown(equity) || !isKnown(net) ? null : { time: Date.parse(bucket.timestamp) / 1000, equity: Number(equity), net: Number(net) };
}
