"""What the compiled knowledge of the built-in kinds costs: memory, and time to load, in a process of its own.

    python bench/knowledge.py

First the data files as they lie in memory, then every definition's node built and its decoding compiled, then every
protobuf message opened. Resident memory in MB, beyond that of the interpreter with the modules that read it.
"""

from __future__ import annotations

import gc
import time
from pathlib import Path

from sampan.api import schema
from sampan.api.protobuf import numbers
from sampan.api.schema import ObjectNode


def resident_mb() -> float:
    gc.collect()
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) / 1024


def main() -> None:
    before, begun = resident_mb(), time.perf_counter()
    loaded = schema.load()
    seconds = time.perf_counter() - begun
    print(f"loaded: {resident_mb() - before:.1f} MB, {seconds * 1000:.1f} ms")
    for name in loaded.names():
        node = loaded.definition(name)
        if isinstance(node, ObjectNode):
            node.settle({})
    print(f"every definition used: {resident_mb() - before:.1f} MB")
    for name in loaded.names():
        try:
            numbers.by_number(name)
        except KeyError:
            continue  # it has no protobuf form
    print(f"every message too:     {resident_mb() - before:.1f} MB")


if __name__ == "__main__":
    main()
