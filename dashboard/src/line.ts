/** Line: equity and P&L over time, for pictures. */

export interface Point {
  /** Seconds since 1970. */
  time: number;
  equity: number;
  net: number;
}

/** Add up lines point by point. It begins where all have begun. */
export function addedUp(lines: readonly (readonly Point[])[]): Point[] {
  const [first, ...others] = lines;
  if (first === undefined) return [];
  if (others.length === 0) return [...first];
  const times = [...new Set(lines.flatMap((line) => line.map((each) => each.time)))].sort((a, b) => a - b);
  const places = lines.map(() => -1);
  const whole: Point[] = [];
  for (const time of times) {
    let equity = 0;
    let net = 0;
    let isWhole = true;
    lines.forEach((line, index) => {
      let place = places[index] ?? -1;
      while (place + 1 < line.length && (line[place + 1]?.time ?? Infinity) <= time) place++;
      places[index] = place;
      const known = line[place];
      if (known === undefined) isWhole = false;
      else {
        equity += known.equity;
        net += known.net;
      }
    });
    if (isWhole) whole.push({ time, equity, net });
  }
  return whole;
}

/** How far below its highest so far each net P&L is: a drawdown in money, which no deposit changes. */
export function below(line: readonly Point[]): number[] {
  let peak = -Infinity;
  return line.map((each) => {
    peak = Math.max(peak, each.net);
    return each.net - peak;
  });
}
