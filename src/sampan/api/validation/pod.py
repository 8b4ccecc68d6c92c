"""``PodSpec`` and ``PodTemplateSpec``: used by Pod and by every kind that makes pods."""

from __future__ import annotations

from typing import Final

from sampan.api import errors, names
from sampan.api import metadata as object_metadata
from sampan.api.types import Obj
from sampan.api.validation import (
    addresses,
    common,
    containers,
    environment,
    go_values,
    pod_annotations,
    resources,
    scheduling,
    security,
    tolerance,
    volumes,
    windows,
)
from sampan.api.validation.common import Errors
from sampan.api.validation.containers import PodContext
from sampan.api.validation.handlers import Surroundings
from sampan.api.validation.options import TEMPLATE, Options

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_PREEMPTION: Final = ("PreemptLowerPriority", "Never")
_MAX_SECONDS: Final = 2**31 - 1
_HOSTNAME: Final = 64


def all_containers(spec: Obj, path: str) -> list[tuple[Obj, str]]:
    """Of every kind, each with its path, in the order in which upstream visits them."""
    return [
        (container, f"{path}.{key}[{index}]")
        for key in ("initContainers", "containers", "ephemeralContainers")
        if key in spec
        for index, container in enumerate(spec[key] or ())
    ]


def pod(obj: Obj, options: Options) -> Errors:
    """A whole pod but for its metadata's general rules: what holds when it is made and whenever it changes."""
    spec = obj.get("spec") or {}
    found: Errors = []
    if values := (obj.get("metadata") or {}).get("annotations"):
        listed = all_containers(spec, "spec")
        found += pod_annotations.check(values, spec, "metadata.annotations", listed, options)
    found += pod_spec(spec, "spec", options, mirror=bool(values and pod_annotations.MIRROR in values))
    if not spec.get("serviceAccountName"):
        found += _no_tokens(spec)
    for key in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(key) or ()):
            found += containers.image_without_padding(container, f"spec.{key}[{index}]")
    return found


def meaning_of_annotations(obj: Obj, options: Options) -> Errors:
    """What annotations of a pod that mean something may say."""
    values, spec = (obj.get("metadata") or {}).get("annotations") or {}, obj.get("spec") or {}
    return pod_annotations.check(values, spec, "metadata.annotations", all_containers(spec, "spec"), options)


def new_pod(obj: Obj, options: Options) -> Errors:
    """One that is made."""
    spec = obj.get("spec") or {}
    found = pod(obj, options)
    if spec.get("ephemeralContainers"):
        found.append(errors.forbidden("spec.ephemeralContainers", "cannot be set on create"))
    if spec.get("nodeName") and spec.get("schedulingGates"):
        text = "cannot be set until all schedulingGates have been cleared"
        found.append(errors.forbidden("spec.nodeName", text))
    if values := (obj.get("metadata") or {}).get("annotations"):
        listed = all_containers(spec, "spec")
        found += pod_annotations.seccomp_matches(values, spec, "spec", listed)
        found += pod_annotations.apparmor_matches(values, spec, listed)
    return found


def _no_tokens(spec: Obj) -> Errors:
    return [
        errors.forbidden(
            f"spec.volumes[{index}].projected.sources[{position}].serviceAccountToken",
            "must not be specified when serviceAccountName is not set",
        )
        for index, volume in enumerate(spec.get("volumes") or ())
        for position, source in enumerate((volume.get("projected") or {}).get("sources") or ())
        if source.get("serviceAccountToken") is not None
    ]


def pod_spec(spec: Obj, path: str, options: Options = TEMPLATE, *, mirror: bool = False) -> Errors:
    """``mirror``: the pod shows one that a node runs by itself."""
    grace = spec.get("terminationGracePeriodSeconds")
    found = [errors.required(f"{path}.terminationGracePeriodSeconds")] if grace is None else []
    faults, sound = volumes.volumes(spec.get("volumes"), f"{path}.volumes", options)
    found += faults
    if spec.get("resourceClaims"):
        found += _resource_claims(spec["resourceClaims"], f"{path}.resourceClaims", mirror=mirror)
    claims = resources.ClaimNames(name for claim in spec.get("resourceClaims") or () if (name := claim.get("name")))
    context = PodContext(
        volumes=sound,
        claims=claims,
        host_users=spec.get("hostUsers") is not False,
        restart_policy=spec.get("restartPolicy", ""),
        surroundings=Surroundings(grace, (spec.get("os") or {}).get("name")),
        options=options,
    )
    regular, initial = spec.get("containers") or [], spec.get("initContainers") or []
    found += containers.containers(regular, f"{path}.containers", context)
    found += containers.init_containers(initial, f"{path}.initContainers", context, regular)
    ephemeral = spec.get("ephemeralContainers")
    found += containers.ephemeral_containers(ephemeral, f"{path}.ephemeralContainers", context, [*regular, *initial])
    if spec.get("resources") is not None:
        found += resources.pod_requirements(spec, f"{path}.resources", claims, options)
    if spec.get("hostNetwork"):
        found += _host_network(regular, f"{path}.containers", options)
    return found + _policies(spec, path) + _placement(spec, path, options) + _names(spec, path, options)


