"""What a Job's spec must be like, also as the template of a CronJob. The order of checks is the reference's."""

from __future__ import annotations

import re
from typing import Final

from sampan.api import errors, names
from sampan.api.groups.batch import job_policies
from sampan.api.groups.core import pod_warnings
from sampan.api.types import Obj
from sampan.api.validation import common, go_values, pod
from sampan.api.validation.common import Errors

_MOST_PARALLEL_INDEXES: Final = 100_000
_MANY_COMPLETIONS: Final = 100_000
_MOST_OF_MANY: Final = 10_000
_LONGEST_MANAGED_BY_BYTES: Final = 63

_TOO_MANY: Final = (
    "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes "
    "might not be able to track completedIndexes when a big number of indexes fail"
)

_PATH = re.compile(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+", re.ASCII)

SUCCESS_POLICY: Final[go_values.Layout] = {
    "rules": ("Rules", None, go_values.plain("succeededIndexes", "succeededCount")),
}
_EXIT_CODES: Final[go_values.Layout] = {
    **go_values.plain("containerName"),
    **go_values.plain("operator", zero=""),
    **go_values.plain("values"),
}
FAILURE_POLICY: Final[go_values.Layout] = {
    "rules": (
        "Rules",
        None,
        {
            **go_values.plain("action", zero=""),
            "onExitCodes": ("OnExitCodes", None, _EXIT_CODES),
            "onPodConditions": ("OnPodConditions", None, go_values.plain("type", "status", zero="")),
        },
    ),
}


def job_warnings(spec: Obj, path: str) -> list[str]:
    found: list[str] = []
    many = (spec.get("completions") or 0) > _MANY_COMPLETIONS and (spec.get("parallelism") or 0) > _MOST_OF_MANY
    if spec.get("completionMode") == "Indexed" and many:
        found.append(f"{path}: {_TOO_MANY}")
    return found + pod_warnings.of_template(spec.get("template"), f"{path}.template")


def job_spec(spec: Obj, path: str, before: Obj | None) -> Errors:
    """``before``: the template before an update."""
    found: Errors = []
    for key in ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
                "backoffLimitPerIndex", "maxFailedIndexes"):  # fmt: skip
        found += common.non_negative(spec.get(key), f"{path}.{key}")
    per_index = spec.get("backoffLimitPerIndex") is not None
    if spec.get("maxFailedIndexes") is not None and not per_index:
        found.append(errors.required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    if (manager := spec.get("managedBy")) is not None:
        found += _managed_by(manager, f"{path}.managedBy")
    found += _completion_mode(spec, path)
    if spec.get("podFailurePolicy") is not None:
        found += job_policies.pod_failure(spec, f"{path}.podFailurePolicy")
    if (policy := spec.get("successPolicy")) is not None:
        if spec.get("completionMode") != "Indexed":
            shown = go_values.struct(policy, SUCCESS_POLICY)
            found.append(errors.invalid(f"{path}.successPolicy", shown, "requires indexed completion mode"))
        elif spec.get("completions") is not None:
            found += job_policies.success(spec, f"{path}.successPolicy")
    found += job_policies.pod_replacement(spec, f"{path}.podReplacementPolicy")
    return found + _template(spec, f"{path}.template", before)


def _template(spec: Obj, path: str, before: Obj | None) -> Errors:
    template = spec.get("template") or {}
    found = pod.pod_template(template, path, before)
    policy, where = (template.get("spec") or {}).get("restartPolicy", ""), f"{path}.spec.restartPolicy"
    if policy in ("Always", ""):
        found.append(errors.required(where, 'valid values: "OnFailure", "Never"'))
    elif policy not in ("OnFailure", "Never"):
        found.append(errors.not_supported(where, policy, ("OnFailure", "Never")))
    elif spec.get("podFailurePolicy") is not None and policy != "Never":
        text = 'only "Never" is supported when podFailurePolicy is specified'
        found.append(errors.invalid(where, policy, text))
    return found


def _completion_mode(spec: Obj, path: str) -> Errors:
    mode = spec.get("completionMode")
    if mode == "Indexed":
        return _indexed(spec, path)
    found: Errors = []
    if mode not in (None, "NonIndexed"):
        return [errors.not_supported(f"{path}.completionMode", mode, ("NonIndexed", "Indexed"))]
    for key in ("backoffLimitPerIndex", "maxFailedIndexes"):
        if spec.get(key) is not None:
            found.append(errors.invalid(f"{path}.{key}", spec[key], "requires indexed completion mode"))
    return found


def _indexed(spec: Obj, path: str) -> Errors:
    completions, parallelism, failed = (spec.get(key) for key in ("completions", "parallelism", "maxFailedIndexes"))
    found: Errors = []
    if completions is None:
        found.append(errors.required(f"{path}.completions", "when completion mode is Indexed"))
    if parallelism is not None and parallelism > _MOST_PARALLEL_INDEXES:
        text = f"must be less than or equal to {_MOST_PARALLEL_INDEXES} when completion mode is Indexed"
        found.append(errors.invalid(f"{path}.parallelism", parallelism, text))
    where = f"{path}.maxFailedIndexes"
    if completions is not None and failed is not None and failed > completions:
        found.append(errors.invalid(where, failed, "must be less than or equal to completions"))
    if failed is not None and failed > _MOST_PARALLEL_INDEXES:
        found.append(errors.invalid(where, failed, f"must be less than or equal to {_MOST_PARALLEL_INDEXES}"))
    if completions is None or completions <= _MANY_COMPLETIONS or spec.get("backoffLimitPerIndex") is None:
        return found
    if failed is None:
        text = f"must be specified when completions is above {_MANY_COMPLETIONS}"
        found.append(errors.required(where, text))
    text = (
        f"must be less than or equal to {_MOST_OF_MANY} when completions are above {_MANY_COMPLETIONS} and used with "
        "backoff limit per index"
    )
    for key, value in (("parallelism", parallelism), ("maxFailedIndexes", failed)):
        if value is not None and value > _MOST_OF_MANY:
            found.append(errors.invalid(f"{path}.{key}", value, text))
    return found


def _managed_by(manager: str, path: str) -> Errors:
    found = _domain_prefixed(manager, path)
    if len(manager.encode()) > _LONGEST_MANAGED_BY_BYTES:
        found.append(errors.too_long(path, _LONGEST_MANAGED_BY_BYTES))
    return found


def _domain_prefixed(text: str, path: str) -> Errors:
    """``example.com/controller``."""
    if not text:
        return [errors.required(path)]
    domain, _, rest = text.partition("/")
    if not domain or not rest:
        return [errors.invalid(path, text, 'must be a domain-prefixed path (such as "acme.io/foo")')]
    found = common.named(names.dns1123_subdomain, domain, path)
    if not _PATH.fullmatch(rest):
        found.append(errors.invalid(path, rest, f"Invalid path (regex used for validation is '{_PATH.pattern}')"))
    return found
