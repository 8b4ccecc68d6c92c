"""Which names a definition gets, and what its conditions say of it (apiextensions ``naming`` and ``establish``
controllers, ``kubernetesapiapproval``). Pure.

A name belongs to the definition that got it first, in its group; one that asks for a name of another keeps what it had.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sampan.api.clock import format_time
from sampan.api.reading import part, parts, text, texts
from sampan.api.types import Obj
from sampan.records import dataclass

NAMES_ACCEPTED, ESTABLISHED, TERMINATING = "NamesAccepted", "Established", "Terminating"
API_APPROVED = "KubernetesAPIApprovalPolicyConformant"
APPROVAL_ANNOTATION = "api-approved.kubernetes.io"


@dataclass(frozen=True, slots=True)
class Names:
    """``metadata.names`` of a definition, or what its status says it got. "" is none."""

    plural: str = ""
    singular: str = ""
    kind: str = ""
    list_kind: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: Obj) -> Names:
        return cls(
            text(names, "plural"),
            text(names, "singular"),
            text(names, "kind"),
            text(names, "listKind"),
            tuple(texts(names, "shortNames")),
            tuple(texts(names, "categories")),
        )

    def resources(self) -> Iterable[str]:
        """The names that stand for the resource in a URL or command."""
        return filter(None, (self.plural, self.singular, *self.short_names))

    def kinds(self) -> Iterable[str]:
        return filter(None, (self.kind, self.list_kind))

    def json(self) -> Obj:
        found: Obj = {"plural": self.plural}
        if self.singular:
            found["singular"] = self.singular
        if self.short_names:
            found["shortNames"] = list(self.short_names)
        found["kind"] = self.kind
        if self.list_kind:
            found["listKind"] = self.list_kind
        if self.categories:
            found["categories"] = list(self.categories)
        return found


@dataclass(frozen=True, slots=True)
class Verdict:
    """The names that a definition has from now on. ``reason`` and ``message`` of a conflict; "": there is none."""

    names: Names
    reason: str = ""
    message: str = ""


def accept(wanted: Names, had: Names, others: Iterable[Names]) -> Verdict:
    """What of ``wanted`` is free, or already had. ``others``: what the other definitions of the group got."""
    taken_resources: set[str] = set()
    taken_kinds: set[str] = set()
    for other in others:
        taken_resources.update(other.resources())
        taken_kinds.update(other.kinds())
    # As upstream, what the definition itself has got counts as taken by it, too: it cannot swap two of its names.
    taken_resources.update(had.resources())
    taken_kinds.update(had.kinds())
    got: dict[str, Any] = {"categories": wanted.categories}
    reason = message = ""
    for key, taken, conflict in (
        ("plural", taken_resources, "PluralConflict"),
        ("singular", taken_resources, "SingularConflict"),
        ("short_names", taken_resources, "ShortNamesConflict"),
        ("kind", taken_kinds, "KindConflict"),
        ("list_kind", taken_kinds, "ListKindConflict"),
    ):
        value, before = getattr(wanted, key), getattr(had, key)
        problems = _in_use(value, before, taken)
        got[key] = before if problems else value
        if problems:
            reason, message = conflict, problems
    return Verdict(Names(**got), reason, message)


def _in_use(wanted: str | tuple[str, ...], had: str | tuple[str, ...], taken: set[str]) -> str:
    """What is wrong with a name, or a list of names; "": nothing."""
    if isinstance(wanted, str):
        return f'"{wanted}" is already in use' if wanted != had and wanted in taken else ""
    clashes = [f'"{name}" is already in use' for name in wanted if name not in had and name in taken]
    return clashes[0] if len(clashes) == 1 else f"[{', '.join(clashes)}]" if clashes else ""


def condition(conditions: Any, kind: str) -> Obj | None:
    return next((one for one in parts({"conditions": conditions}, "conditions") if one.get("type") == kind), None)


def is_true(definition: Obj, kind: str) -> bool:
    found = condition(part(definition, "status").get("conditions"), kind)
    return found is not None and found.get("status") == "True"


def with_condition(
    conditions: Sequence[Obj] | None, kind: str, status: str, reason: str, message: str, now: datetime
) -> list[Obj]:
    """The conditions with this one; the time changes with the status only."""
    new: Obj = {
        "type": kind,
        "status": status,
        "lastTransitionTime": format_time(now),
        "reason": reason,
        "message": message,
    }
    result = [dict(one) for one in conditions or ()]
    for index, one in enumerate(result):
        if one.get("type") == kind:
            if one.get("status") == status and one.get("lastTransitionTime"):
                new["lastTransitionTime"] = one["lastTransitionTime"]
            result[index] = new
            return result
    return [*result, new]


def named_status(definition: Obj, verdict: Verdict, now: datetime) -> Obj:
    """The status of a definition whose names were looked at: names, NamesAccepted, Established, approval."""
    status = dict(part(definition, "status"))
    conditions: list[Obj] = list(parts(status, "conditions"))
    accepted = not verdict.reason
    if accepted:
        conditions = with_condition(conditions, NAMES_ACCEPTED, "True", "NoConflicts", "no conflicts found", now)
    else:
        conditions = with_condition(conditions, NAMES_ACCEPTED, "False", verdict.reason, verdict.message, now)
    if condition(conditions, ESTABLISHED) is None or (accepted and not is_true(definition, ESTABLISHED)):
        row = ("True", "InitialNamesAccepted", "the initial names have been accepted")
        if not accepted:
            row = ("False", "NotAccepted", "not all names are accepted")
        conditions = with_condition(conditions, ESTABLISHED, *row, now)
    approval = api_approval(definition)
    if approval is not None:
        conditions = with_condition(conditions, API_APPROVED, *approval, now)
    status["acceptedNames"] = verdict.names.json()
    status["conditions"] = conditions
    return status


def api_approval(definition: Obj) -> tuple[str, str, str] | None:
    """Status, reason and message of the condition of groups that belong to Kubernetes; None: this is not one."""
    group = text(part(definition, "spec"), "group")
    if not is_protected(group):
        return None
    value = text(part(part(definition, "metadata"), "annotations"), APPROVAL_ANNOTATION)
    if not value:
        wanted = f'protected groups must have approval annotation "{APPROVAL_ANNOTATION}"'
        return "False", "MissingAnnotation", f"{wanted}, see https://github.com/kubernetes/enhancements/pull/1111"
    if value.startswith("unapproved"):
        return "False", "UnapprovedAnnotation", f'not approved: "{value}"'
    if value.startswith(("https://", "http://")) and len(value.partition("//")[2]) > 0:
        return "True", "ApprovedAnnotation", f"approved in {value}"
    message = f'protected groups must have approval annotation "{APPROVAL_ANNOTATION}" with either a URL or a reason '
    return "False", "InvalidAnnotation", f'{message}starting with "unapproved", got "{value}"'


def is_protected(group: str) -> bool:
    return group in ("k8s.io", "kubernetes.io") or group.endswith((".k8s.io", ".kubernetes.io"))
