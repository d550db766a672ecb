import type { Signal } from "@preact/signals";

interface Props<T> {
  label: string;
  of: readonly T[];
  chosen: Signal<T>;
}

/** Buttons of which one is pressed. */
export function Choice<T extends { name: string }>({ label, of, chosen }: Props<T>) {
  return (
    <div class="choice" role="group" aria-label={label}>
      {of.map((each) => (
        <button key={each.name} type="button" aria-pressed={each === chosen.value} onClick={() => (chosen.value = each)}>
          {each.name}
        </button>
      ))}
    </div>
  );
}
