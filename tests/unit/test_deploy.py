"""What is in deploy/: do the tools that read it take it, does every rule fire when it should, and is all of it said?"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from account_monitor.ledger.alerts import AlertType
from deploy.grafana.dashboard import dashboard
from deploy.grafana.panels import COLUMNS
from tests.deployed import (
    PROMETHEUS,
    ROOT,
    RULES_FILE,
    TESTS_FILE,
    alert_rules,
    dashboard_expressions,
    metrics_in,
    panels,
    rules,
)

RUNBOOKS = ROOT / "docs" / "runbooks.md"


def check(tool: str, *arguments: str) -> None:
    """Let a tool look, and skip where there is none."""
    if shutil.which(tool) is None:
        pytest.skip(f"there is no {tool}; it is in Debian's package {TOOLS[tool]}")
    done = subprocess.run([tool, *arguments], capture_output=True, text=True, check=False, cwd=PROMETHEUS)
    assert done.returncode == 0, done.stdout + done.stderr


TOOLS = {"promtool": "prometheus", "amtool": "prometheus-alertmanager"}


# -- rules -------------------------------------------------------------------------------------------------------------


def test_the_rules_are_rules() -> None:
    check("promtool", "check", "rules", str(RULES_FILE))


def test_every_rule_fires_when_it_should_and_not_otherwise() -> None:
    check("promtool", "test", "rules", str(TESTS_FILE))


def test_what_an_alert_reads_is_recorded_before_it_in_the_same_group() -> None:
    """Groups are evaluated beside each other: across two of them an alert may read what was recorded a turn ago."""
    for group in yaml.safe_load(RULES_FILE.read_text())["groups"]:
        recorded: set[str] = set()
        for rule in group["rules"]:
            assert {name for name in metrics_in(rule["expr"]) if ":" in name} <= recorded, rule
            recorded.add(rule.get("record", ""))


def test_every_rule_is_tested_both_ways() -> None:
    expected: dict[str, set[bool]] = {name: set() for name in alert_rules()}
    for test in yaml.safe_load(TESTS_FILE.read_text())["tests"]:
        for case in test["alert_rule_test"]:
            expected[case["alertname"]].add(bool(case["exp_alerts"]))

    assert {name for name, both in expected.items() if both != {True, False}} == set()


def test_every_alert_says_what_it_is_and_where_to_read_on() -> None:
    for name, rule in alert_rules().items():
        assert rule["labels"]["severity"] in ("critical", "warning"), name
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks.md#{name.lower()}"


def test_every_alert_of_the_service_and_every_rule_has_a_runbook_and_there_are_no_others() -> None:
    sections = re.split(r"^## ", RUNBOOKS.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    by_name = {section.partition("\n")[0]: section for section in sections}

    assert list(by_name) == [*alert_types(), *alert_rules()]
    for name, section in by_name.items():
        for heading in ("**It means:**", "**Look at:**", "**Do:**", "**It is over:**"):
            assert section.count(heading) == 1, (name, heading)


def alert_types() -> list[str]:
    """Return the alerts that the service itself tells, those of thresholds first."""
    of_risks, of_others = get_args(AlertType)
    return [*get_args(of_risks), *get_args(of_others)]


def test_the_example_of_prometheus_is_taken() -> None:
    check("promtool", "check", "config", "prometheus.yml")


def test_the_example_of_prometheus_scrapes_the_job_that_the_rules_look_for() -> None:
    jobs = [job["job_name"] for job in yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]]

    assert set(re.findall(r'job="([^"]*)"', RULES_FILE.read_text())) == set(jobs)


def test_the_example_of_the_alertmanager_is_taken() -> None:
    check("amtool", "check-config", str(ROOT / "deploy" / "alertmanager" / "alertmanager.yml"))


def test_what_the_alertmanager_inhibits_are_alerts_that_there_are() -> None:
    document = yaml.safe_load((ROOT / "deploy" / "alertmanager" / "alertmanager.yml").read_text())
    matchers = [m for rule in document["inhibit_rules"] for m in (*rule["source_matchers"], *rule["target_matchers"])]
    for matcher in matchers:
        pattern = re.search(r'"([^"]*)"', matcher)
        assert pattern is not None
        for alternative in pattern[1].split("|"):
            assert any(re.fullmatch(alternative, name) for name in alert_rules()), matcher


@pytest.mark.parametrize(("severity", "receiver"), [("critical", "on-call"), ("warning", "desk")])
def test_what_is_critical_reaches_whoever_is_on_call(severity: str, receiver: str) -> None:
    check(
        "amtool", "config", "routes", "test", f"--config.file={ROOT}/deploy/alertmanager/alertmanager.yml",
        f"--verify.receivers={receiver}", "alertname=ExchangeStreamDown", f"severity={severity}",
    )  # fmt: skip


# -- the dashboard -----------------------------------------------------------------------------------------------------


def test_the_dashboard_is_what_the_code_makes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.grafana", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_expression_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    asked = [{"record": f"asked:{number}", "expr": expr} for number, expr in enumerate(dashboard_expressions())]
    file = tmp_path / "asked.yml"
    file.write_text(json.dumps({"groups": [{"name": "asked", "rules": asked}]}))

    check("promtool", "check", "rules", str(file))


def test_the_panels_lie_side_by_side_within_the_grid() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= COLUMNS
        cells = {(x + place["x"], y + place["y"]) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_dashboard_has_what_grafana_needs_of_it() -> None:
    made = dashboard()
    identities = [panel["id"] for panel in panels()]
    assert len(identities) == len(set(identities))
    assert (made["schemaVersion"], made["uid"], made["time"]) == (
        39,
        "account-monitor",
        {"from": "now-1h", "to": "now"},
    )
    variables = {variable["name"] for variable in made["templating"]["list"]}
    for panel in panels():
        if panel["type"] == "row":
            continue
        assert panel["description"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0
        assert "unit" in panel["fieldConfig"]["defaults"]
        assert _variables(panel) <= variables | {"__rate_interval"}


def _variables(panel: Any) -> set[str]:
    return set(re.findall(r"\$\{?(\w+)", json.dumps(panel)))


def test_steps_of_colours_grow() -> None:
    for panel in panels():
        if panel["type"] != "row":
            first, *others = [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
            assert first is None
            assert others == sorted(others)


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("sum by (account) (leader) < 1", {"leader"}),
        ('up{job="a"} == 0', {"up"}),
        ("histogram_quantile(0.99, rate(lag_seconds_bucket[5m])) > 2", {"lag_seconds_bucket"}),
        ("abs(delta(account:pnl_usd[5m])) > 0.1 * abs(equity)", {"account:pnl_usd", "equity"}),
        ("a and on (x) b unless c or vector(1)", {"a", "b", "c"}),
        ("time() - stamp > 1e3", {"stamp"}),
    ],
)
def test_names_of_metrics_are_found_in_expressions(expression: str, names: set[str]) -> None:
    assert metrics_in(expression) == names


def test_every_rule_and_panel_asks_for_something() -> None:
    for expression in (*(rule["expr"] for rule in rules()), *dashboard_expressions()):
        assert metrics_in(expression), expression
