"""Tokens and their file: what is kept, who may read it, and that no change is lost."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path

import pytest

from account_monitor.errors import CommandFailed, TokensRefused
from account_monitor.monitor.reports import time_text
from account_monitor.stores.tokens_file import TokensFile
from account_monitor.tokens import Token, TokenSet, new_token

NOW_MS = 1_700_000_000_000
HOUR_MS = 3_600_000


def made(name: str = "bot", **more: object) -> tuple[Token, str]:
    return new_token(name, "read", now_ms=NOW_MS, by="ann", **more)  # type: ignore[arg-type]


@pytest.fixture
def file(tmp_path: Path) -> TokensFile:
    return TokensFile(tmp_path / "tokens.json")


def tokens_of(file: TokensFile) -> TokenSet:
    tokens = file.read()
    assert tokens is not None
    return tokens


# Tokens


def test_a_token_is_recognized_by_its_text_and_by_no_other() -> None:
    token, text = made()
    other, _ = made("other")
    known = TokenSet([token, other])
    secret = text.rpartition("_")[2]

    assert known.recognize(text) == token
    wrong = [text[:-1], text + "A", text.upper(), f"am_{other.id}_{secret}", secret, "", "am_", "x" * 10_000, "é"]
    assert [known.recognize(each) for each in wrong] == [None] * len(wrong)


def test_a_text_holds_256_random_bits_and_is_made_once() -> None:
    texts = {made()[1] for _ in range(100)}

    assert len(texts) == 100
    assert {len(text.split("_", 2)[2]) for text in texts} == {43}


def test_nothing_that_is_kept_tells_the_secret() -> None:
    token, text = made()

    assert text.split("_", 2)[2] not in repr(token)


def test_a_token_expires_and_is_revoked() -> None:
    token, _ = made(lifetime_ms=HOUR_MS)

    assert token.state(NOW_MS + HOUR_MS - 1) == "valid"
    assert token.state(NOW_MS + HOUR_MS) == "expired"
    assert token._replace(revoked_ms=NOW_MS).state(NOW_MS) == "revoked"


@pytest.mark.parametrize("name", ["", "a" * 41, "-bot", "a b", "a\nb", "bót", "local", "LOCAL"])
def test_a_name_that_would_be_misread_in_a_journal_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected 1 to 40 letters"):
        made(name)


@pytest.mark.parametrize("name", ["b", "a" * 40, "ann@desk", "ci-2.read_only"])
def test_other_names_are_taken(name: str) -> None:
    assert made(name)[0].name == name


# The file


def test_what_is_written_is_read_again(file: TokensFile) -> None:
    one, _ = made(accounts=["main", "alt"], lifetime_ms=HOUR_MS)
    other, _ = made("other")

    file.add(one)
    file.add(other)
    revoked = file.revoke("bot", now_ms=NOW_MS + 1, by="bob")

    assert tokens_of(file).tokens == (revoked, other)
    assert (revoked.revoked_ms, revoked.revoked_by) == (NOW_MS + 1, "bob")


def test_the_file_holds_no_secret_and_is_for_its_owner_alone(file: TokensFile) -> None:
    token, text = made()

    file.add(token)

    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert text.split("_", 2)[2] not in file.path.read_text()


def test_where_there_is_no_file_there_are_no_tokens_and_an_empty_one_has_none(file: TokensFile) -> None:
    assert file.read() is None
    file.path.touch(0o600)
    assert len(tokens_of(file)) == 0


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o602, 0o620, 0o644, 0o666])
def test_a_file_that_others_can_read_or_write_is_refused(file: TokensFile, mode: int) -> None:
    file.add(made()[0])
    file.path.chmod(mode)

    with pytest.raises(TokensRefused, match=f"has mode {mode:04o}, expected 0600"):
        file.read()
    with pytest.raises(TokensRefused):
        file.add(made("other")[0])


def test_a_file_of_somebody_else_is_refused(file: TokensFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.add(made()[0])
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)

    with pytest.raises(TokensRefused, match=f"belongs to user {own}, expected {own + 1}"):
        file.read()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_service_of_root_takes_nobody_elses_file_and_a_command_of_root_does(file: TokensFile) -> None:
    """Somebody else's file lets them in, wherever it stands; root makes tokens for the user of the service."""
    file.add(made()[0])
    os.chown(file.path, 12_345, -1)

    with pytest.raises(TokensRefused, match="belongs to user 12345, expected 0"):
        file.read(is_served=True)
    file.add(made("other")[0])
    assert len(tokens_of(file)) == 2
    assert file.path.stat().st_uid == 12_345


