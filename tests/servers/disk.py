"""A disk of a few megabytes for the tests, which they may fill and free."""

from __future__ import annotations

import subprocess

from tests.servers.guard import guard
from tests.servers.process import make_directory, remove_directory


class SmallDisk:
    """A mount of its own; as a context manager it is there for the length of the block. It takes Linux, and root."""

    def __init__(self, megabytes: int) -> None:
        self._directory = make_directory("disk")
        self.path = self._directory / "disk"
        """Where it is mounted."""
        self.path.mkdir()
        options = f"size={megabytes}m,mode=0700"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", self.path], check=True)
        guard().take("mount", self.path)

    def __enter__(self) -> SmallDisk:
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", self.path], check=True)  # what was killed a moment ago may still be going
        guard().forget("mount", self.path)
        remove_directory(self._directory)

    def fill(self) -> None:
        """Leave no free byte."""
        with (self.path / "ballast").open("ab", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(64 * 1024))
            except OSError:
                pass

    def free(self) -> None:
        """Take away what `fill` wrote."""
        (self.path / "ballast").unlink()
