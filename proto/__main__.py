"""Proto: makes `account_monitor.v1`, the messages in Python, from the definitions beside this file.

python -m proto            write them
python -m proto --check    fail if they are not what the definitions say
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

HERE = Path(__file__).parent
SOURCES = HERE.parent / "src"
MADE_IN = SOURCES / "account_monitor" / "v1"


def make(folder: Path) -> dict[str, bytes]:
    """Make the messages below a folder; return the files by name."""
    definitions = sorted(path.relative_to(HERE).as_posix() for path in HERE.rglob("*.proto"))
    included = Path(grpc_tools.__file__).parent / "_proto"
    arguments = ["protoc", f"-I{HERE}", f"-I{included}", f"--python_out={folder}", f"--pyi_out={folder}", *definitions]
    if protoc.main(arguments) != 0:
        sys.exit("proto: the definitions cannot be read")
    return {path.name: path.read_bytes() for path in (folder / "account_monitor" / "v1").glob("*_pb2*")}


def main(*, is_check: bool) -> None:
    """Write the messages, or compare them."""
    if not is_check:
        make(SOURCES)
        return
    with tempfile.TemporaryDirectory() as scratch:
        made = make(Path(scratch))
    if made != {path.name: path.read_bytes() for path in MADE_IN.glob("*_pb2*")}:
        sys.exit("src/account_monitor/v1 is not what proto/ says: run `make proto`")


if __name__ == "__main__":
    main(is_check="--check" in sys.argv[1:])
