"""What a binding parametrises its policy with (apiserver ``policy/generic``: CollectParams)."""

from __future__ import annotations

from collections.abc import Sequence

from sampan.api import errors
from sampan.api.kind import Kind
from sampan.api.objects import deep_copy
from sampan.api.reading import part, text_map
from sampan.api.types import Obj
from sampan.server.admission.policies.compiled import Binding, Definition, ParamRef
from sampan.server.reader import ObjectReader
from sampan.server.write import Write

#: A selector that finds more makes every write pay for each of them: beyond this the binding is misconfigured.
MAX_PARAMS = 100


class Misconfigured(Exception):
    """Of a policy or binding; the text is upstream's."""


class Params:
    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader

    async def of(self, definition: Definition, binding: Binding, write: Write) -> Sequence[Obj | None]:
        """The parameters with each of which the policy is evaluated. Raises Misconfigured."""
        if definition.param_kind is None or binding.params is None:
            return (None,)
        kind = self._kind(definition.param_kind, write)
        found = await self._found(kind, binding.params, write)
        if not found and binding.params.denies_if_missing:
            raise Misconfigured("no params found for policy binding with `Deny` parameterNotFoundAction")
        return found

    def check(self, definition: Definition, write: Write) -> None:
        """Raises Misconfigured: there is no such kind."""
        if definition.param_kind is not None:
            self._kind(definition.param_kind, write)

    def _kind(self, wanted: tuple[str, str], write: Write) -> Kind:
        version, name = wanted
        kind = write.request.surface.kinds.by_api_version(version, name)
        if kind is None or not kind.served or "get" not in kind.verbs:
            group, _, version = version.rpartition("/")
            shown = f"{group}/{version}, Kind={name}"
            raise Misconfigured(f"failed to find resource referenced by paramKind: '{shown}'")
        return kind

    async def _found(self, kind: Kind, reference: ParamRef, write: Write) -> list[Obj]:
        namespace = ""
        if kind.namespaced:
            namespace = reference.namespace or write.namespace
            if not namespace:
                raise Misconfigured(
                    "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
                )
        elif reference.namespace:
            raise Misconfigured("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
        stored = write.request.surface.kinds.storage(kind)
        resource = stored.resource
        try:
            if reference.selector is None:
                one = self._reader.get(resource, namespace or None, reference.name)
                one = one or await self._reader.fresh(resource, namespace or None, reference.name)
                chosen = [one] if one is not None else []
            else:
                matches = reference.selector.matches
                listed = self._reader.list(resource, namespace or None)
                chosen = [obj for obj in listed if matches(text_map(part(obj, "metadata"), "labels"))]
        except KeyError:
            raise Misconfigured(f"paramKind kind `{kind.kind}` not known") from None
        if len(chosen) > MAX_PARAMS:
            raise Misconfigured(f"the paramRef selects more than {MAX_PARAMS} params")
        return [await self._shown(obj, stored, kind, write) for obj in chosen]

    async def _shown(self, obj: Obj, stored: Kind, kind: Kind, write: Write) -> Obj:
        """In the version that the policy names. Raises Misconfigured."""
        if stored is kind:
            return obj
        view = write.request.surface.view(kind)
        if view.converter is None:
            return view.from_stored_now(obj)
        try:
            return (await view.converter.convert([deep_copy(obj)], kind))[0]
        except errors.ApiError as error:
            raise Misconfigured(error.message) from None
