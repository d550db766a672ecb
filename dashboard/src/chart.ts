/** Chart: equity over time, and how far below its peak the P&L is. */

import { AreaSeries, ColorType, createChart, type IChartApi, type ISeriesApi, type UTCTimestamp } from "lightweight-charts";
import { below, type Point } from "./line.ts";

const EQUITY_SHARE = 3;

function color(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export class EquityChart {
  readonly #chart: IChartApi;
  readonly #equity: ISeriesApi<"Area">;
  readonly #drawdown: ISeriesApi<"Area">;
  readonly #onTheme = (): void => this.#paint();

  constructor(place: HTMLElement) {
    this.#chart = createChart(place, {
      autoSize: true,
      layout: { attributionLogo: false, background: { type: ColorType.Solid, color: "transparent" }, fontFamily: "inherit" },
      rightPriceScale: { borderVisible: false },
      timeScale: { borderVisible: false, timeVisible: true, secondsVisible: false },
      crosshair: { horzLine: { labelVisible: true } },
    });
    this.#equity = this.#chart.addSeries(AreaSeries, { lineWidth: 2, priceFormat: { type: "price", precision: 2, minMove: 0.01 } }, 0);
    this.#drawdown = this.#chart.addSeries(
      AreaSeries,
      { lineWidth: 1, invertFilledArea: true, priceLineVisible: false, priceFormat: { type: "price", precision: 2, minMove: 0.01 } },
      1,
    );
    this.#chart.panes()[0]?.setStretchFactor(EQUITY_SHARE);
    this.#chart.panes()[1]?.setStretchFactor(1);
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
  }

  show(line: readonly Point[], isNewRange: boolean): void {
    const deep = below(line);
    this.#equity.setData(line.map((each) => ({ time: each.time as UTCTimestamp, value: each.equity })));
    this.#drawdown.setData(line.map((each, index) => ({ time: each.time as UTCTimestamp, value: deep[index] ?? 0 })));
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
