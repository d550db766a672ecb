import type { ComponentChildren } from "preact";

interface Props {
  title: string;
  id?: string;
  aside?: ComponentChildren;
  children: ComponentChildren;
  class?: string;
}

export function Panel({ title, id, aside, children, class: extra }: Props) {
  const name = id ?? title.toLowerCase().replace(/[^a-z]+/g, "-");
  return (
    <section class={`panel ${extra ?? ""}`} aria-labelledby={`${name}-title`} id={name}>
      <header>
        <h2 id={`${name}-title`}>{title}</h2>
        {aside}
      </header>
      {children}
    </section>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

/** The class of a gain or a loss; a sign and a word say it too. */
export function tone(sign: number): string {
  return sign > 0 ? "gain" : sign < 0 ? "loss" : "";
}
