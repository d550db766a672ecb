"""Reference: every address, message and call in Markdown, from the code itself; `make docs` puts it into the site.

python -m docs.reference FOLDER    write rest.md and grpc.md there

REST comes from the OpenAPI document that a service shows at /openapi.json, gRPC from the definitions in proto/. Nothing
of it is kept in the repository, so it cannot be older than the code.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc_tools
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

from account_monitor import __version__
from account_monitor.api.renderer import Renderer
from account_monitor.api.rendering import Renderings
from account_monitor.api.rest import openapi_document
from account_monitor.monitor.desk import Desk

Json = dict[str, Any]

PROTO = Path(__file__).resolve().parents[1] / "proto"
DEFINITION = "account_monitor/v1/account_monitor.proto"

_SERVICE, _MESSAGE, _ENUM, _FIELD, _METHOD, _VALUE = 6, 4, 5, 2, 2, 2
"""Numbers of the fields of descriptor.proto, of which the paths of comments are made."""

_FieldType = descriptor_pb2.FieldDescriptorProto


# -- Markdown ----------------------------------------------------------------------------------------------------------


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table, nothing where it has no rows."""
    lines = [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    return [f"| {' | '.join(heading)} |", f"|{' --- |' * len(heading)}", *lines, ""] if lines else []


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _slug(name: str) -> str:
    return name.lower()


# -- REST --------------------------------------------------------------------------------------------------------------


def rest_page(document: Json) -> str:
    """Return the page of an OpenAPI document."""
    # The service shows the same words where no other page lies beside them.
    said = document["info"]["description"].replace("docs/api.md of the project", "[REST and WebSocket](../api.md)")
    lines = ["# REST reference", "", f"Version {document['info']['version']}.", "", said, ""]
    lines += ["## Addresses", ""]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            lines += _operation(path, method, operation)
    lines += ["## Answers", ""]
    for name, schema in document["components"]["schemas"].items():
        lines += [f"### {name}", "", schema["description"], ""]
        fields = schema["properties"].items()
        lines += table(
            ("field", "type", "meaning"), ((f"`{field}`", _type(each), each["description"]) for field, each in fields)
        )
    lines += ["## Problems", "", "`type` of the problem details that an error answers with.", ""]
    problems = document["x-problems"]
    lines += table(("name", "status", "meaning"), ((f"`{p['name']}`", str(p["status"]), p["title"]) for p in problems))
    return "\n".join(lines)


def _operation(path: str, method: str, operation: Json) -> Iterator[str]:
    said = str(operation.get("description", operation["summary"]))
    yield from (f"### {method.upper()} {path}", "", said, "")
    parameters = operation.get("parameters", ())
    yield from table(
        ("parameter", "type", "meaning"),
        ((f"`{p['name']}`", _type(p["schema"]), p.get("description", "") + _limits(p["schema"])) for p in parameters),
    )
    for content in operation.get("requestBody", {}).get("content", {}).values():
        yield from (f"Body: {_type(content['schema'])}", "")
    yield from table(("status", "answer"), _answers(operation["responses"]))


def _answers(responses: Json) -> Iterator[tuple[str, str]]:
    for status, response in responses.items():
        types = [_type(content["schema"]) for content in response.get("content", {}).values()]
        yield f"`{status}`", " → ".join([response["description"], *types])


def _type(schema: Json) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{_slug(name)})"
    if "oneOf" in schema:
        return " or ".join(_type(each) for each in schema["oneOf"])
    if "enum" in schema:
        return " or ".join(f"`{each}`" for each in schema["enum"])
    match schema.get("type"):
        case "array":
            return f"list of {_type(schema['items'])}"
        case "object" if "additionalProperties" in schema:
            return f"object of {_type(schema['additionalProperties'])}"
        case None:
            return "anything"
        case name:
            return str(schema.get("format", name))


def _limits(schema: Json) -> str:
    said = [f"{word} {_figure(schema[key])}" for key, word in _LIMITS.items() if key in schema]
    return f" ({', '.join(said)})" if said else ""


def _figure(value: Any) -> str:
    # The framework makes floats of the limits of whole numbers.
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else json.dumps(value).strip('"')


_LIMITS = {"minimum": "from", "maximum": "to", "default": "default"}


