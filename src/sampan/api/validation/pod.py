"""``PodSpec`` and ``PodTemplateSpec``: used by Pod and by every kind that makes pods."""

from __future__ import annotations

from sampan.api import errors, labels, names, quantity
from sampan.api import metadata as object_metadata
from sampan.api.types import Obj
from sampan.api.validation import common, containers, resources, scheduling, security, volumes
from sampan.api.validation.common import Errors
from sampan.api.validation.containers import PodContext

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
_MAX_SECONDS = 2**31 - 1


def pod_context(spec: Obj) -> PodContext:
    return PodContext(
        volumes={volume.get("name", ""): volume for volume in spec.get("volumes") or ()},
        claims=frozenset(claim.get("name", "") for claim in spec.get("resourceClaims") or ()),
        host_network=bool(spec.get("hostNetwork")),
        host_users=spec.get("hostUsers") is not False,
        grace_seconds=spec.get("terminationGracePeriodSeconds"),
    )


def pod_spec(spec: Obj, path: str) -> Errors:
    context = pod_context(spec)
    taken: set[str] = set()
    found = volumes.volumes(spec.get("volumes"), f"{path}.volumes")
    found += containers.containers(spec.get("containers"), f"{path}.containers", context, taken)
    found += containers.init_containers(spec.get("initContainers"), f"{path}.initContainers", context, taken)
    found += containers.ephemeral_containers(
        spec.get("ephemeralContainers"), f"{path}.ephemeralContainers", context, taken, set(taken)
    )
    found += common.one_of(spec.get("restartPolicy"), RESTART_POLICIES, f"{path}.restartPolicy", must=True)
    found += common.one_of(spec.get("dnsPolicy"), DNS_POLICIES, f"{path}.dnsPolicy", must=True)
    found += object_metadata.validate_labels(spec.get("nodeSelector"), f"{path}.nodeSelector")
    found += security.pod_security_context(
        spec.get("securityContext"),
        f"{path}.securityContext",
        host_network=context.host_network,
        host_ipc=bool(spec.get("hostIPC")),
    )
    found += scheduling.affinity(spec.get("affinity"), f"{path}.affinity")
    found += scheduling.tolerations(spec.get("tolerations"), f"{path}.tolerations")
    found += scheduling.topology_spread(spec.get("topologySpreadConstraints"), f"{path}.topologySpreadConstraints")
    found += scheduling.scheduling_gates(spec.get("schedulingGates"), f"{path}.schedulingGates")
    found += _dns_config(spec, f"{path}.dnsConfig")
    found += _host_aliases(spec.get("hostAliases"), f"{path}.hostAliases")
    found += _names(spec, path)
    found += _numbers(spec, path)
    found += _pod_resources(spec, path)
    return found + _operating_system(spec, path)


def _names(spec: Obj, path: str) -> Errors:
    found: Errors = []
    for key, check in (
        ("serviceAccountName", names.dns1123_subdomain),
        ("nodeName", names.dns1123_subdomain),
        ("hostname", names.dns1123_label),
        ("subdomain", names.dns1123_label),
        ("priorityClassName", names.dns1123_subdomain),
        ("runtimeClassName", names.dns1123_subdomain),
    ):
        if spec.get(key):
            found += common.named(check, spec[key], f"{path}.{key}")
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        where = f"{path}.readinessGates[{index}].conditionType"
        found += common.named(names.qualified_name, gate.get("conditionType", ""), where)
    policies = ("PreemptLowerPriority", "Never")
    found += common.one_of(spec.get("preemptionPolicy"), policies, f"{path}.preemptionPolicy")
    if spec.get("nodeName") and spec.get("schedulingGates"):
        text = "cannot be set until all schedulingGates have been cleared"
        found.append(errors.forbidden(f"{path}.nodeName", text))
    return found


def _numbers(spec: Obj, path: str) -> Errors:
    deadline, grace = spec.get("activeDeadlineSeconds"), spec.get("terminationGracePeriodSeconds")
    found = common.in_range(deadline, 1, _MAX_SECONDS, f"{path}.activeDeadlineSeconds")
    if grace is None:
        found.append(errors.required(f"{path}.terminationGracePeriodSeconds"))
    return found


def _pod_resources(spec: Obj, path: str) -> Errors:
    found = resources.resource_requirements(spec.get("resources"), f"{path}.resources")
    overhead = spec.get("overhead") or {}
    for name, amount in overhead.items():
        found += resources.resource_name(name, f"{path}.overhead[{name}]")
        found += resources.resource_quantity(name, amount, f"{path}.overhead[{name}]")
    limits = (spec.get("resources") or {}).get("limits") or {}
    for index, container in enumerate(spec.get("containers") or ()):
        for name, amount in ((container.get("resources") or {}).get("limits") or {}).items():
            if name in limits and quantity.compare(amount, limits[name]) > 0:
                text = f"must be less than or equal to pod limits of {quantity.canonical(limits[name])}"
                where = f"{path}.containers[{index}].resources.limits[{name}]"
                found.append(errors.invalid(where, quantity.canonical(amount), text))
    return found


