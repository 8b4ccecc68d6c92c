"""What can be asked of the API, path by path, told from the kinds alone. Both dialects are rendered from this.

Pure. Upstream's rules for operation ids, tags and actions are kept, because client generators name methods by them.
The deprecated paths below ``/watch/`` are told as upstream does, of today's built-in kinds: of former versions they
would make long documents longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from sampan.api.kind import Kind, Subresource
from sampan.api.registry import Registry, schema_name
from sampan.records import dataclass
from sampan.server.discovery.documents import subresources
from sampan.server.discovery.openapi import document_of
from sampan.server.openapi import parameters
from sampan.server.openapi.parameters import Parameter

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
STATUS, DELETE_OPTIONS, PATCH = _META + "Status", _META + "DeleteOptions", _META + "Patch"
_WATCH_EVENT = _META + "WatchEvent"
#: the response of connect subresources and logs
TEXT = "string"

_OBJECT = ("application/json", "application/yaml")
_LIST = ("application/json", "application/yaml", "application/json;stream=watch")
_PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
#: custom resources have no merge keys
_CUSTOM_PATCHES = tuple(name for name in _PATCHES if "strategic" not in name)
_ANY = ("*/*",)
_METHODS = {"create": "post", "delete": "delete", "get": "get", "patch": "patch", "update": "put"}
_WORDS = {"post": "create", "delete": "delete", "get": "read", "patch": "patch", "put": "replace"}
_DESCRIPTIONS = {"patch": "partially update", "put": "replace", "get": "read", "delete": "delete", "post": "create"}


@dataclass(frozen=True, slots=True)
class Operation:
    """``body`` and ``responses`` name definitions; None: no body, or a response without one."""

    method: str
    operation_id: str
    description: str
    tag: str
    #: ``x-kubernetes-action``; "": not about a resource
    action: str = ""
    #: (group, version, kind)
    gvk: tuple[str, str, str] | None = None
    parameters: tuple[Parameter, ...] = ()
    body: str | None = None
    body_required: bool = True
    consumes: tuple[str, ...] = _ANY
    produces: tuple[str, ...] = _OBJECT
    responses: tuple[tuple[int, str, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Path:
    path: str
    #: of all operations of the path
    parameters: tuple[Parameter, ...]
    operations: tuple[Operation, ...]


def document_paths(kinds: Registry, exists: Callable[[str], bool]) -> dict[str, tuple[Path, ...]]:
    """All paths of the API by v3 document. ``exists`` tells whether there is a definition of that name."""
    documents: dict[str, tuple[Path, ...]] = {
        "api": (_discovery("/api/", "getCoreAPIVersions", "core", "available API versions", "APIVersions"),),
        "apis": (_discovery("/apis/", "getAPIVersions", "apis", "available API versions", "APIGroupList"),),
        "version": (_version(),),
        ".well-known/openid-configuration": (
            _issuer("/.well-known/openid-configuration/", "OpenIDConfiguration", "the issuer of tokens of accounts"),
        ),
        "openid/v1/jwks": (
            _issuer(
                "/openid/v1/jwks/", "OpenIDKeyset", "the keys that sign tokens of accounts", "application/jwk-set+json"
            ),
        ),
    }
    for group, versions in kinds.groups().items():
        if group:
            what, name = "information of a group", f"get{_camel(group)}APIGroup"
            documents[document_of(group)] = (_discovery(f"/apis/{group}/", name, _tag(group), what, "APIGroup"),)
        for version in versions:
            found = group_version_paths(group, version, kinds.kinds(group, version), exists)
            documents[document_of(group, version)] = found
    return documents


def group_version_paths(
    group: str, version: str, kinds: Iterable[Kind], exists: Callable[[str], bool]
) -> tuple[Path, ...]:
    """The paths of one document."""
    return tuple(_GroupVersion(group, version, exists).paths(kinds))


def _discovery(path: str, operation_id: str, tag: str, what: str, kind: str) -> Path:
    responses = ((200, "OK", _META + kind),)
    return Path(path, (), (Operation("get", operation_id, f"get {what}", tag, responses=responses),))


def _version() -> Path:
    responses = ((200, "OK", "io.k8s.apimachinery.pkg.version.Info"),)
    operation = Operation(
        "get", "getCodeVersion", "get the version information for this server", "version",
        produces=("application/json",), responses=responses,
    )  # fmt: skip
    return Path("/version/", (), (operation,))


def _issuer(path: str, name: str, what: str, media: str = "application/json") -> Path:
    """OpenID Connect discovery; the answer is text to those who read the document."""
    tag = "WellKnown" if path.startswith("/.") else "openid"
    operation = Operation(
        "get", f"getServiceAccountIssuer{name}", f"get {what}", tag, produces=(media,), responses=((200, "OK", TEXT),)
    )
    return Path(path, (), (operation,))


def _camel(group: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in (group or "core").removesuffix(".k8s.io").split("."))


def _tag(group: str, version: str = "") -> str:
    name = _camel(group)
    return f"{name[:1].lower()}{name[1:]}" + (f"_{version}" if version else "")


class _GroupVersion:
    def __init__(self, group: str, version: str, exists: Callable[[str], bool]) -> None:
        self._base = "/" + document_of(group, version)
        self._prefix = _camel(group) + version[:1].upper() + version[1:]
        self._tag = _tag(group, version)
        self._exists = exists

    def paths(self, kinds: Iterable[Kind]) -> Iterator[Path]:
        name = f"get{self._prefix}APIResources"
        yield _discovery(f"{self._base}/", name, self._tag, "available resources", "APIResourceList")
        for kind in kinds:
            yield from self._collection(kind)
            if set(kind.verbs) & {"get", "update", "patch", "delete"}:
                yield self._item(kind)
            for sub in subresources(kind):
                yield from self._subresource(kind, sub)
            if "watch" in kind.verbs and not kind.custom and not kind.former:
                yield from self._watches(kind)

    def _collection(self, kind: Kind) -> Iterator[Path]:
        gvk = (kind.group, kind.version, kind.kind)
        scope = "Namespaced" if kind.namespaced else ""
        operations: list[Operation] = []
        if "create" in kind.verbs:
            operations.append(self._write("post", f"{scope}{kind.kind}", f"a {kind.kind}", gvk, kind.schema))
        if "deletecollection" in kind.verbs:
            operations.append(self._delete_collection(kind, scope))
        if "list" in kind.verbs:
            operations.append(self._list(kind, f"list{self._prefix}{scope}{kind.kind}"))
        if operations:
            yield Path(self._url(kind), self._shared(kind), tuple(operations))
        if "list" in kind.verbs and kind.namespaced:
            everywhere = self._list(kind, f"list{self._prefix}{kind.kind}ForAllNamespaces")
            yield Path(f"{self._base}/{kind.plural}", (parameters.PRETTY,), (everywhere,))

    def _list(self, kind: Kind, operation_id: str) -> Operation:
        return Operation(
            "get", operation_id, f"list or watch objects of kind {kind.kind}", self._tag, "list",
            (kind.group, kind.version, kind.kind), parameters.LIST, produces=_LIST,
            responses=((200, "OK", kind.schema.removesuffix(kind.kind) + kind.list_kind),),
        )  # fmt: skip

    def _watches(self, kind: Kind) -> Iterator[Path]:
        """The deprecated paths: of a collection, of one object, and of a collection in all namespaces."""
        name, url = ("Namespaced" if kind.namespaced else "") + kind.kind, self._url(kind, "/watch")
        own = self._shared(kind)
        yield self._watch(kind, url, f"{name}List", "watchlist", f"individual changes to a list of {kind.kind}", own)
        if "get" in kind.verbs:
            shared = self._shared(kind, item=True)
            yield self._watch(
                kind, f"{url}/{{name}}", name, "watch", f"changes to an object of kind {kind.kind}", shared
            )
        if kind.namespaced:
            everywhere, name = f"{self._base}/watch/{kind.plural}", f"{kind.kind}ListForAllNamespaces"
            what = f"individual changes to a list of {kind.kind}"
            yield self._watch(kind, everywhere, name, "watchlist", what, (parameters.PRETTY,))

    def _watch(self, kind: Kind, url: str, name: str, action: str, what: str, shared: tuple[Parameter, ...]) -> Path:
        operation = Operation(
            "get", f"watch{self._prefix}{name}", f"watch {what}; deprecated: list with 'watch' does it as well",
            self._tag, action, (kind.group, kind.version, kind.kind), produces=_LIST,
            responses=((200, "OK", _WATCH_EVENT),),
        )  # fmt: skip
        return Path(url, (*shared, *parameters.LIST), (operation,))

    def _item(self, kind: Kind) -> Path:
        gvk = (kind.group, kind.version, kind.kind)
        name = ("Namespaced" if kind.namespaced else "") + kind.kind
        operations: list[Operation] = []
        for verb in ("get", "update", "patch", "delete"):
            if verb not in kind.verbs:
                continue
            if verb == "delete":
                operations.append(self._delete(kind, name))
            else:
                what = f"the specified {kind.kind}"
                operations.append(self._write(_METHODS[verb], name, what, gvk, kind.schema, custom=kind.custom))
        return Path(f"{self._url(kind)}/{{name}}", self._shared(kind, item=True), tuple(operations))

    def _delete(self, kind: Kind, name: str) -> Operation:
        answer = kind.schema if kind.returns_deleted else STATUS
        return Operation(
            "delete", f"delete{self._prefix}{name}", f"delete a {kind.kind}", self._tag, "delete",
            (kind.group, kind.version, kind.kind), parameters.DELETE, DELETE_OPTIONS, body_required=False,
            responses=((200, "OK", answer), (202, "Accepted", answer)),
        )  # fmt: skip

    def _delete_collection(self, kind: Kind, scope: str) -> Operation:
        return Operation(
            "delete", f"delete{self._prefix}Collection{scope}{kind.kind}", f"delete collection of {kind.kind}",
            self._tag, "deletecollection", (kind.group, kind.version, kind.kind), parameters.DELETE_COLLECTION,
            DELETE_OPTIONS, body_required=False, responses=((200, "OK", STATUS),),
        )  # fmt: skip

    def _subresource(self, kind: Kind, sub: Subresource) -> Iterator[Path]:
        gvk = (sub.group, sub.version, sub.kind)
        suffix = sub.name[:1].upper() + sub.name[1:]
        name = ("Namespaced" if kind.namespaced else "") + kind.kind + suffix
        url = f"{self._url(kind)}/{{name}}/{sub.name}"
        shared = self._shared(kind, item=True)
        own = gvk == (kind.group, kind.version, kind.kind)
        schema = kind.schema if own else schema_name(sub.group, sub.version, sub.kind)
        methods = [_METHODS[verb] for verb in sub.verbs] + (["head", "options"] if sub.name == "proxy" else [])
        if sub.name == "log":
            operation = Operation(
                "get", f"read{self._prefix}{name}", f"read log of the specified {kind.kind}", self._tag, "get", gvk,
                parameters.LOG, produces=("text/plain", *_OBJECT), responses=((200, "OK", TEXT),),
            )  # fmt: skip
            yield Path(url, shared, (operation,))
        elif own or self._exists(schema):
            what = f"{sub.name} of the specified {kind.kind}"
            custom = kind.custom
            operations = tuple(self._write(method, name, what, gvk, schema, custom=custom) for method in methods)
            yield Path(url, shared, operations)
        else:
            operations = tuple(self._connect(kind, sub, method, name) for method in methods)
            yield Path(url, shared, operations)
            if sub.name == "proxy":
                deeper = tuple(self._connect(kind, sub, method, f"{name}WithPath") for method in methods)
                yield Path(f"{url}/{{path}}", (*shared, parameters.PROXY_PATH), deeper)

    def _connect(self, kind: Kind, sub: Subresource, method: str, name: str) -> Operation:
        return Operation(
            method, f"connect{self._prefix}{method.capitalize()}{name}",
            f"connect {method.upper()} requests to {sub.name} of {kind.kind}", self._tag, "connect",
            (sub.group, sub.version, sub.kind), parameters.CONNECT.get(sub.kind, ()), produces=_ANY,
            responses=((200, "OK", TEXT),),
        )  # fmt: skip

    def _write(
        self, method: str, name: str, what: str, gvk: tuple[str, str, str], schema: str, *, custom: bool = False
    ) -> Operation:
        """post, put and patch of an object; and get, which differs least from them."""
        patches = _CUSTOM_PATCHES if custom else _PATCHES
        codes: Mapping[str, tuple[tuple[int, str], ...]] = {
            "get": ((200, "OK"),),
            "post": ((200, "OK"), (201, "Created"), (202, "Accepted")),
            "put": ((200, "OK"), (201, "Created")),
            "patch": ((200, "OK"), (201, "Created")),
        }
        taken = {"get": (), "patch": parameters.PATCH}.get(method, parameters.WRITE)
        body = {"get": None, "patch": PATCH}.get(method, schema)
        return Operation(
            method, f"{_WORDS[method]}{self._prefix}{name}", f"{_DESCRIPTIONS[method]} {what}", self._tag, method, gvk,
            taken, body, consumes=patches if method == "patch" else _ANY,
            responses=tuple((code, text, schema) for code, text in codes[method]),
        )  # fmt: skip

    def _url(self, kind: Kind, below: str = "") -> str:
        base = self._base + below
        return f"{base}/namespaces/{{namespace}}/{kind.plural}" if kind.namespaced else f"{base}/{kind.plural}"

    def _shared(self, kind: Kind, *, item: bool = False) -> tuple[Parameter, ...]:
        name = (parameters.name_of(kind.kind),) if item else ()
        namespace = (parameters.NAMESPACE,) if kind.namespaced else ()
        return (*name, *namespace, parameters.PRETTY)
