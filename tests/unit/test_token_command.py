"""`token` and `check-config` about tokens: mistakes are one line that says what to do, and change nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from account_monitor.cli import run
from account_monitor.cli.findings import Outcome
from account_monitor.cli.local_checks import check_tokens

CONFIG = {
    "service": {"data_dir": "data"},
    "accounts": [{"name": name, "exchange": "none"} for name in ("main", "alt")],
    "auth": {"tokens_file": "tokens.json"},
}


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a configuration."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps(CONFIG))
    return file


@pytest.fixture
def operator(capsys: pytest.CaptureFixture[str]) -> str:
    """The text of a token that is in the file."""
    assert run(["token", "create", "--name", "operator", "--scope", "operate"]) == 0
    return capsys.readouterr().out.strip()


def test_the_output_is_the_token_alone_and_the_words_are_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--name", "bot", "--scope", "read", "--account", "alt", "--account", "main", "--expires", "90d"]
    assert run(["token", "create", *arguments]) == 0

    said = capsys.readouterr()
    assert said.out.startswith("am_")
    assert said.out.count("\n") == 1
    assert "token bot (read; alt, main; expires 20" in said.err
    assert said.out.strip() not in said.err


def test_a_list_tells_everything_but_the_secret(operator: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["token", "list"]) == 0
    assert run(["token", "list", "--json"]) == 0

    line, as_json = capsys.readouterr().out.splitlines()
    assert line.startswith("operator")
    assert "  operate  valid    all accounts  created " in line
    assert line.endswith("expires never")
    facts = json.loads(as_json)
    assert (facts["name"], facts["scope"], facts["accounts"], facts["state"]) == ("operator", "operate", None, "valid")
    assert operator.split("_", 2)[2] not in line + as_json


@pytest.mark.parametrize(
    ("arguments", "code", "wanted"),
    [
        ("create --name a/b --scope read", 2, "--name: was 'a/b', expected 1 to 40 letters"),
        ("create --name a --scope admin", 2, "'admin' is not one of 'read', 'operate'"),
        ("create --name a --scope read --account nope", 2, "--account: was 'nope', expected one of main, alt"),
        ("create --name a --scope read --expires soon", 2, "--expires: was 'soon', expected a duration such as"),
        ("create --name a --scope read --expires 1s", 2, "--expires: was '1s', expected a duration of at least 1m"),
        ("create --name operator --scope read", 1, "the name 'operator' is taken by a token of 20"),
        ("revoke nobody", 1, "no token 'nobody' is there to be revoked; not revoked: operator"),
        ("revoke", 2, "expected the name of a token, or --all"),
        ("revoke operator --all", 2, "expected the name of a token, or --all"),
        ("history", 1, "there is no such journal; was the service ever started here?"),
    ],
)
@pytest.mark.usefixtures("operator")
def test_mistakes_are_one_line_and_change_nothing(
    capsys: pytest.CaptureFixture[str], arguments: str, code: int, wanted: str
) -> None:
    before = Path("tokens.json").read_bytes()

    assert run(["token", *arguments.split()]) == code

    said = capsys.readouterr()
    assert said.out == ""
    assert wanted in said.err
    assert said.err.count("\n") == 1
    assert Path("tokens.json").read_bytes() == before


@pytest.mark.parametrize("command", ["create --name a --scope read", "list", "revoke a"])
def test_where_no_file_is_configured_the_key_to_set_is_named(
    config: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    config.write_text(json.dumps({**CONFIG, "auth": {}}))

    assert run(["token", *command.split()]) == 2
    assert "auth.tokens_file: was null, expected a file such as data/tokens.json" in capsys.readouterr().err


@pytest.mark.usefixtures("operator")
def test_all_tokens_are_revoked_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["token", "revoke", "--all"]) == 0
    assert "token operator is revoked" in capsys.readouterr().err

    assert run(["token", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "revoked"


@pytest.mark.usefixtures("operator")
def test_the_file_that_is_acted_on_is_named_from_the_root(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("create --name other --scope read", "list", "revoke other"):
        assert run(["token", *command.split()]) == 0
        assert f"in {tmp_path}/tokens.json" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_told_from_an_empty_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["token", "list"]) == 0
    (tmp_path / "tokens.json").touch(mode=0o600)
    assert run(["token", "list"]) == 0

    missing, empty = capsys.readouterr().err.splitlines()
    assert missing == f"{tmp_path}/tokens.json: there is no such file; nobody is let in"
    assert empty == f"{tmp_path}/tokens.json: no token; nobody is let in"


def test_without_a_configuration_the_missing_file_is_named(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.unlink()

    assert run(["token", "list"]) == 2
    said = capsys.readouterr().err
    assert f"{config}: is not there" in said
    assert "--config" in said
    assert said.count("\n") == 1


def test_a_token_in_a_file_that_others_can_read_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bot.token"
    warned = []
    for mode in (0o644, 0o600):
        file.write_text("am_token")
        file.chmod(mode)
        assert run(["status", "--url", "http://127.0.0.1:1", "--token-file", str(file)]) == 1
        warned.append(capsys.readouterr().err.count(f"warning: --token-file: {file} can be read"))

    assert warned == [1, 0]


def test_check_config_says_that_nobody_is_let_in_yet(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check-config"]) == 0
    assert "tokens.json holds no token yet, so nobody is let in" in capsys.readouterr().err


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize(
    ("mode", "content", "wanted"), [(0o640, None, "has mode 0640"), (0o600, "[]", "is no file of")]
)
def test_check_config_refuses_a_file_that_may_not_be_used(
    capsys: pytest.CaptureFixture[str], mode: int, content: str | None, wanted: str
) -> None:
    file = Path("tokens.json")
    file.write_text(content or file.read_text())
    file.chmod(mode)

    assert run(["check-config"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("account-monitor: config.yaml: auth.tokens_file: tokens.json: ")
    assert wanted in said


@pytest.mark.usefixtures("operator")
def test_doctor_tells_whether_the_file_lets_anybody_in() -> None:
    file = Path("tokens.json")
    found = [check_tokens(file)]
    assert run(["token", "revoke", "operator"]) == 0
    found.append(check_tokens(file))
    file.chmod(0o644)
    found.append(check_tokens(file))
    found.append(check_tokens(Path("none.json")))

    assert [each.outcome for each in found] == [Outcome.OK, Outcome.WARNING, Outcome.FAILED, Outcome.WARNING]
    assert found[0].found == "tokens.json: 1 valid, 0 expired, 0 revoked"


@pytest.mark.parametrize("section", ["http", "grpc"])
def test_without_tokens_no_door_is_opened_to_others(
    config: Path, capsys: pytest.CaptureFixture[str], section: str
) -> None:
    config.write_text(json.dumps({**CONFIG, "auth": {}, section: {"host": "0.0.0.0"}}))  # noqa: S104  # refused

    for command in ("check-config", "run"):
        assert run([command]) == 2
        said = capsys.readouterr().err
        assert f'{section}.host was "0.0.0.0"' in said
        assert "account-monitor token create" in said
        assert said.count("\n") == 1


@pytest.mark.usefixtures("operator")
def test_what_a_network_can_read_is_warned_of(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    beyond = {name: {"host": "0.0.0.0"} for name in ("http", "grpc", "metrics")}  # noqa: S104  # nothing is bound
    config.write_text(json.dumps({**CONFIG, **beyond}))

    assert run(["check-config"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] + line.partition(":")[2].partition(":")[0] for line in said] == [
        "warning http.host", "warning grpc.host", "warning metrics.host",
    ]  # fmt: skip
    assert "speaks no TLS" in said[0]
    assert "reads the figures of all accounts" in said[2]


@pytest.mark.parametrize(
    ("url", "is_sent"),
    [("http://192.0.2.1:8080", False), ("http://127.0.0.1:1", True), ("http://localhost:1", True)],
)
def test_a_token_goes_to_no_other_machine_in_clear(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str, is_sent: bool
) -> None:
    monkeypatch.setenv("ACCOUNT_MONITOR_TOKEN", "am_token")

    code = run(["status", "--url", url])

    said = capsys.readouterr().err
    assert (code, "which was not sent; use https, or say --insecure" in said) == (1 if is_sent else 2, not is_sent)


def test_metrics_cannot_ask_for_tokens_that_there_are_not(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(json.dumps({**CONFIG, "auth": {}, "metrics": {"require_token": "true"}}))

    assert run(["check-config"]) == 2
    assert "metrics.require_token was true, expected false without auth.tokens_file" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "two words", "é"])
def test_a_file_that_holds_no_token_is_named(capsys: pytest.CaptureFixture[str], content: str) -> None:
    Path("token").write_text(content, encoding="utf-8")

    assert run(["status", "--url", "http://127.0.0.1:1", "--token-file", "token"]) == 2
    assert "--token-file: token: holds no token" in capsys.readouterr().err
