/** Chart: equity over time, and how far below its peak the P&L is. */

import {
  AreaSeries,
  ColorType,
  createChart,
  createTextWatermark,
  TickMarkType,
  type IChartApi,
  type ISeriesApi,
  type ITextWatermarkPluginApi,
  type Time,
  type UTCTimestamp,
} from "lightweight-charts";
import { shown } from "./decimal.ts";
import { below, gaps, type Point } from "./line.ts";

const EQUITY_SHARE = 3;

function color(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

const NAME_SIZE = 11;

/** An amount on the axes, as it is everywhere on the page: a picture of the size, so a float will do. */
function amount(value: number): string {
  return shown(value.toFixed(2), 2);
}

/** A tick that is not of a whole minute says its seconds, so that no two of them say the same. */
function tick(time: Time, type: TickMarkType): string | null {
  const isWithin = type === TickMarkType.Time && Number(time) % 60 !== 0;
  return isWithin ? new Date(Number(time) * 1000).toISOString().slice(11, 19) : null;
}

export class EquityChart {
  readonly #chart: IChartApi;
  readonly #equity: ISeriesApi<"Area">;
  readonly #drawdown: ISeriesApi<"Area">;
  readonly #name: ITextWatermarkPluginApi<Time> | undefined;
  #deepest = "";
  readonly #onTheme = (): void => this.#paint();

  constructor(place: HTMLElement) {
    this.#chart = createChart(place, {
      autoSize: true,
      layout: { attributionLogo: false, background: { type: ColorType.Solid, color: "transparent" }, fontFamily: "inherit" },
      rightPriceScale: { borderVisible: false },
      timeScale: { borderVisible: false, timeVisible: true, secondsVisible: false, tickMarkFormatter: tick },
      localization: { priceFormatter: amount },
      crosshair: { horzLine: { labelVisible: true } },
    });
    this.#equity = this.#chart.addSeries(AreaSeries, { lineWidth: 2, lastValueVisible: false, priceFormat: { type: "price", precision: 2, minMove: 0.01 } }, 0);
    this.#drawdown = this.#chart.addSeries(
      AreaSeries,
      { lineWidth: 1, invertFilledArea: true, lastValueVisible: false, priceLineVisible: false, priceFormat: { type: "price", precision: 2, minMove: 0.01 } },
      1,
    );
    const [upper, lower] = this.#chart.panes();
    upper?.setStretchFactor(EQUITY_SHARE);
    lower?.setStretchFactor(1);
    // At the left nothing is under its highest yet: there the name is in nobody's way.
    this.#name = lower && createTextWatermark(lower, { horzAlign: "left", vertAlign: "bottom", lines: [] });
    this.#paint();
    addEventListener("themechange", this.#onTheme);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", this.#onTheme);
  }

  #paint(): void {
    const grid = { color: color("--line") };
    this.#chart.applyOptions({ layout: { textColor: color("--faint") }, grid: { vertLines: grid, horzLines: grid } });
    const accent = color("--accent");
    this.#equity.applyOptions({ lineColor: accent, topColor: color("--accent-soft"), bottomColor: "transparent" });
    this.#drawdown.applyOptions({ lineColor: color("--loss"), topColor: color("--loss-soft"), bottomColor: color("--loss-soft") });
    this.#write();
  }

  /** Name the lower part, whose figure stands nowhere else on the page. */
  #write(): void {
    const text = `P&L under its highest, USD${this.#deepest}`;
    this.#name?.applyOptions({ lines: [{ text, color: color("--faint"), fontSize: NAME_SIZE }] });
  }

  /** Show a line whose points are `step` seconds apart, or some of those. */
  show(line: readonly Point[], step: number, isNewRange: boolean): void {
    const deep = below(line);
    const drawn = line.map((each) => ({ time: each.time as UTCTimestamp, value: each.equity }));
    const empty = gaps(line, step).map((time) => ({ time: time as UTCTimestamp }));
    this.#equity.setData([...drawn, ...empty].sort((one, other) => one.time - other.time));
    this.#drawdown.setData(line.map((each, index) => ({ time: each.time as UTCTimestamp, value: deep[index] ?? 0 })));
    this.#deepest = line.length ? `; deepest ${amount(Math.min(...deep))}` : "";
    this.#write();
    if (!isNewRange) return;
    const seconds = (line.at(-1)?.time ?? 0) - (line[0]?.time ?? 0);
    this.#chart.timeScale().applyOptions({ secondsVisible: seconds < 1_800 });
    this.#chart.timeScale().fitContent();
  }

  remove(): void {
    removeEventListener("themechange", this.#onTheme);
    matchMedia("(prefers-color-scheme: dark)").removeEventListener("change", this.#onTheme);
    this.#chart.remove();
  }
}
