/** Format: times and spans for people. Times are UTC, as in the API, the logs, the letters and the chart. */

const ZONE = { timeZone: "UTC" } as const;
const CLOCK = new Intl.DateTimeFormat(undefined, { ...ZONE, hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const DAY = new Intl.DateTimeFormat(undefined, { ...ZONE, month: "short", day: "numeric" });

export function clock(time: string | number): string {
  const date = new Date(time);
  const isToday = day(date) === day(new Date());
  return isToday ? CLOCK.format(date) : `${DAY.format(date)} ${CLOCK.format(date)}`;
}

function day(date: Date): string {
  return date.toISOString().slice(0, 10);
}

/** How long ago, or how long: `4 s`, `3 min`, `2 h`, `5 d`. */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 90) return `${seconds} s`;
  if (seconds < 5_400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}
