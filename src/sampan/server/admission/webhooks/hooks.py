"""One webhook of a configuration, compiled: what it is asked about, and how. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from sampan.api import labels
from sampan.api.reading import part, parts, text
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.server.admission.matching import Rule, rule_of
from sampan.server.webhooks.targets import BadTarget, WebhookTarget, target_of

if TYPE_CHECKING:
    from sampan.api.expressions.admission import Compiled

#: as metrics name the two
HookType = Literal["admit", "validating"]
REVIEW_VERSIONS: Final = ("v1", "v1beta1")
_DEFAULT_SECONDS: Final = 10


@dataclass(frozen=True, slots=True, eq=False)
class Hook:
    """``uid`` tells it from every other of all configurations; ``place``: its number in its configuration.

    ``target``, ``version`` are texts of why there is none, where the configuration (which validation should not have
    let pass) gives none that can be used.
    """

    type: HookType
    uid: str
    name: str
    configuration: str
    target: WebhookTarget | BadTarget
    rules: tuple[Rule, ...]
    equivalent: bool
    namespaces: labels.Selector
    objects: labels.Selector
    #: by name
    conditions: tuple[tuple[str, Compiled], ...]
    ignores_failures: bool
    side_effects: str
    timeout_seconds: int
    #: the first version of AdmissionReview that both sides know; "": none
    version: str
    reinvocable: bool

    def concerns(self, group: str, plural: str) -> bool:
        return any(rule.concerns(group, plural) for rule in self.rules)


def hooks_of(configuration: Obj, kind: HookType) -> list[Hook]:
    """The webhooks of a configuration in their order. One that cannot be read is left out; the others stay."""
    name = text(part(configuration, "metadata"), "name")
    return [_hook(each, kind, name, place) for place, each in enumerate(parts(configuration, "webhooks"))]


def _hook(hook: Obj, kind: HookType, configuration: str, place: int) -> Hook:
    name, seconds = text(hook, "name"), hook.get("timeoutSeconds")
    try:
        target: WebhookTarget | BadTarget = target_of(part(hook, "clientConfig"))
    except BadTarget as error:
        target = error
    versions = hook.get("admissionReviewVersions")
    known = [each for each in versions if each in REVIEW_VERSIONS] if isinstance(versions, list) else []
    return Hook(
        type=kind,
        uid=f"{configuration}/{name}/{place}",
        name=name,
        configuration=configuration,
        target=target,
        rules=tuple(map(rule_of, parts(hook, "rules"))),
        equivalent=text(hook, "matchPolicy") != "Exact",
        namespaces=_selector(hook, "namespaceSelector"),
        objects=_selector(hook, "objectSelector"),
        conditions=tuple(map(_condition, parts(hook, "matchConditions"))),
        ignores_failures=text(hook, "failurePolicy") == "Ignore",
        side_effects=text(hook, "sideEffects"),
        timeout_seconds=seconds if isinstance(seconds, int) and 1 <= seconds <= 30 else _DEFAULT_SECONDS,
        version=known[0] if known else "",
        reinvocable=text(hook, "reinvocationPolicy") == "IfNeeded",
    )


def _condition(condition: Obj) -> tuple[str, Compiled]:
    # late: most clusters have no webhook with conditions
    from sampan.api.expressions.admission import admission_environment, compile_expression
    from sampan.cel.types import BOOL

    within = admission_environment(params=False, authorizer=True)
    return text(condition, "name"), compile_expression(within, text(condition, "expression"), BOOL)


def _selector(hook: Obj, key: str) -> labels.Selector:
    """What cannot be read as a selector selects all: who asks to see a write must not miss it."""
    found = hook.get(key)
    try:
        return labels.from_label_selector(found) if isinstance(found, dict) else labels.EVERYTHING
    except labels.SelectorError:
        return labels.EVERYTHING
