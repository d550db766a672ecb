/** Repeatedly: ask a question that the stream does not answer, again and again while somebody looks. */

/** How soon after a failure, at most: what is refused for the moment is answered in the next. */
const RETRY_MS = 5_000;

/**
 * Ask after `firstMs` and then `everyMs` after each answer, but nothing while the page is hidden. `fail` is told why an
 * answer did not come. Returns what ends it: after that, nothing is told any more.
 */
export function repeatedly<T>(
  ask: (signal: AbortSignal) => Promise<T>,
  show: (answer: T) => void,
  fail: (problem: string) => void,
  { everyMs, firstMs = 0 }: { everyMs: number; firstMs?: number },
): () => void {
  const abort = new AbortController();
  const { signal } = abort;
  let timer: ReturnType<typeof setTimeout>;
  const round = async (): Promise<void> => {
    const pauseMs = document.hidden ? everyMs : await turn();
    if (!signal.aborted) timer = setTimeout(round, pauseMs);
  };
  const turn = async (): Promise<number> => {
    try {
      const answer = await ask(signal);
      if (!signal.aborted) show(answer);
      return everyMs;
    } catch (error) {
      if (!signal.aborted) fail((error as Error).message);
      return Math.min(everyMs, RETRY_MS);
    }
  };
  timer = setTimeout(round, firstMs);
  return () => {
    clearTimeout(timer);
    abort.abort();
  };
}