def _operating_system(spec: Obj, path: str) -> Errors:
    system = spec.get("os")
    if system is None:
        return []
    return common.one_of(system.get("name"), ("linux", "windows"), f"{path}.os.name", must=True)


def _dns_config(spec: Obj, path: str) -> Errors:
    config = spec.get("dnsConfig")
    if spec.get("dnsPolicy") == "None" and not (config or {}).get("nameservers"):
        text = "must provide at least one DNS nameserver when `dnsPolicy` is None"
        return [errors.required(f"{path}.nameservers" if config is not None else path, text)]
    if config is None:
        return []
    found: Errors = []
    servers, searches = config.get("nameservers") or [], config.get("searches") or []
    if len(servers) > 3:
        found.append(errors.invalid(f"{path}.nameservers", servers, "must not have more than 3 nameservers"))
    for index, server in enumerate(servers):
        found += common.named(names.ip_address, server, f"{path}.nameservers[{index}]")
    if len(searches) > 32:
        found.append(errors.invalid(f"{path}.searches", searches, "must not have more than 32 search paths"))
    if len(" ".join(searches)) > 2048:
        text = "must not have more than 2048 characters (including spaces) in the search list"
        found.append(errors.invalid(f"{path}.searches", searches, text))
    for index, search in enumerate(searches):
        # One trailing dot is customary; a single dot alone is the root. Underscores occur in practice.
        plain = search.removesuffix(".").replace("_", "a")
        if plain:
            found += [
                errors.invalid(f"{path}.searches[{index}]", search, text) for text in names.dns1123_subdomain(plain)
            ]
    for index, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            found.append(errors.required(f"{path}.options[{index}]", "must not be empty"))
    return found


def _host_aliases(aliases: list[Obj] | None, path: str) -> Errors:
    found: Errors = []
    for index, alias in enumerate(aliases or ()):
        found += common.named(names.ip_address, alias.get("ip", ""), f"{path}[{index}].ip")
        for position, hostname in enumerate(alias.get("hostnames") or ()):
            found += common.named(names.dns1123_subdomain, hostname, f"{path}[{index}].hostnames[{position}]")
    return found


# -- templates ---------------------------------------------------------------------------------------------------


def pod_template(template: Obj, path: str) -> Errors:
    meta, spec = template.get("metadata") or {}, template.get("spec") or {}
    found = object_metadata.validate_labels(meta.get("labels"), f"{path}.metadata.labels")
    found += object_metadata.validate_annotations(meta.get("annotations"), f"{path}.metadata.annotations")
    found += pod_spec(spec, f"{path}.spec")
    if spec.get("ephemeralContainers"):
        text = "ephemeral containers not allowed in pod template"
        found.append(errors.forbidden(f"{path}.spec.ephemeralContainers", text))
    return found


def selected_template(
    template: Obj | None, selector: Obj | None, path: str, owner: str, *, replicated: bool = True
) -> Errors:
    """The template of a kind that selects its own pods. ``owner`` is the kind, for messages.

    ``replicated``: pods of it are restarted for ever, so restartPolicy must be Always.
    """
    if template is None:
        return [errors.required(path)]
    found: Errors = []
    if not common.selector_is_empty(selector):
        template_labels = (template.get("metadata") or {}).get("labels") or {}
        try:
            matches = labels.from_label_selector(selector).matches(template_labels)
        except labels.SelectorError:
            matches = True  # the selector's own faults are reported with the selector
        if not matches:
            text = "`selector` does not match template `labels`"
            found.append(errors.invalid(f"{path}.metadata.labels", template_labels, text))
    found += pod_template(template, path)
    spec = template.get("spec") or {}
    if replicated:
        policy = spec.get("restartPolicy", "")
        if policy != "Always":
            found.append(errors.not_supported(f"{path}.spec.restartPolicy", policy, ("Always",)))
        if spec.get("activeDeadlineSeconds") is not None:
            text = f"activeDeadlineSeconds in {owner} is not Supported"
            found.append(errors.forbidden(f"{path}.spec.activeDeadlineSeconds", text))
    return found


def selector(value: Obj | None, path: str, owner: str) -> Errors:
    """The pod selector of such a kind: present and not empty."""
    if value is None:
        return [errors.required(path)]
    found = common.label_selector(value, path)
    if common.selector_is_empty(value):
        found.append(errors.invalid(path, value, f"empty selector is invalid for {owner}"))
    return found