# -- gRPC --------------------------------------------------------------------------------------------------------------


class Comments:
    """The comments of a definition, by the path of what they are about."""

    def __init__(self, file: descriptor_pb2.FileDescriptorProto) -> None:
        self._by_path = {tuple(each.path): each for each in file.source_code_info.location}

    def of(self, *path: int) -> str:
        """Return the comment before something, or behind it on its line; empty where there is none."""
        found = self._by_path.get(path)
        text = "" if found is None else found.leading_comments or found.trailing_comments
        return "\n".join(line.removeprefix(" ") for line in text.strip("\n").split("\n"))

    def of_file(self) -> str:
        """Return what stands above `syntax`."""
        return self.of(12)


def read_definition() -> descriptor_pb2.FileDescriptorProto:
    """Return the definition with its comments. Raises: SystemExit where it cannot be read."""
    included = Path(grpc_tools.__file__).parent / "_proto"
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "described"
        arguments = ["protoc", f"-I{PROTO}", f"-I{included}", "--include_source_info", f"--descriptor_set_out={made}"]
        if protoc.main([*arguments, DEFINITION]) != 0:
            sys.exit(f"{PROTO / DEFINITION} cannot be read")
        described = descriptor_pb2.FileDescriptorSet.FromString(made.read_bytes())
    return described.file[-1]


def grpc_page(file: descriptor_pb2.FileDescriptorProto) -> str:
    """Return the page of a definition."""
    comments = Comments(file)
    lines = ["# gRPC reference", "", f"Package `{file.package}`.", "", "```text", comments.of_file(), "```", ""]
    for number, service in enumerate(file.service):
        lines += [f"## {service.name}", "", comments.of(_SERVICE, number), ""]
        for place, method in enumerate(service.method):
            stream = "a stream of " if method.server_streaming else ""
            lines += [f"### {service.name}.{method.name}", "", comments.of(_SERVICE, number, _METHOD, place), ""]
            lines += [f"{_named(method.input_type)} → {stream}{_named(method.output_type)}", ""]
    lines += ["## Messages", ""]
    for number, message in enumerate(file.message_type):
        lines += [f"### {message.name}", "", comments.of(_MESSAGE, number), ""]
        entries = {each.name: each for each in message.nested_type if each.options.map_entry}
        lines += table(
            ("number", "field", "type", "meaning"),
            (
                (str(field.number), f"`{field.name}`", _field(field, entries), comments.of(_MESSAGE, number, _FIELD, n))
                for n, field in enumerate(message.field)
            ),
        )
    if file.enum_type:
        lines += ["## Enumerations", ""]
    for number, enum in enumerate(file.enum_type):
        lines += [f"### {enum.name}", "", comments.of(_ENUM, number), ""]
        values = enumerate(enum.value)
        lines += table(
            ("number", "name", "meaning"),
            ((str(v.number), f"`{v.name}`", comments.of(_ENUM, number, _VALUE, n)) for n, v in values),
        )
    return "\n".join(lines)


def _field(field: _FieldType, entries: dict[str, descriptor_pb2.DescriptorProto]) -> str:
    entry = entries.get(field.type_name.rpartition(".")[2])
    if entry is not None:
        key, value = entry.field
        return f"map of {_scalar(key)} to {_scalar(value)}"
    before = "repeated " if field.label == _FieldType.LABEL_REPEATED else "optional " if field.proto3_optional else ""
    return before + _scalar(field)


def _scalar(field: _FieldType) -> str:
    if field.type_name:
        return _named(field.type_name)
    return _FieldType.Type.Name(field.type).removeprefix("TYPE_").lower()


def _named(name: str) -> str:
    if name.startswith(".google."):
        return f"`{name[1:]}`"
    short = name.rpartition(".")[2]
    return f"[{short}](#{_slug(short)})"


def main(folder: Path) -> None:
    """Write both pages."""
    folder.mkdir(parents=True, exist_ok=True)
    document = openapi_document(Desk(lambda: 0, __version__), Renderings(0, Renderer()))
    (folder / "rest.md").write_text(rest_page(document), encoding="utf-8")
    (folder / "grpc.md").write_text(grpc_page(read_definition()), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m docs.reference FOLDER")
    main(Path(sys.argv[1]))