def _policies(spec: Obj, path: str) -> Errors:
    found: Errors = []
    for key, supported in (("restartPolicy", RESTART_POLICIES), ("dnsPolicy", DNS_POLICIES)):
        if spec.get(key) not in supported:
            found += common.one_of(spec.get(key), supported, f"{path}.{key}", must=True)
    return found


def _placement(spec: Obj, path: str, options: Options) -> Errors:
    found: Errors = []
    if spec.get("nodeSelector"):
        found += object_metadata.validate_labels(spec["nodeSelector"], f"{path}.nodeSelector")
    context = spec.get("securityContext")
    if context or spec.get("shareProcessNamespace"):
        found += security.pod_security_context(context, f"{path}.securityContext", spec, options)
    if spec.get("affinity"):
        found += scheduling.affinity(spec["affinity"], f"{path}.affinity", options)
    found += _dns_config(spec, f"{path}.dnsConfig")
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        where = f"{path}.readinessGates[{index}].conditionType"
        found += common.named(names.qualified_name, gate.get("conditionType", ""), where)
    if spec.get("schedulingGates"):
        found += scheduling.scheduling_gates(spec["schedulingGates"], f"{path}.schedulingGates")
    if spec.get("topologySpreadConstraints"):
        constraints = spec["topologySpreadConstraints"]
        found += scheduling.topology_spread(constraints, f"{path}.topologySpreadConstraints", options)
    return found + _namespaces(spec, path, options)


