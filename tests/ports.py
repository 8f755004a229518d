"""Port offsets for the stacks of tests: every port is free, and reserved for this process until it ends."""

from __future__ import annotations

import fcntl
import tempfile
from pathlib import Path
from typing import IO

from configs import Settings, load_settings
from flows.stack.probing import is_free

__all__ = ["free_offset"]

#: Open lock files, one per port; closing one would let another test process take its port.
RESERVED: list[IO[bytes]] = []


def ports_of(settings: Settings) -> set[int]:
    ports = settings.ports
    return {ports[name] for name in type(ports).model_fields if name != "offset"}


def reserve(port: int) -> bool:
    """Lock the port against other test processes of this machine; False if one of them has it."""
    folder = Path(tempfile.gettempdir()) / "headrace-test-ports"
    folder.mkdir(exist_ok=True)
    file = (folder / str(port)).open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return False
    RESERVED.append(file)
    return True


def free_offset() -> int:
    """An offset at which every port of a stack is free, and no other test process has reserved one.

    A stack's replicas use a range of 1000 ports. At a distance of 1009 no two of the offsets share any port.
    """
    for offset in range(1000, 20001, 1009):
        settings = load_settings("local", {"HEADRACE_PORT_OFFSET": str(offset)})
        before = len(RESERVED)
        if all(is_free(settings.host, port) and reserve(port) for port in ports_of(settings)):
            return offset
        while len(RESERVED) > before:
            RESERVED.pop().close()
    raise RuntimeError("No free range of ports for a stack between the offsets 1000 and 20000.")
