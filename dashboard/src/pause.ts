/** Pause: how long to wait before connecting again. It grows with each failure, until a connection has proved good. */

const FIRST_MS = 250;
const LONGEST_MS = 5_000;
/** How long a connection must be of use before its end counts as a first failure: one that fails at once told something, too. */
const GOOD_MS = 10_000;

export class Pause {
  #failures = 0;
  #usefulSince: number | null = null;

  /** Note that the connection is of use. */
  useful(now: number): void {
    this.#usefulSince ??= now;
  }

  /** Return how long to wait after a failure; `atOnce`: not at all after the first one. */
  failed(now: number, atOnce: boolean): number {
    if (this.#usefulSince !== null && now - this.#usefulSince >= GOOD_MS) this.#failures = 0;
    this.#usefulSince = null;
    const failures = this.#failures++;
    if (failures === 0 && atOnce) return 0;
    return Math.min(FIRST_MS * 2 ** failures, LONGEST_MS);
  }
}
