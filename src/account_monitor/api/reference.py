"""Reference: the OpenAPI description, and the page that shows it without loading anything from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources
from typing import Any, NamedTuple

import msgspec

from account_monitor.api.glossary import term
from account_monitor.api.problems import KINDS

Json = dict[str, Any]

INTRODUCTION = """\
Positions, P&L and balances of trading accounts, exact to the last digit.

Decimals are strings in plain fixed-point notation ("0.00001", never 1e-5). Times in answers are RFC 3339 in UTC with
milliseconds, and end in `Z`; a time in a question says its zone, `Z` or an offset such as `+02:00` (its + written %2B).
What is not known is null, and `unpriced` names why. `account` may be left out where only one account is configured. A
position key is the symbol, or in hedge mode BTCUSDT:LONG and BTCUSDT:SHORT. A query parameter that an address does not
know is refused, and so is one that is given twice.

Where tokens are configured, everything but /health, /live, /ready and this page asks for one:
`Authorization: Bearer …`. It may be for some accounts only: the others are not there for it. What is posted takes one
of scope `operate`.

Errors are problem details (RFC 9457). After a 429 or 503, try again when `Retry-After` says so.

The WebSocket /ws tells an account as it changes, and can be resumed: see docs/api.md of the project.
"""


_TOKEN = "token"  # noqa: S105  # a name
_SCOPES = (
    "Made by `account-monitor token create`; scope `operate` for what is posted. Not needed where none is configured."
)


class Page(NamedTuple):
    """What `/openapi.json` and `/docs` answer; `policy` lets the page run its own script and talk to us, no more."""

    description: bytes
    html: bytes
    policy: str


def describe(schema: Json, meanings: dict[str, str]) -> Json:
    """Complete what the types say with what a reader wants to know; `meanings` are those of the schemas, by name."""
    schema["info"]["description"] = INTRODUCTION
    schema["components"]["securitySchemes"] = {_TOKEN: {"type": "http", "scheme": "bearer", "description": _SCOPES}}
    schema["security"] = [{_TOKEN: []}, {}]  # without tokens, who is on the same machine needs none
    schema["x-problems"] = [{"name": k.name, "status": k.status, "title": k.title} for k in KINDS]
    for name, report in schema["components"]["schemas"].items():
        report["description"] = meanings[name]
        for field, property_schema in report["properties"].items():
            _explain(name, field, property_schema)
    for operations in schema["paths"].values():
        for operation in operations.values():
            _tidy(operation)
    return schema


def _explain(report: str, field: str, schema: Json) -> None:
    meaning, form = term(report, field)
    schema["description"] = meaning
    if form == "plain":
        return
    for variant in (schema, *schema.get("oneOf", ())):
        if variant.get("type") == "string":
            variant["format"] = "date-time" if form == "time" else "decimal"


def _tidy(operation: Json) -> None:
    for parameter in operation.get("parameters", ()):
        # Null is how the code says "not given"; a query cannot.
        schema = parameter["schema"]
        for variant in schema.pop("oneOf", ()):
            if variant["type"] != "null":
                schema.update(variant)
        if None in schema.get("enum", ()):
            schema |= {"type": "string", "enum": [value for value in schema["enum"] if value is not None]}
    for status, response in operation["responses"].items():
        if status in ("429", "503") and "application/problem+json" in response["content"]:
            wait = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
            response["headers"] = {"Retry-After": wait}
        elif status == "200":
            response["description"] = "As asked"


def reference_page(description: Json) -> Page:
    """Return the pages for a description."""
    html = resources.files("account_monitor.api").joinpath("reference.html").read_text(encoding="utf-8")
    script, style = _digest(html, "script"), _digest(html, "style")
    policy = (
        f"default-src 'none'; script-src '{script}'; style-src '{style}'; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Page(msgspec.json.encode(description), html.encode(), policy)


def _digest(html: str, element: str) -> str:
    """Return how a content security policy names the one inline element of this kind."""
    (text,) = re.findall(f"<{element}>(.*?)</{element}>", html, re.DOTALL)
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
