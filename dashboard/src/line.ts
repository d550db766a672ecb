/** Line: equity and P&L over time, for pictures. */

/** How far apart the points of the last minutes are, in seconds: as the history tells them and as the page keeps them. */
export const LIVE_STEP = 5;

export interface Point {
  /** Seconds since 1970. */
  time: number;
  equity: number;
  net: number;
}

/** Note a point on a grid of `LIVE_STEP`: it replaces the last one until its step is over. Keep `seconds` of the line. */
export function noted(line: readonly Point[], point: Point, seconds: number): Point[] {
  const time = onGrid(point.time);
  return [...line.filter((each) => each.time > time - seconds && each.time < time), { ...point, time }];
}

function onGrid(time: number): number {
  return Math.floor(time / LIVE_STEP) * LIVE_STEP;
}

/** The times that are missing between points for all to be `step` seconds apart: a chart gives each the same room. */
export function gaps(line: readonly Point[], step: number): number[] {
  const missing: number[] = [];
  line.forEach((point, index) => {
    const next = line[index + 1]?.time ?? point.time;
    for (let time = point.time + step; time < next; time += step) missing.push(time);
  });
  return missing;
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
