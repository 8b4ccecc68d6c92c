"""Ingresses that answer 503 or 404: their Services, ports, classes, certificates."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from sampan.api.reading import part, parts, text
from sampan.api.resources import INGRESS_CLASSES, INGRESSES, SECRETS, SERVICES
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.why.model import Action, Cause, Fix, Lead, Ref, ref_of
from sampan.why.near import nearest
from sampan.why.states import state
from sampan.why.table import Found, rule
from sampan.why.world import World


@dataclass(frozen=True, slots=True)
class _Backend:
    """``path``: to the service of it in the Ingress, as a JSON pointer."""

    service: str
    port: Obj
    path: str
    shown: str


def _backends(ingress: Obj) -> Iterator[_Backend]:
    spec = part(ingress, "spec")
    default = part(part(spec, "defaultBackend"), "service")
    if default:
        yield _Backend(
            text(default, "name"), part(default, "port"), "/spec/defaultBackend/service", "the default backend"
        )
    for index, one in enumerate(parts(spec, "rules")):
        for number, path in enumerate(parts(part(one, "http"), "paths")):
            service = part(part(path, "backend"), "service")
            if service:
                at = f"/spec/rules/{index}/http/paths/{number}/backend/service"
                shown = f"{text(one, 'host') or '*'}{text(path, 'path') or '/'}"
                yield _Backend(text(service, "name"), part(service, "port"), at, shown)


@rule("ingress-service", INGRESSES, says="Services that it leads to")
def service(world: World, ingress: Obj) -> Found:
    ref = ref_of(INGRESSES, ingress)
    for each in _backends(ingress):
        if not world.absent(SERVICES, each.service, ref.namespace):
            continue
        names = [text(part(one, "metadata"), "name") for one in world.all(SERVICES, ref.namespace)]
        near = nearest(each.service, names)
        fix = Fix(f"create the Service {each.service}, or lead to another")
        if near:
            patch = [{"op": "replace", "path": f"{each.path}/name", "value": near[0]}]
            fix = Fix(f"lead to {near[0]}", (Action("json", ref, patch),))
        yield Cause(
            f"{ref.place} answers 503 at {each.shown}: its Service {each.service} does not exist.",
            (f"Services of namespace {ref.namespace}: {', '.join(names[:8]) or 'none'}",),
            fix,
            rank=1,
        )


@rule("ingress-port", INGRESSES, says="ports of those Services")
def port(world: World, ingress: Obj) -> Found:
    ref = ref_of(INGRESSES, ingress)
    for each in _backends(ingress):
        found = world.get(SERVICES, each.service, ref.namespace)
        if found is None:
            continue
        listed = parts(part(found, "spec"), "ports")
        number, name = each.port.get("number"), text(each.port, "name")
        if any((number and one.get("port") == number) or (name and text(one, "name") == name) for one in listed):
            continue
        fix = Fix("name a port that the Service has")
        if listed:
            patch = [{"op": "replace", "path": f"{each.path}/port", "value": {"number": listed[0]["port"]}}]
            fix = Fix(f"lead to port {listed[0]['port']}", (Action("json", ref, patch),))
        shown = ", ".join(f"{text(one, 'name')} {one.get('port')}".strip() for one in listed) or "none"
        yield Cause(
            f"{ref.place} answers 503 at {each.shown}: the Service {each.service} has no port {number or name}.",
            (f"ports of the Service: {shown}",),
            fix,
            rank=1,
        )


@rule("ingress-endpoints", INGRESSES, says="endpoints of those Services")
def endpoints(world: World, ingress: Obj) -> Found:
    ref = ref_of(INGRESSES, ingress)
    for each in _backends(ingress):
        found = world.get(SERVICES, each.service, ref.namespace)
        if found is not None and state(world, SERVICES, found).well is False:
            yield Lead(Ref(SERVICES, each.service, ref.namespace), "leads to")


@rule("ingress-class", INGRESSES, says="its class")
def ingress_class(world: World, ingress: Obj) -> Found:
    ref = ref_of(INGRESSES, ingress)
    wanted = text(part(ingress, "spec"), "ingressClassName")
    annotated = text(part(part(ingress, "metadata"), "annotations"), "kubernetes.io/ingress.class")
    classes = world.all(INGRESS_CLASSES)
    names = [text(part(each, "metadata"), "name") for each in classes]
    default = [
        text(part(each, "metadata"), "name")
        for each in classes
        if text(part(part(each, "metadata"), "annotations"), "ingressclass.kubernetes.io/is-default-class") == "true"
    ]
    if wanted in names or (not wanted and (annotated or default)) or world.fault(INGRESS_CLASSES):
        return
    meant = (*nearest(wanted, names), *default, *names)
    fix = Fix("install an Ingress controller, which brings its class")
    if meant:
        fix = Fix(f"use the class {meant[0]}", (Action("patch", ref, {"spec": {"ingressClassName": meant[0]}}),))
    yield Cause(
        f"{ref.place} is served by nobody: "
        + (f"there is no IngressClass {wanted}." if wanted else "it names no class, and none is the default."),
        (f"classes: {', '.join(names) or 'none'}",),
        fix,
        rank=0,
    )


@rule("ingress-certificate", INGRESSES, says="Secrets of its certificates")
def certificate(world: World, ingress: Obj) -> Found:
    ref = ref_of(INGRESSES, ingress)
    for each in parts(part(ingress, "spec"), "tls"):
        name = text(each, "secretName")
        if name and world.absent(SECRETS, name, ref.namespace):
            hosts = ", ".join(str(host) for host in each.get("hosts") or ()) or "its hosts"
            yield Cause(
                f"{ref.place} has no certificate for {hosts}: the Secret {name} does not exist.",
                ("until then a certificate of the proxy's own is shown",),
                Fix(
                    f"create it: `kubectl create secret tls {shlex.quote(name)} -n {ref.namespace} --cert=tls.crt "
                    "--key=tls.key`, or "
                    "let cert-manager make it"
                ),
                rank=2,
            )
