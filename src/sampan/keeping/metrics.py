"""Kept components in the text format of Prometheus, for processes that make their metrics by hand. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from sampan.keeping.keeper import Kept

RUNNING = ("sampan_component_running", "Whether a component runs: 0 while it waits to be started again")
FAILURES = ("sampan_component_failures", "How often a component failed and was started again")


def render_components(components: Iterable[Kept]) -> str:
    kept = list(components)
    lines = [f"# HELP {RUNNING[0]} {RUNNING[1]}", f"# TYPE {RUNNING[0]} gauge"]
    lines += [f'{RUNNING[0]}{{component="{_escaped(each.name)}"}} {int(each.state != "waiting")}' for each in kept]
    lines += [f"# HELP {FAILURES[0]}_total {FAILURES[1]}", f"# TYPE {FAILURES[0]}_total counter"]
    lines += [f'{FAILURES[0]}_total{{component="{_escaped(each.name)}"}} {each.failures}' for each in kept]
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
