"""The declaration of a kind: everything that differs from one kind to the next, in one value.

Each ``sampan/api/groups/<group>/<kind>.py`` builds one or more ``Kind`` values; ``sampan.api.registry`` collects them.
The API server, the client and the CLI are generic over this type. What a kind does besides being stored (verbs of its
own, work beside a write) is in ``sampan.server.kinds`` and the server's write hooks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from sampan.api import gates, names, schema
from sampan.api.errors import FieldError
from sampan.api.names import NameCheck
from sampan.api.resources import Resource
from sampan.api.schema import Node
from sampan.api.types import Obj
from sampan.records import dataclass

#: The verbs of a stored resource, in the order discovery lists them.
STANDARD_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
#: The verbs of a review kind (TokenReview, SubjectAccessReview ...): computed, never stored.
REVIEW_VERBS = ("create",)

Default = Callable[[Obj], None]
Validate = Callable[[Obj], list[FieldError]]
ValidateUpdate = Callable[[Obj, Obj], list[FieldError]]
Prepare = Callable[[Obj], None]
PrepareCreate = Callable[[Obj], Sequence[str] | None]
PrepareUpdate = Callable[[Obj, Obj], None]
Convert = Callable[[Obj], Obj]
Warn = Callable[[Obj, Obj | None], Sequence[str]]


class Requester(Protocol):
    """Who writes, as a kind that records it sees them (authentication.k8s.io UserInfo)."""

    @property
    def name(self) -> str: ...
    @property
    def uid(self) -> str: ...
    @property
    def groups(self) -> tuple[str, ...]: ...
    @property
    def extra(self) -> Mapping[str, tuple[str, ...]]: ...


Stamp = Callable[[Obj, Requester], None]


def _no_default(obj: Obj) -> None:
    """A kind without defaults of its own."""


def _no_errors(obj: Obj) -> list[FieldError]:
    return []


def _no_update_errors(new: Obj, old: Obj) -> list[FieldError]:
    return []


def _no_warnings(new: Obj, old: Obj | None) -> Sequence[str]:
    return ()


def _no_prepare(obj: Obj) -> None:
    """A kind that stores what it was given."""


def _no_prepare_update(new: Obj, old: Obj) -> None:
    """A kind whose update replaces all."""


def _no_fields(obj: Obj) -> Mapping[str, str]:
    return {}


def _no_stamp(obj: Obj, requester: Requester) -> None:
    """A kind that does not record who made it."""


def _removable(obj: Obj) -> bool:
    return True


def _at_once(obj: Obj, wanted_seconds: int | None) -> int:
    return 0


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the ``Table`` form (metav1.TableColumnDefinition). ``priority`` 1 shows only with ``-o wide``."""

    name: str
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Where ``/scale`` finds its fields, as key paths into the object. ``selector`` None: the scale has no selector.
    ``required``: an object without replicas has no scale."""

    spec_replicas: tuple[str, ...] = ("spec", "replicas")
    status_replicas: tuple[str, ...] = ("status", "replicas")
    selector: tuple[str, ...] | None = ("spec", "selector")
    required: bool = False


@dataclass(frozen=True, slots=True)
class Strategy:
    """What an update through one URL of an object may change. Pure; takes (kind, new, old).

    ``merge`` gives the object to store from what the client sent and what is stored: it may change and return ``new``,
    and must not change ``old``. The generic ones are in ``sampan.api.strategies``.
    """

    merge: Callable[[Kind, Obj, Obj], Obj]
    validate: Callable[[Kind, Obj, Obj], list[FieldError]]
    #: whether a change of anything but metadata and status counts in ``metadata.generation``
    counts_generation: bool = True
    #: PUT may create the object when the kind allows it
    may_create: bool = False


#: of metadata, what nobody changes but everybody sends along
IDENTITY = ("resourceVersion", "uid", "name", "namespace")


@dataclass(frozen=True, slots=True)
class Subresource:
    """A subresource besides ``status`` and ``scale``: ``pods/exec``, ``pods/eviction`` ...

    ``kind``, ``group``, ``version`` are of the object it takes and gives (``Eviction`` in policy/v1). ``strategy``: how
    an update through it changes the object it belongs to; None: it does something else.
    """

    name: str
    kind: str
    group: str
    version: str
    verbs: tuple[str, ...]
    strategy: Strategy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One version of one kind.

    Invariants: (group, version, kind) and (group, version, plural) are unique in the registry. All functions are
    pure; those that take an object and return None change it in place. ``schema`` names its tree in the compiled
    schema (``io.k8s.api.apps.v1.Deployment``); a custom resource has a tree of its own instead, which ``own_node``
    gives (and builds when it is asked first).
    """

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    schema: str
    own_node: Callable[[], Node] | None = None
    #: of a custom resource whose lists are not called ``<kind>List``
    own_list_kind: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = STANDARD_VERBS
    #: False: a version of a custom resource that may be stored but is not asked for any more.
    served: bool = True
    status: bool = False
    scale: ScalePaths | None = None
    subresources: tuple[Subresource, ...] = ()
    #: What names of this kind must look like.
    name_check: NameCheck = names.dns1123_subdomain

    #: Fills defaults in place, on create and update, before validation.
    default: Default = _no_default
    #: Semantic validation (structure is checked by the schema before). Metadata is validated generically.
    validate: Validate = _no_errors
    #: Called with (new, old) besides ``validate``; of a custom resource instead of it, for what is wrong and unchanged
    #: is tolerated there.
    validate_update: ValidateUpdate = _no_update_errors
    #: ``validate_update`` is called instead of ``validate``: it tolerates faults that were there before.
    ratchets: bool = False
    #: Judging an object may take milliseconds, however short it is: a thread's work.
    demanding: bool = False
    #: Called with (new, old), old None for a creation: what is said in Warning headers of an object that is valid.
    warnings: Warn = _no_warnings
    #: Called with (new, old) for writes to /status instead of the two above.
    validate_status: ValidateUpdate = _no_update_errors
    #: Fields behind gates that are off, dropped before the strategies below (``sampan.api.gates``).
    gated: gates.Table | None = None
    #: Strategy before a create: drop status, set what only the server may set. Generic metadata is done elsewhere.
    #: What it gives back, if anything, is said in Warning headers.
    prepare_create: PrepareCreate = _no_prepare
    #: Strategy before an update of the main resource, (new, old): keep old status ... ``status=True`` kinds get
    #: "status comes from old" generically; this is for what is beyond that.
    prepare_update: PrepareUpdate = _no_prepare_update
    #: Records who creates, after ``prepare_create``.
    stamp: Stamp = _no_stamp
    #: What of metadata a write to /status may change (upstream: ResetObjectMetaForStatus and its like).
    status_metadata: tuple[str, ...] = (*IDENTITY, "labels", "annotations", "finalizers")

    #: Columns after Name and before or with Age, complete: the whole table of the kind. Empty: Name and Age.
    columns: tuple[Column, ...] = ()
    #: The cells of one row, matching ``columns``; takes the object and the present moment (for ages).
    row: Callable[[Obj, datetime], Sequence[Any]] | None = None
    #: Values for field selectors, besides metadata.name and metadata.namespace.
    selectable_fields: Callable[[Obj], Mapping[str, str]] = _no_fields
    #: The names above, so that an unsupported one is refused even when no object exists.
    selectable_names: tuple[str, ...] = ()

    #: False: objects are long and few; the server's own components get them decoded anew each time.
    kept_decoded: bool = True
    #: ``metadata.generation`` is kept: 1 on create, +1 whenever anything but metadata and status changes.
    generation: bool = False
    #: A change of status counts there too (custom resources without a status subresource).
    status_counts: bool = False
    #: What of metadata counts there too: annotations of Deployments, which hand them on; labels of EndpointSlices.
    counted_metadata: tuple[str, ...] = ()
    #: Makes a value that this process did not write what it would write today, in place (defaults of custom resources).
    on_read: Prepare | None = None
    #: PUT without resourceVersion is allowed (upstream: AllowUnconditionalUpdate).
    unconditional_update: bool = True
    #: PUT on a missing name creates (upstream: AllowCreateOnUpdate).
    create_on_update: bool = False
    #: Seconds between DELETE and removal, from the object and what the client asks for (None: nothing). 0: at once.
    grace_seconds: Callable[[Obj, int | None], int] = _at_once
    #: Whether an object that is marked for deletion, without finalizers and grace, may go.
    removable: Callable[[Obj], bool] = _removable
    #: Changes an object that is being marked for deletion.
    prepare_delete: Prepare = _no_prepare
    #: DELETE answers with the object it removed instead of a Status (upstream: ReturnDeletedObject).
    returns_deleted: bool = False
    #: Objects vanish by themselves this long after their last write; None: never.
    ttl_seconds: float | None = None
    #: ``background`` (default) or ``orphan``: what DELETE does without a propagationPolicy.
    default_propagation: str = "background"

    #: Another version stores this kind: (group, version) of it, and the two conversions between them.
    stored_as: tuple[str, str] | None = None
    to_stored: Convert | None = None
    from_stored: Convert | None = None
    #: Judges what is written through this version, in its stored form, instead of the rules of the version that is
    #: stored; called with (new, old), old None for a creation.
    validate_through: Callable[[Obj, Obj | None], list[FieldError]] | None = None

    #: Sent as a Warning header whenever this version is used (deprecated versions).
    deprecation_warning: str = ""
    #: A version that Kubernetes served once, beside what it serves today (``sampan.api.versions``).
    former: bool = False

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def list_kind(self) -> str:
        return self.own_list_kind or f"{self.kind}List"

    @property
    def custom(self) -> bool:
        """Of a CustomResourceDefinition: no strategic merge, and finalizers may have any qualified name."""
        return self.own_node is not None

    @property
    def node(self) -> Node:
        """The structure of its objects."""
        return self.own_node() if self.own_node is not None else schema.load().definition(self.schema)

    def update_strategy(self, subresource: str) -> Strategy | None:
        """How updates through a subresource other than status change the object; None: they do not."""
        return next((sub.strategy for sub in self.subresources if sub.name == subresource), None)

    @property
    def resource(self) -> Resource:
        return Resource(self.group, self.version, self.plural, self.kind, self.namespaced)
