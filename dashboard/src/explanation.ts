/** Explanation: why equity changed in a span, or since the first moment that the service can tell of. */

import { Problem, read } from "./rest.ts";
import type { Explanation } from "./wire.ts";

export interface Explained {
  told: Explanation;
  /** Whether it begins later than was asked, because the service can tell of nothing so old. */
  isShorter: boolean;
}

export async function explained(account: string, from: string | undefined, signal: AbortSignal): Promise<Explained> {
  const ask = (since: string | undefined): Promise<Explanation> => read("/api/explain", { account, from: since, limit: "1" }, signal);
  try {
    return { told: await ask(from), isShorter: false };
  } catch (error) {
    if (from === undefined || !isTooOld(error)) throw error;
    return { told: await ask(undefined), isShorter: true };
  }
}

/** Whether `from` is what the service refused: all that can be wrong with one that this page makes is its age. */
function isTooOld(error: unknown): boolean {
  return error instanceof Problem && error.status === 400 && error.type.endsWith("#bad-parameter") && error.message.startsWith("from:");
}
