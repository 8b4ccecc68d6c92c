"""``/healthz``, ``/livez``, ``/readyz`` and a path for each check (apiserver pkg/server/healthz).

``Health`` holds the checks; the server adds them as it starts and flips ``shutting_down`` first of all when it stops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal

from sampan.server.request import Request, Response

#: None: well; else why not. Must answer at once.
Check = Callable[[], str | None]
Probe = Literal["healthz", "livez", "readyz"]
PROBES: tuple[Probe, ...] = ("healthz", "livez", "readyz")
#: What a start consists of, by upstream's names: the caches are filled, definitions are served, what the cluster needs
#: is there.
CACHES, DEFINITIONS = "informer-sync", "poststarthook/crd-informer-synced"
BOOTSTRAP = ("poststarthook/rbac/bootstrap-roles", "poststarthook/scheduling/bootstrap-system-priority-classes")


class Health:
    """Invariant: every probe starts with ``ping``; ``readyz`` ends with ``shutdown``."""

    def __init__(self) -> None:
        self._checks: dict[Probe, dict[str, Check]] = {probe: {"ping": lambda: None} for probe in PROBES}
        self._unfinished: set[str] = set()
        self.shutting_down = False

    def add(self, name: str, check: Check, probes: Iterable[Probe] = PROBES) -> None:
        for probe in probes:
            self._checks[probe][name] = check

    def add_store(self, *, fault: str | None = None) -> None:
        """The store's own, ``etcd`` as upstream calls it whatever store it is. ``fault``: from now on, and for ever."""
        self.add("etcd", lambda: fault)

    def add_steps(self, *names: str) -> None:
        """Of the start, which nobody is ready before: each until ``finish`` names it."""
        self._unfinished.update(names)
        for name in names:
            self.add(name, partial(self._step, name), ("readyz",))

    def _step(self, name: str) -> str | None:
        return "not finished" if name in self._unfinished else None

    def finish(self, *names: str) -> None:
        self._unfinished.difference_update(names)

    def checks(self, probe: Probe) -> dict[str, Check]:
        checks = dict(self._checks[probe])
        if probe == "readyz":
            checks["shutdown"] = lambda: "process is shutting down" if self.shutting_down else None
        return checks

    def ready(self) -> bool:
        return all(check() is None for check in self.checks("readyz").values())

    def handle(self, request: Request) -> Response | None:
        """None: not a health path."""
        probe, _, single = request.raw_path.strip("/").partition("/")
        if probe not in PROBES:
            return None
        checks = self.checks(probe)
        if single:
            return self._single(single, checks)
        excluded = set(
            request.query_lists.get("exclude") or ([request.query["exclude"]] if "exclude" in request.query else [])
        )
        return _report(probe, checks, excluded, verbose="verbose" in request.query)

    def _single(self, name: str, checks: dict[str, Check]) -> Response | None:
        if name not in checks:
            return None
        fault = checks[name]()
        if fault is None:
            return _text(200, "ok")
        return _text(500, f"internal server error: {fault}\n")


def _report(probe: str, checks: dict[str, Check], excluded: set[str], *, verbose: bool) -> Response:
    lines, failed = [], False
    for name, check in checks.items():
        if name in excluded:
            lines.append(f"[+]{name} excluded: ok")
            continue
        if check() is None:
            lines.append(f"[+]{name} ok")
        else:
            # The cause is in the log, not in an answer that anonymous callers may read (as upstream).
            lines.append(f"[-]{name} failed: reason withheld")
            failed = True
    unknown = sorted(excluded - set(checks))
    if unknown:
        quoted = ", ".join(f'"{name}"' for name in unknown)
        lines.append(f"warn: some health checks cannot be excluded: no matches for {quoted}")
    body = "\n".join(lines)
    if failed:
        return _text(500, f"{body}\n{probe} check failed\n")
    return _text(200, f"{body}\n{probe} check passed\n" if verbose else "ok")


def _text(status: int, text: str) -> Response:
    headers = {"X-Content-Type-Options": "nosniff"}
    return Response(status, text.encode(), "text/plain; charset=utf-8", headers)
