"""Containers that do not start, end again and again, or are not ready: exit codes, memory, probes, references."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from sampan.api.objects import is_deleting
from sampan.api.pods.requests import amounts
from sampan.api.reading import flag, part, parts, text, whole
from sampan.api.resources import CONFIG_MAPS, PODS, SECRETS, SERVICE_ACCOUNTS
from sampan.api.types import Obj
from sampan.why import fit
from sampan.why.model import Action, Cause, Fix, Ref, ref_of
from sampan.why.near import nearest
from sampan.why.rules.images import waiting
from sampan.why.table import Found, rule
from sampan.why.templates import change, container_in, holder, rollback
from sampan.why.world import World

_CONFIG: Final = "CreateContainerConfigError"
_MISSING: Final = re.compile(r'(configmap|secret) "([^"]+)" not found')
_KEY: Final = re.compile(r"couldn't find key (\S+) in (ConfigMap|Secret) ([^/\s]+)/(\S+)")
_EXITS: Final = {
    1: "its program failed",
    2: "its program was called wrongly",
    126: "its command cannot be executed",
    127: "its command was not found",
    128: "it could not be started",
    134: "it aborted itself (SIGABRT)",
    137: "it was killed (SIGKILL)",
    139: "it read memory that is not its own (SIGSEGV)",
    143: "it was told to end (SIGTERM)",
    255: "its program failed",
}
_FEW_RESTARTS: Final = 1


def _statuses(pod: Obj) -> Iterator[tuple[Obj, bool]]:
    """(status, whether it is an init container)."""
    status = part(pod, "status")
    for each in parts(status, "initContainerStatuses"):
        yield each, True
    for each in parts(status, "containerStatuses"):
        yield each, False


def _ended(status: Obj) -> Obj:
    """How it ended last."""
    return part(part(status, "state"), "terminated") or part(part(status, "lastState"), "terminated")


def _spec(pod: Obj, name: str) -> Obj:
    for sort in ("containers", "initContainers"):
        for each in parts(part(pod, "spec"), sort):
            if text(each, "name") == name:
                return each
    return {}


def _is_crashing(pod: Obj, status: Obj) -> bool:
    """It ended badly, and is not well again."""
    ended = _ended(status)
    if not ended or is_deleting(pod) or not (ended.get("exitCode") or text(ended, "reason") == "OOMKilled"):
        return False
    return (not flag(status, "ready") and "running" not in part(status, "state")) or (
        "running" in part(status, "state") and not flag(status, "ready")
    )


def _killed_by_probe(world: World, pod: Obj, name: str) -> tuple[str, str]:
    """(kind of the probe, what it said); ("", "")."""
    events = [each for each in world.events_of(PODS, pod) if _about(each) in ("", name)]
    killed = next(
        (text(e, "message") for e in events if text(e, "reason") == "Killing" and "probe" in text(e, "message")), ""
    )
    if not killed:
        return "", ""
    kind = "startup" if "startup" in killed else "liveness"
    for event in events:
        if text(event, "reason") in ("Unhealthy", "ProbeWarning") and text(event, "message").lower().startswith(kind):
            return kind, text(event, "message")
    return kind, killed


def _about(event: Obj) -> str:
    found = re.search(r"\{([^}]+)\}", text(part(event, "involvedObject"), "fieldPath"))
    return found[1] if found else ""


def _crashes(pod: Obj) -> Iterator[tuple[str, Obj, Obj, bool]]:
    for status, init in _statuses(pod):
        if _is_crashing(pod, status):
            yield text(status, "name"), status, _ended(status), init


def _restarts(status: Obj) -> str:
    count = whole(status, "restartCount") or 0
    return f"it was started again {count} time{'s' * (count != 1)}"


@rule("out-of-memory", PODS, says="containers that were killed for memory")
def out_of_memory(world: World, pod: Obj) -> Found:
    for status, _ in _statuses(pod):
        ended, name = _ended(status), text(status, "name")
        if text(ended, "reason") != "OOMKilled":
            continue
        limit = amounts(part(_spec(pod, name), "resources").get("limits")).get("memory", 0)
        ref = ref_of(PODS, pod)
        if not limit:
            yield Cause(
                f"{ref.place}: container {name} was killed because its node had no memory left.",
                (f"exit code {ended.get('exitCode')}, reason OOMKilled; it has no memory limit", _restarts(status)),
                Fix("let it request what it needs, so that it is placed where there is room"),
                rank=6,
            )
            continue
        more = fit.show("memory", limit * 2)

        def edit(template: Obj, name: str = name, more: str = more) -> None:
            container_in(template, name)["resources"]["limits"]["memory"] = more

        yield Cause(
            f"{ref.place}: container {name} was killed because it used more than its memory limit of "
            f"{fit.show('memory', limit)}.",
            (f"exit code {ended.get('exitCode')}, reason OOMKilled", _restarts(status)),
            change(holder(world, PODS, pod), f"raise the limit, as to {more}, or let it use less", edit),
            rank=6,
        )


@rule("killed-by-probe", PODS, says="containers that fail their liveness or startup probe")
def killed_by_probe(world: World, pod: Obj) -> Found:
    if is_deleting(pod):
        return
    for status, _ in _statuses(pod):
        name = text(status, "name")
        if not whole(status, "restartCount") and not _ended(status):
            continue
        kind, said = _killed_by_probe(world, pod, name)
        probe = part(_spec(pod, name), f"{kind}Probe")
        if not kind or not probe:
            continue

        def edit(template: Obj, name: str = name, kind: str = kind) -> None:
            del container_in(template, name)[f"{kind}Probe"]

        every, most = whole(probe, "periodSeconds") or 10, whole(probe, "failureThreshold") or 3
        yield Cause(
            f"{ref_of(PODS, pod).place}: container {name} is killed again and again because its {kind} probe fails.",
            (said, f"asked every {every} s, {most} failures in a row kill it", _restarts(status)),
            change(
                holder(world, PODS, pod), "ask what the program answers, give it longer, or leave the probe out", edit
            ),
            rank=7,
        )


@rule("init-crash", PODS, says="init containers that fail")
def init_crash(world: World, pod: Obj) -> Found:
    for name, status, ended, init in _crashes(pod):
        if init and text(ended, "reason") != "OOMKilled":
            yield _crash(
                world,
                pod,
                name,
                status,
                ended,
                f"init container {name}",
                "none of the others starts before it has ended well",
            )


@rule("crash", PODS, says="containers that end with an error")
def crash(world: World, pod: Obj) -> Found:
    for name, status, ended, init in _crashes(pod):
        if not init and text(ended, "reason") != "OOMKilled" and not _killed_by_probe(world, pod, name)[0]:
            yield _crash(world, pod, name, status, ended, f"container {name}", _restarts(status))


def _crash(world: World, pod: Obj, name: str, status: Obj, ended: Obj, who: str, besides: str) -> Cause:
    code = whole(ended, "exitCode") or 0
    ref = ref_of(PODS, pod)
    where = f" -n {ref.namespace}"
    said = text(ended, "message").strip()
    means = _EXITS.get(code, f"it was ended by signal {code - 128}" if 128 < code < 160 else "its program failed")
    words = (
        "see what it said before it ended, and mend the program or its configuration: "
        f"`kubectl logs {ref.name}{where} -c {name} --previous`"
    )
    if code in (126, 127, 128):
        words = (
            f"mend `command` of the container: nothing of that name is in its image {text(_spec(pod, name), 'image')}"
        )
    back = rollback(world, holder(world, PODS, pod))
    fix = Fix(words)
    if back is not None:
        fix = Fix(f"{words}; until then go back to revision {back[1]}", (back[0],))
    return Cause(
        f"{ref.place}: {who} ends with exit code {code}: {means}.",
        (
            *((f"it said: {said[-300:]}",) if said else ()),
            f"it ended at {text(ended, 'finishedAt')}, reason {text(ended, 'reason') or 'Error'}",
            besides,
        ),
        fix,
        rank=8,
    )


@rule("completed-again", PODS, says="containers that end well and are started again")
def completed(world: World, pod: Obj) -> Found:
    """A program that ends, under a restart policy that never lets it."""
    for status, init in _statuses(pod):
        ended = _ended(status)
        state = text(part(part(status, "state"), "waiting"), "reason")
        if init or not ended or ended.get("exitCode") or state != "CrashLoopBackOff":
            continue
        name = text(status, "name")
        kind, _ = _killed_by_probe(world, pod, name)
        if not kind:
            yield Cause(
                f"{ref_of(PODS, pod).place}: container {name} ends by itself (exit code 0), and is "
                "started again each time.",
                (_restarts(status), f"restartPolicy is {text(part(pod, 'spec'), 'restartPolicy') or 'Always'}"),
                Fix("let its program go on, or run it as a Job"),
                rank=8,
            )


@rule("configmap-missing", PODS, says="ConfigMaps that containers take variables from")
def config_map(world: World, pod: Obj) -> Found:
    yield from _reference(world, pod, CONFIG_MAPS)


@rule("secret-missing", PODS, says="Secrets that containers take variables from")
def secret(world: World, pod: Obj) -> Found:
    yield from _reference(world, pod, SECRETS)


def _reference(world: World, pod: Obj, resource: type[object] | object) -> Iterator[Cause]:
    namespace, ref = text(part(pod, "metadata"), "namespace"), ref_of(PODS, pod)
    for name, state in waiting(pod):
        found = _MISSING.search(text(state, "message"))
        if text(state, "reason") != _CONFIG or found is None:
            continue
        of = CONFIG_MAPS if found[1] == "configmap" else SECRETS
        if of is not resource:
            continue
        target = Ref(of, found[2], namespace)
        keys = _keys(pod, name, of.kind, found[2])
        yield missing(world, ref, f"container {name}", target, keys, text(state, "message"))


def missing(world: World, ref: Ref, who: str, target: Ref, keys: list[str], said: str) -> Cause:
    """A ConfigMap or Secret that is not there: create it, with the keys that are asked for."""
    kind = target.resource.kind
    there = world.all(target.resource, target.namespace)
    near = nearest(target.name, [text(part(each, "metadata"), "name") for each in there])
    field = "data" if kind == "ConfigMap" else "stringData"
    made: Obj = {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": target.name, "namespace": target.namespace},
        field: dict.fromkeys(keys, ""),
    }
    evidence = [said] if said else []
    if near:
        evidence.append(f"there are of like names: {', '.join(near)}")
    return Cause(
        f"{ref.place} cannot start {who}: the {kind} {target.name} does not exist in namespace {target.namespace}.",
        tuple(evidence),
        Fix("create it, with the values that are asked of it", (Action("create", target, made),)),
        rank=4,
    )


def _keys(pod: Obj, container: str, kind: str, name: str) -> list[str]:
    field = "configMapKeyRef" if kind == "ConfigMap" else "secretKeyRef"
    listed = parts(_spec(pod, container), "env")
    refs = [part(part(each, "valueFrom"), field) for each in listed]
    return sorted({text(each, "key") for each in refs if text(each, "name") == name})


@rule("key-missing", PODS, says="keys of ConfigMaps and Secrets that containers ask for")
def key(world: World, pod: Obj) -> Found:
    for name, state in waiting(pod):
        found = _KEY.search(text(state, "message"))
        if text(state, "reason") != _CONFIG or found is None:
            continue
        wanted, kind, namespace, holder_name = found[1], found[2], found[3], found[4].rstrip(".,")
        resource = CONFIG_MAPS if kind == "ConfigMap" else SECRETS
        target = Ref(resource, holder_name, namespace)
        obj = world.get(resource, holder_name, namespace)
        keys = sorted(part(obj, "data")) if obj is not None else []
        field = "data" if kind == "ConfigMap" else "stringData"
        yield Cause(
            f"{ref_of(PODS, pod).place} cannot start container {name}: the {kind} {holder_name} has no key {wanted}.",
            (f"it has {', '.join(keys[:10]) or 'no keys'}", text(state, "message")),
            Fix("add the key, with the value that it needs", (Action("patch", target, {field: {wanted: ""}}),)),
            rank=4,
        )


@rule("root-image", PODS, says="runAsNonRoot against the user of images")
def root(world: World, pod: Obj) -> Found:
    for name, state in waiting(pod):
        said = text(state, "message")
        if text(state, "reason") != _CONFIG or "runAsNonRoot" not in said:
            continue

        def edit(template: Obj, name: str = name) -> None:
            own = container_in(template, name)
            own["securityContext"] = {**(own.get("securityContext") or {}), "runAsUser": 1000}

        yield Cause(
            f"{ref_of(PODS, pod).place} cannot start container {name}: it must not run as root "
            "(runAsNonRoot), and its image does.",
            (said,),
            change(holder(world, PODS, pod), "let it run as another user", edit),
            rank=4,
        )


@rule("cannot-start", PODS, says="containers that their runtime cannot start")
def cannot_start(world: World, pod: Obj) -> Found:
    for name, state in waiting(pod):
        reason, said = text(state, "reason"), text(state, "message")
        if reason in (
            "CreateContainerError",
            "RunContainerError",
            "StartError",
            "PostStartHookError",
            "PreStartHookError",
        ) or (reason == _CONFIG and not (_MISSING.search(said) or _KEY.search(said) or "runAsNonRoot" in said)):
            yield Cause(
                f"{ref_of(PODS, pod).place} cannot start container {name}: {reason}.",
                (said,),
                Fix("mend what the message names"),
                rank=9,
            )


@rule("not-ready-probe", PODS, says="readiness probes")
def readiness(world: World, pod: Obj) -> Found:
    if is_deleting(pod):
        return
    for status, init in _statuses(pod):
        name = text(status, "name")
        probe = part(_spec(pod, name), "readinessProbe")
        if init or not probe or flag(status, "ready") or "running" not in part(status, "state"):
            continue
        events = [
            text(each, "message")
            for each in world.events_of(PODS, pod)
            if text(each, "reason") == "Unhealthy" and text(each, "message").startswith("Readiness")
        ]
        asks = next(
            (
                f"{sort}: {show_probe(probe, sort)}"
                for sort in ("httpGet", "tcpSocket", "exec", "grpc")
                if sort in probe
            ),
            "",
        )

        def edit(template: Obj, name: str = name) -> None:
            del container_in(template, name)["readinessProbe"]

        yield Cause(
            f"{ref_of(PODS, pod).place} runs, and is not ready: the readiness probe of container "
            f"{name} does not succeed.",
            (*events[:1], f"it asks {asks}"),
            change(holder(world, PODS, pod), "ask what the program answers, or leave the probe out", edit),
            "certain" if events else "likely",
            rank=10,
        )


def show_probe(probe: Obj, sort: str) -> str:
    asked = part(probe, sort)
    if sort == "httpGet":
        return f"{text(asked, 'path') or '/'} at port {asked.get('port')}"
    if sort == "exec":
        return " ".join(str(each) for each in asked.get("command") or ())
    return f"port {asked.get('port')}"


@rule("sandbox", PODS, says="whether its network and sandbox can be made")
def sandbox(world: World, pod: Obj) -> Found:
    if part(pod, "status").get("podIP") or is_deleting(pod) or not text(part(pod, "spec"), "nodeName"):
        return
    for event in world.events_of(PODS, pod):
        if text(event, "reason") in ("FailedCreatePodSandBox", "NetworkNotReady"):
            yield Cause(
                f"{ref_of(PODS, pod).place} cannot start: node {text(part(pod, 'spec'), 'nodeName')} "
                "cannot make its sandbox.",
                (text(event, "message"),),
                Fix("mend the network plugin or the runtime of the node (or its RuntimeClass, where it names one)"),
                rank=7,
            )
            return


__all__ = ["SERVICE_ACCOUNTS", "missing"]
