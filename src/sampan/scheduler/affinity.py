"""Pod affinity terms, parsed once a pod: what InterPodAffinity evaluates and what pods on nodes carry. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from typing import Literal

from sampan.api import labels
from sampan.api.labels import Requirement, Selector, SelectorError
from sampan.api.reading import part, parts, text, texts, whole
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.scheduler.podinfo import PodInfo

_KEY_BYTES = 4096
TermKind = Literal["affinity", "anti-affinity", "preferred"]
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


@dataclass(frozen=True, slots=True)
class Term:
    """``weight`` is 0 for required terms and negative for preferred anti-affinity. ``namespace_selector`` None
    matches no namespace; namespaces are those named or selected."""

    kind: TermKind
    namespaces: frozenset[str]
    namespace_selector: Selector | None
    selector: Selector
    topology_key: str
    weight: int = 0
    _hash: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        # Asked for with every pod that comes or goes, and a selector's takes long.
        wanted = (self.kind, self.namespaces, self.namespace_selector, self.selector, self.topology_key, self.weight)
        object.__setattr__(self, "_hash", hash(wanted))

    def __hash__(self) -> int:
        return self._hash

    def matches(self, pod: PodInfo, namespace_labels: Mapping[str, Mapping[str, str]]) -> bool:
        if pod.namespace not in self.namespaces:
            chosen = self.namespace_selector
            if chosen is None or not chosen.matches(namespace_labels.get(pod.namespace)):
                return False
        return self.selector.matches(pod.labels)


@dataclass(frozen=True, slots=True)
class Terms:
    """``error``: why some could not be read; those are left out."""

    affinity: tuple[Term, ...] = ()
    anti_affinity: tuple[Term, ...] = ()
    preferred: tuple[Term, ...] = ()
    error: str = ""

    @property
    def carried(self) -> tuple[Term, ...]:
        """Those that matter to other pods while this one runs."""
        return (*self.affinity, *self.anti_affinity, *self.preferred)


NONE = Terms()


def terms_of(pod: PodInfo) -> Terms:
    """Parsed once a pod."""
    found: Terms | None = getattr(pod, "terms", None)
    if found is None:
        found = pod.terms = _shared(pod) if pod.affinity else NONE
    return found


#: Terms by what they follow from (``PodInfo.company``), a function's memory: pods of one template share them.
_kept: dict[bytes, Terms] = {}
_KEPT = 1024


def _shared(pod: PodInfo) -> Terms:
    key = pod.company
    found = _kept.get(key)
    if found is None:
        found = _parse(pod)
        if len(key) <= _KEY_BYTES:
            if len(_kept) >= _KEPT:
                _kept.clear()
            _kept[key] = found
    return found


def _parse(pod: PodInfo) -> Terms:
    together, apart = part(pod.affinity, "podAffinity"), part(pod.affinity, "podAntiAffinity")
    if not together and not apart:
        return NONE
    errors: list[str] = []

    def read(kind: TermKind, term: Obj, weight: int = 0) -> Iterator[Term]:
        try:
            yield _term(pod, kind, term, weight)
        except SelectorError as error:
            errors.append(str(error))

    preferred = [
        term
        for side, sign in ((together, 1), (apart, -1))
        for item in parts(side, _PREFERRED)
        for term in read("preferred", part(item, "podAffinityTerm"), sign * (whole(item, "weight") or 0))
    ]
    return Terms(
        tuple(term for item in parts(together, _REQUIRED) for term in read("affinity", item)),
        tuple(term for item in parts(apart, _REQUIRED) for term in read("anti-affinity", item)),
        tuple(preferred),
        "; ".join(errors),
    )


def _term(pod: PodInfo, kind: TermKind, term: Obj, weight: int = 0) -> Term:
    selector = labels.from_label_selector(term.get("labelSelector"))
    selector = with_label_keys(selector, pod.labels, texts(term, "matchLabelKeys"), labels.IN)
    selector = with_label_keys(selector, pod.labels, texts(term, "mismatchLabelKeys"), labels.NOT_IN)
    chosen = term.get("namespaceSelector")
    namespaces = tuple(texts(term, "namespaces"))
    if not namespaces and chosen is None:
        namespaces = (pod.namespace,)
    return Term(
        kind,
        frozenset(namespaces),
        labels.from_label_selector(chosen) if chosen is not None else None,
        selector,
        text(term, "topologyKey"),
        weight,
    )


def with_label_keys(selector: Selector, own: Mapping[str, str], keys: Iterable[str], operator: str) -> Selector:
    """The selector narrowed by the pod's own values of some labels (``matchLabelKeys``)."""
    extra = tuple(Requirement(key, operator, (own[key],)) for key in keys if key in own)
    if not extra or selector.nothing:
        return selector
    # The API server merges the keys into the selector at admission: say nothing twice.
    return Selector(selector.requirements + tuple(r for r in extra if r not in selector.requirements))
