/** Now: the time by this machine's clock, once a second, for everything that shows an age. */

import { signal } from "@preact/signals";

export const now = signal(Date.now());

setInterval(() => (now.value = Date.now()), 1_000);