def _namespaces(spec: Obj, path: str, options: Options) -> Errors:
    """What the pod shares with the host, and what not."""
    listed = all_containers(spec, path)
    found = windows.host_processes(spec, path, listed)
    if spec.get("hostUsers") is False:
        text = "when `hostUsers` is false"
        for key, shown in (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")):
            if spec.get(key):
                found.append(errors.forbidden(f"{path}.{shown}", text))
        if not options.user_namespace_devices:
            for container, where in listed:
                if container.get("volumeDevices"):
                    found.append(errors.forbidden(f"{where}.volumeDevices", text))
    override = spec.get("hostnameOverride")
    if override is None:
        return found
    where = f"{path}.hostnameOverride"
    if spec.get("setHostnameAsFQDN"):
        found.append(errors.forbidden(where, "may not be specified when setHostnameAsFQDN is true"))
    if spec.get("hostNetwork"):
        found.append(errors.forbidden(where, "may not be specified when hostNetwork is true"))
    if len(override) > _HOSTNAME:
        found.append(errors.too_long(where, _HOSTNAME))
    return found + common.named(names.dns1123_subdomain, override, where)


_NAMED: Final = (("serviceAccountName", names.dns1123_subdomain), ("nodeName", names.dns1123_subdomain))
_HOST_NAMES: Final = (("hostname", names.dns1123_label), ("subdomain", names.dns1123_label))


def _names(spec: Obj, path: str, options: Options) -> Errors:
    found: Errors = []
    for key, check in _NAMED:
        if spec.get(key):
            found += common.named(check, spec[key], f"{path}.{key}")
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None:
        found += common.in_range(deadline, 1, _MAX_SECONDS, f"{path}.activeDeadlineSeconds")
    for key, check in _HOST_NAMES:
        if spec.get(key):
            found += common.named(check, spec[key], f"{path}.{key}")
    if spec.get("tolerations"):
        found += scheduling.tolerations(
            spec["tolerations"], f"{path}.tolerations", comparing=options.comparing_tolerations
        )
    if spec.get("hostAliases"):
        found += _host_aliases(spec["hostAliases"], f"{path}.hostAliases")
    if spec.get("priorityClassName"):
        found += common.named(names.dns1123_subdomain, spec["priorityClassName"], f"{path}.priorityClassName")
    if spec.get("runtimeClassName") is not None:
        found += common.named(names.dns1123_subdomain, spec["runtimeClassName"], f"{path}.runtimeClassName")
    if spec.get("preemptionPolicy") is not None and spec["preemptionPolicy"] not in _PREEMPTION:
        found += common.one_of(spec["preemptionPolicy"], _PREEMPTION, f"{path}.preemptionPolicy", must=True)
    if spec.get("overhead"):
        found += resources.overhead(spec["overhead"], f"{path}.overhead", options)
    listed = all_containers(spec, path)
    if spec.get("os") is not None:
        found += windows.operating_system(spec, path, listed)
    if any(container.get("env") for container, _ in listed):
        by_name = {volume.get("name", ""): volume for volume in spec.get("volumes") or ()}
        found += environment.files_of_volumes(listed, by_name)
    return found


def _resource_claims(claims: list[Obj], path: str, *, mirror: bool) -> Errors:
    if mirror:
        return [errors.forbidden("[]", "static pods do not support resource claims") for _ in claims]
    found: Errors = []
    seen: set[str] = set()
    for index, claim in enumerate(claims):
        where, name = f"{path}[{index}]", claim.get("name", "")
        if not name:
            found.append(errors.required(f"{where}.name"))
        elif name in seen:
            found.append(errors.duplicate(f"{where}.name", name))
        else:
            found += common.named(names.dns1123_label, name, f"{where}.name")
            seen.add(name)
        given = [key for key in ("resourceClaimName", "resourceClaimTemplateName") if claim.get(key) is not None]
        shown = go_values.struct(claim, go_values.of_pods("PodResourceClaim"))
        if len(given) > 1:
            text = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            found.append(errors.invalid(where, shown, text))
        if not given:
            text = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            found.append(errors.invalid(where, shown, text))
        for key in given:
            found += common.named(names.dns1123_subdomain, claim[key], f"{where}.{key}")
    return found


def _host_network(regular: list[Obj], path: str, options: Options) -> Errors:
    """Ports are the host's own. In a template they may be left out: the pod gets them."""
    found: Errors = []
    for index, container in enumerate(regular):
        for position, port in enumerate(container.get("ports") or ()):
            of_host, number = port.get("hostPort", 0), port.get("containerPort", 0)
            if of_host != number and (options.is_pod or of_host):
                text = "must match `containerPort` when `hostNetwork` is true"
                found.append(errors.invalid(f"{path}[{index}].ports[{position}].hostPort", of_host, text))
    return found


def _dns_config(spec: Obj, path: str) -> Errors:
    config = spec.get("dnsConfig")
    if spec.get("dnsPolicy") == "None":
        if config is None:
            return [errors.required(path, "must provide `dnsConfig` when `dnsPolicy` is None")]
        if not config.get("nameservers"):
            text = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            return [errors.required(f"{path}.nameservers", text)]
    if config is None:
        return []
    found: Errors = []
    servers, searches = config.get("nameservers") or [], config.get("searches") or []
    if len(servers) > 3:
        found.append(errors.invalid(f"{path}.nameservers", servers, "must not have more than 3 nameservers"))
    for index, server in enumerate(servers):
        found += addresses.ip(server, f"{path}.nameservers[{index}]")
    if len(searches) > 32:
        found.append(errors.invalid(f"{path}.searches", searches, "must not have more than 32 search paths"))
    if len(" ".join(searches)) > 2048:
        text = "must not have more than 2048 characters (including spaces) in the search list"
        found.append(errors.invalid(f"{path}.searches", searches, text))
    for index, search in enumerate(searches):
        # One trailing dot is customary; a single dot alone is the root. Underscores occur in practice.
        if search != ".":
            plain = search.removesuffix(".")
            found += common.named(names.subdomain_with_underscores, plain, f"{path}.searches[{index}]")
    for index, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            found.append(errors.required(f"{path}.options[{index}]", "must not be empty"))
    return found


def _host_aliases(aliases: list[Obj], path: str) -> Errors:
    found: Errors = []
    for index, alias in enumerate(aliases):
        found += addresses.ip(alias.get("ip", ""), f"{path}[{index}].ip")
        for position, hostname in enumerate(alias.get("hostnames") or ()):
            found += common.named(names.dns1123_subdomain, hostname, f"{path}[{index}].hostnames[{position}]")
    return found


# -- templates ---------------------------------------------------------------------------------------------------


def pod_template(template: Obj, path: str, old: Obj | None = None) -> Errors:
    """``old``: the template before an update, some of whose faults may stay."""
    found = _template(template, path, TEMPLATE)
    return _template(template, path, tolerance.of(old, TEMPLATE)) if found and old else found


def _template(template: Obj, path: str, options: Options) -> Errors:
    meta, spec = template.get("metadata") or {}, template.get("spec") or {}
    # Upstream's paths leave ``metadata`` out here.
    found = object_metadata.validate_labels(meta.get("labels"), f"{path}.labels")
    values = meta.get("annotations")
    if values:
        listed = all_containers(spec, f"{path}.spec")
        found += object_metadata.validate_annotations(values, f"{path}.annotations")
        found += pod_annotations.check(values, spec, f"{path}.annotations", listed, options)
    found += pod_spec(spec, f"{path}.spec", options)
    if values:
        found += pod_annotations.seccomp_matches(values, spec, f"{path}.spec", listed)
    if spec.get("ephemeralContainers"):
        text = "ephemeral containers not allowed in pod template"
        found.append(errors.forbidden(f"{path}.spec.ephemeralContainers", text))
    return found
