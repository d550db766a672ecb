import type { ComponentChildren } from "preact";
import { useEffect, useErrorBoundary } from "preact/hooks";
import { Panel } from "./panel.tsx";

/** The figures may be others by then. */
const AGAIN_MS = 3_000;

/** A part of the page: one that cannot be drawn says so, is tried again, and leaves the others as they are. */
export function Guarded({ name, children }: { name: string; children: ComponentChildren }) {
  const [error, tryAgain] = useErrorBoundary();
  useEffect(() => {
    if (error === undefined) return;
    const timer = setTimeout(tryAgain, AGAIN_MS);
    return () => clearTimeout(timer);
  }, [error]);
  if (error === undefined) return <>{children}</>;
  return (
    <Panel title={name}>
      <p class="loss" role="alert">This part cannot be drawn, and is tried again: {error instanceof Error ? error.message : String(error)}</p>
    </Panel>
  );
}
