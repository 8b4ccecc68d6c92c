"""What a pod spec is allowed besides the rules, because of where it stands, or because it was so before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Options:
    """Upstream's ``PodValidationOptions``, as far as v1.37 leaves a choice. What tolerates faults is only set for
    updates of objects that had the fault before."""

    #: of a pod itself, not of a template
    is_pod: bool = False
    #: the name of the pod, where it is known: claims are named after it
    pod_name: str = ""
    invalid_deletion_cost: bool = False
    invalid_selector_values: bool = False
    invalid_node_affinity_values: bool = False
    invalid_spread_selectors: bool = False
    indivisible_huge_pages: bool = False
    non_local_token_paths: bool = False
    host_sysctls: bool = False
    user_namespace_devices: bool = False
    #: tolerations that compare numbers, which are behind a gate that is off
    comparing_tolerations: bool = False
    #: matchLabelKeys of spread constraints that are in the selector already
    repeated_spread_keys: bool = False


TEMPLATE: Final = Options()
