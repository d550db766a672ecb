"""Whatever stands in a file or in the environment: settings, or lines that say why not. Nothing else."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from account_monitor.config import Settings, check_settings, load_settings
from account_monitor.config.schema import Listing, Section, Table, keys_of
from account_monitor.errors import ConfigurationError


def keys(settings_type: type) -> Iterator[str]:
    for name, key in keys_of(settings_type).items():
        yield name
        match key.kind:
            case Section(section) | Listing(Section(section)) | Table(_, Section(section)):
                yield from keys(section)
            case _:
                pass


KEYS = sorted(set(keys(Settings)))
TEXTS = [
    "null", "~", "''", "true", "yes", "main", "none", "0", "-1", "65536", "1e999", "0.1", "5s", "1h", "00:00Z", "USDT",
    "nats://a", "postgresql://a:b@c/d", "::", "2026-11-22T12:00:00Z", "9999-12-31T23:59:59-23:59", '"\\ud800"', "*a",
    "&a x", "!!int 1", "<<", "😀", "'\\0'", '"\\U00110000"', "٣", "~x/y", "%", "a b", "[]", "{}", "?",
]  # fmt: skip
yaml_values = st.recursive(
    st.sampled_from(TEXTS) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(st.sampled_from(KEYS) | st.sampled_from(TEXTS), inner, max_size=3).map(
            lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs.items()) + "}"
        )
    ),
    max_leaves=12,
)
documents = st.dictionaries(st.sampled_from(list(keys_of(Settings))), yaml_values, max_size=4).map(
    lambda pairs: "\n".join(f"{key}: {value}" for key, value in pairs.items()).encode("utf-8", "surrogatepass")
)
variables = st.dictionaries(
    st.lists(st.sampled_from(["HTTP", "port", "ACCOUNTS", "0", "1", "NAME", "OPENING", "BALANCES", "", "X", *KEYS]))
    .map("__".join)
    .map("ACCOUNT_MONITOR__{}".format),
    st.sampled_from(TEXTS) | yaml_values | st.just("\udc80"),
    max_size=4,
)
section_variables = st.dictionaries(
    st.sampled_from([f"ACCOUNT_MONITOR__{name.upper()}" for name in keys_of(Settings)]),
    yaml_values | st.text(max_size=6),
    max_size=2,
)


@pytest.fixture(scope="module")
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "config.yaml"


def settings_or_lines(path: Path, content: bytes, environ: dict[str, str]) -> None:
    path.write_bytes(content)
    lines = check_settings(path, environ)
    assert all(line.isprintable() and 0 < len(line) < 5_000 for line in lines)
    if lines:
        with pytest.raises(ConfigurationError) as caught:
            load_settings(path, environ)
        assert str(caught.value) == lines[0]
    else:
        assert hash(load_settings(path, environ)) == hash(load_settings(path, environ))


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@example(b'a: "\\U99999999"')
@example(b"%YAML 9" + b"9" * 5000 + b".1\n---\na")
@example(b"\xef\xbb\xbf\xef\xbb\xbf")
def test_any_bytes_are_settings_or_lines(path: Path, content: bytes) -> None:
    settings_or_lines(path, content, {})


@settings(max_examples=300)
@given(documents, variables | section_variables)
@example(b"", {"ACCOUNT_MONITOR__": "1"})
@example(b"http: {host: '\xc2\xb2.1'}", {})
def test_anything_that_looks_like_a_configuration_is_settings_or_lines(
    path: Path, content: bytes, environ: dict[str, str]
) -> None:
    settings_or_lines(path, content, environ)
