"""Panels: the parts of a Grafana dashboard, as the JSON that Grafana reads (schema 39, Grafana 10.3 and later)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple, TypeAlias

Json: TypeAlias = dict[str, Any]
Unit: TypeAlias = Literal["currencyUSD", "s", "ops", "short", "percent", "percentunit", "bytes", "bool_on_off"]

DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24
"""How wide Grafana's grid is."""

ROW_HEIGHT, STAT_HEIGHT, GRAPH_HEIGHT = 1, 4, 8


class Query(NamedTuple):
    """What is asked of Prometheus, and how each series is called; `{{label}}` stands for the value of a label."""

    expr: str
    legend: str = ""


class Panel(NamedTuple):
    """A graph over time, or a number (`is_stat`) that turns red from `red_from` on, or up to `red_to`."""

    title: str
    description: str
    unit: Unit
    queries: tuple[Query, ...]
    width: int = 8
    is_stat: bool = False
    red_from: float | None = None
    red_to: float | None = None


class Row(NamedTuple):
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


def laid_out(rows: Iterable[Row]) -> list[Json]:
    """Return the panels of all rows, each in its place: from left to right, then below."""
    return [
        {"id": number, "gridPos": place, **content} for number, (place, content) in enumerate(_placed(rows), start=1)
    ]


def _placed(rows: Iterable[Row]) -> Iterator[tuple[Json, Json]]:
    top = 0
    for row in rows:
        yield _place(0, top, COLUMNS, ROW_HEIGHT), {"type": "row", "title": row.title, "collapsed": False, "panels": []}
        top += ROW_HEIGHT
        left = height = 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                top, left, height = top + height, 0, 0
            panel_height = STAT_HEIGHT if panel.is_stat else GRAPH_HEIGHT
            yield _place(left, top, panel.width, panel_height), _content(panel)
            left, height = left + panel.width, max(height, panel_height)
        top += height


def _place(left: int, top: int, width: int, height: int) -> Json:
    return {"x": left, "y": top, "w": width, "h": height}


def _content(panel: Panel) -> Json:
    return {
        "type": "stat" if panel.is_stat else "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "targets": [_target(index, query, panel) for index, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _stat_options() if panel.is_stat else _graph_options(),
    }


def _target(index: int, query: Query, panel: Panel) -> Json:
    return {
        "refId": chr(ord("A") + index),
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "instant": panel.is_stat,
        "range": not panel.is_stat,
    }


def _defaults(panel: Panel) -> Json:
    defaults: Json = {"unit": panel.unit, "color": {"mode": "thresholds" if panel.is_stat else "palette-classic"}}
    defaults["thresholds"] = {"mode": "absolute", "steps": _steps(panel)}
    if panel.is_stat:
        return defaults
    is_marked = panel.red_from is not None or panel.red_to is not None
    defaults["custom"] = {
        "drawStyle": "line", "lineWidth": 1, "fillOpacity": 0, "showPoints": "never", "spanNulls": False,
        "thresholdsStyle": {"mode": "line" if is_marked else "off"},
    }  # fmt: skip
    return defaults


def _steps(panel: Panel) -> list[Json]:
    """Return the colours, each from its value on; the first has none."""
    if panel.red_to is not None:
        return [{"color": "red", "value": None}, {"color": "green", "value": panel.red_to}]
    steps: list[Json] = [{"color": "green", "value": None}]
    if panel.red_from is not None:
        steps.append({"color": "red", "value": panel.red_from})
    return steps


def _graph_options() -> Json:
    return {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def _stat_options() -> Json:
    return {
        "colorMode": "value", "graphMode": "none", "justifyMode": "auto", "textMode": "auto", "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }  # fmt: skip