def test_a_pipe_in_its_place_is_refused_at_once(file: TokensFile) -> None:
    os.mkfifo(file.path, 0o600)

    with pytest.raises(TokensRefused, match="is no file, expected a regular one"):
        file.read()  # nobody writes into it


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[]", "Expected `object`"),
        ("{", "truncated"),
        ('{"version": 2, "tokens": []}', "version was 2, expected 1"),
        ('{"version": 1}', "missing required field `tokens`"),
        ('{"version": 1, "tokens": [], "more": 1}', "unknown field `more`"),
        ("\xff", "no file of tokens"),
    ],
)
def test_a_file_that_cannot_be_understood_is_named_with_the_reason(
    file: TokensFile, content: str, problem: str
) -> None:
    file.path.touch(0o600)
    file.path.write_bytes(content.encode("latin-1"))

    with pytest.raises(TokensRefused) as refused:
        file.read()

    assert str(file.path) in str(refused.value)
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [("sha256", "abc"), ("id", "XYZ"), ("scope", "admin"), ("created", "yesterday"), ("name", "two\nlines")],
)
def test_a_token_that_is_none_makes_the_file_invalid(file: TokensFile, field: str, value: str) -> None:
    file.add(made()[0])
    document = json.loads(file.path.read_text())
    document["tokens"][0][field] = value
    file.path.write_text(json.dumps(document))

    with pytest.raises(TokensRefused, match="is no file of tokens"):
        file.read()


def test_a_name_is_given_once_also_after_it_was_revoked(file: TokensFile) -> None:
    file.add(made()[0])
    file.revoke("bot", now_ms=NOW_MS, by="ann")

    with pytest.raises(CommandFailed, match="'Bot' is taken"):
        file.add(made("Bot")[0])


def test_what_cannot_be_revoked_is_named_with_what_can(file: TokensFile) -> None:
    file.add(made("one")[0])
    file.add(made("two")[0])
    file.revoke("two", now_ms=NOW_MS, by="ann")

    with pytest.raises(CommandFailed, match="no token 'three' is there to be revoked; not revoked: one"):
        file.revoke("three", now_ms=NOW_MS, by="ann")


def test_who_revoked_a_token_first_is_told_to_who_does_it_again(file: TokensFile) -> None:
    file.add(made("bot")[0])
    file.revoke("bot", now_ms=NOW_MS, by="ann")

    with pytest.raises(CommandFailed, match=f"token 'bot' was already revoked, at {time_text(NOW_MS)} by ann"):
        file.revoke("bot", now_ms=NOW_MS + 1, by="bob")

    assert [(token.revoked_ms, token.revoked_by) for token in tokens_of(file).tokens] == [(NOW_MS, "ann")]


def test_all_are_revoked_at_once_and_those_of_before_keep_when(file: TokensFile) -> None:
    for name in ("one", "two", "three"):
        file.add(made(name)[0])
    file.revoke("two", now_ms=NOW_MS, by="ann")

    revoked = file.revoke_all(now_ms=NOW_MS + 1, by="bob")

    assert [token.name for token in revoked] == ["one", "three"]
    assert [(token.name, token.revoked_by) for token in tokens_of(file).tokens] == [
        ("one", "bob"), ("two", "ann"), ("three", "bob"),
    ]  # fmt: skip
    assert file.revoke_all(now_ms=NOW_MS + 2, by="bob") == []


def test_commands_at_the_same_time_lose_no_change(file: TokensFile) -> None:
    workers = [threading.Thread(target=file.add, args=(made(f"bot{n}")[0],)) for n in range(16)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert {token.name for token in tokens_of(file).tokens} == {f"bot{n}" for n in range(16)}


def test_a_write_that_fails_leaves_the_file_as_it_was(file: TokensFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.add(made()[0])
    before = file.path.read_bytes()

    def fail(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(TokensRefused, match="cannot be written: No space left on device"):
        file.add(made("other")[0])

    assert file.path.read_bytes() == before
    assert sorted(path.name for path in file.path.parent.iterdir()) == ["tokens.json", "tokens.json.lock"]


def test_a_link_goes_on_leading_to_the_file(tmp_path: Path) -> None:
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    TokensFile(real).add(made()[0])
    link.symlink_to(real)

    TokensFile(link).add(made("other")[0])

    assert link.is_symlink()
    assert len(tokens_of(TokensFile(real))) == 2
