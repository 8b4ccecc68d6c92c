"""``sampan why``, ``why-not``, ``who-can``: causes, of any cluster that a kubeconfig leads to, or of a dump of one."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

from sampan.cli.commands import Argument, Group, Option
from sampan.cli.options import Output, printer
from sampan.cluster.errors import ClusterError, WrongUsage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from sampan.api.resources import Resource
    from sampan.client.client import Client
    from sampan.why.access import Grant, Request
    from sampan.why.dump import Dump
    from sampan.why.model import Explanation, Ref
    from sampan.why.reader import Ask

T = TypeVar("T")

# What takes long to load is imported by the command that needs it.

Kubeconfig = Annotated[Path | None, Option("--kubeconfig", help="Of the cluster to ask. Default: as kubectl.")]
Context = Annotated[str, Option("--context", help="Of the kubeconfig.", show_default=False)]
Namespace = Annotated[
    str, Option("--namespace", "-n", help="Of the object. Default: that of the context.", show_default=False)
]
File = Annotated[
    str,
    Option(
        "--file", "-f", help="Ask a dump, not a cluster: a file or folder of YAML or JSON, or -.", show_default=False
    ),
]


def add_to(group: Group) -> None:
    @group.command()
    def why(
        what: Annotated[list[str], Argument(help="KIND/NAME, KIND NAME, or the words of an error.", metavar="WHAT...")],
        namespace: Namespace = "",
        file: File = "",
        verbose: Annotated[bool, Option("--verbose", "-v", help="All causes, each with its fix.")] = False,
        output: Output = "",
        context: Context = "",
        kubeconfig: Kubeconfig = None,
    ) -> None:
        """Say why an object is not as it should be: the cause, what shows it, and the smallest change that mends it.

        sampan why pod/web-3; sampan why deploy web -n shop; sampan why ns/old; sampan why ingress/front;
        sampan why 'pods is forbidden: User "bob" cannot list ...';
        kubectl get all,events -A -o yaml | sampan why pod/web-3 -f -

        Asks with the rights of the kubeconfig and only reads; what it may not read it names. Exit codes: 0 explained
        (or nothing is wrong), 1 there is no such object or the cluster does not answer, 2 wrong usage.
        """
        show = printer(output)
        asked = _Asked(namespace, file, kubeconfig, context)
        _tell(asked.explained(what), show, verbose, dump=bool(file))

    @group.command("why-not")
    def why_not(
        what: Annotated[
            list[str], Argument(help="A pod or what makes pods: KIND/NAME or KIND NAME.", metavar="WHAT...")
        ],
        node: Annotated[str, Option("--node", help="The node that it is not on.")],
        namespace: Namespace = "",
        file: File = "",
        output: Output = "",
        context: Context = "",
        kubeconfig: Kubeconfig = None,
    ) -> None:
        """Say every reason why a pod is not on one node; of a Deployment and its like, why its next pod would not be.

        sampan why-not pod/web-3 --node worker-1; sampan why-not deploy web --node worker-1 -n shop

        Exit codes: 0 explained, 1 there is no such object or node, or the cluster does not answer, 2 wrong usage.
        """
        show = printer(output)
        asked = _Asked(namespace, file, kubeconfig, context)
        _tell(asked.explained(what, node), show, True, dump=bool(file))

    @group.command("who-can")
    def who_can(
        verb: Annotated[str, Argument(help="get, list, watch, create, update, patch, delete, impersonate ...")],
        resource: Annotated[str, Argument(help="pods, deployments.apps, pods/log; or a path that begins with /.")],
        name: Annotated[str, Argument(help="Of one object.")] = "",
        namespace: Namespace = "",
        output: Output = "",
        context: Context = "",
        kubeconfig: Kubeconfig = None,
    ) -> None:
        """Say who may do something, and by which binding and role (RBAC).

        sampan who-can delete pods; sampan who-can get secrets db-password -n shop; sampan who-can get /metrics

        Exit codes: 0 told, 1 the cluster does not answer, or roles and bindings may not be read, 2 wrong usage.
        """
        show = printer(output)
        asked = _Asked(namespace, "", kubeconfig, context)
        _tell_grants(*asked.grants(verb, resource, name), show)


class _Asked:
    """What a command line says of where to ask."""

    def __init__(self, namespace: str, file: str, kubeconfig: Path | None, context: str) -> None:
        self._file, self._kubeconfig, self._context = file, kubeconfig, context
        self._namespace = namespace

    def grants(self, verb: str, resource: str, name: str) -> tuple[Request, list[Grant], list[str]]:
        from sampan.why import access, reader

        if doubt := _doubtful_verb(verb, resource):
            print(doubt, file=sys.stderr)

        async def look(client: Client, default: str, now: datetime) -> tuple[Request, list[Grant], list[str]]:
            request = await _request(client, verb, resource, name, self._namespace or default)
            ask = reader.Reader(client).ask
            found, unseen = await reader.asked(ask, lambda world: access.grants(world, request), now)
            return request, [*access.always(request), *found], unseen

        return self.with_client(look)

    def explained(self, what: list[str], node: str = "") -> Explanation:
        from sampan.why import reader

        async def of_cluster(client: Client, default: str, now: datetime) -> Explanation:
            namespace = self._namespace or default
            ask = reader.Reader(client).ask
            return await _explained(what, namespace, ask, lambda word: _discovered(client, word), now, node)

        async def of_dump(dump: Dump, now: datetime) -> Explanation:
            namespace = self._namespace or "default"

            async def found(word: str) -> Resource | None:
                return dump.kind_named(word)

            return await _explained(what, namespace, dump.ask, found, dump.taken_at or now, node)

        if self._file:
            return _run(lambda now: of_dump(_dump(self._file), now))
        return self.with_client(of_cluster)

    def with_client(self, work: Callable[[Client, str, datetime], Awaitable[T]]) -> T:
        from sampan.api.errors import ApiError
        from sampan.client.client import Client
        from sampan.client.http import HttpTransport
        from sampan.client.kubeconfig import KubeConfig, KubeConfigError

        try:
            connection = KubeConfig.load(self._kubeconfig).connection(self._context)
        except KubeConfigError as error:
            raise WrongUsage(str(error), fix="name a kubeconfig with --kubeconfig, or a dump with --file") from None

        async def ask(now: datetime) -> T:
            transport = HttpTransport(connection)
            try:
                return await work(Client(transport), connection.namespace, now)
            finally:
                await transport.close()

        try:
            return _run(ask)
        except ApiError as error:
            raise ClusterError(f"the cluster did not say: {error.message}", fix="sampan status") from None


def _run(work: Callable[[datetime], Awaitable[T]]) -> T:
    import asyncio

    from sampan.api.clock import SystemClock

    async def whole() -> T:
        return await work(SystemClock().now())

    return asyncio.run(whole())


async def _explained(
    what: list[str],
    namespace: str,
    ask: Ask,
    find_kind: Callable[[str], Awaitable[Resource | None]],
    now: datetime,
    node: str,
) -> Explanation:
    from sampan.why import reader
    from sampan.why.whynot import why_not

    if node:
        subject = await _subject(what, namespace, find_kind)
        found, unseen = await reader.asked(ask, lambda world: why_not(world, subject, node), now)
        return replace(found, unseen=(*found.unseen, *unseen))

    if len(what) > 2 or any(" " in word for word in what):
        return await reader.explain_refusal(ask, " ".join(what), namespace, now)
    return await reader.explained(ask, await _subject(what, namespace, find_kind), now)


async def _subject(what: list[str], namespace: str, find_kind: Callable[[str], Awaitable[Resource | None]]) -> Ref:
    from sampan.why.model import Ref
    from sampan.why.near import nearest
    from sampan.why.subjects import kind_named, known

    kind, _, name = what[0].partition("/")
    name = name or (what[1] if len(what) > 1 else "")
    if not name or (len(what) > 1 and "/" in what[0]):
        raise WrongUsage(f"{' '.join(what)} names no object", fix="write it like pod/web-1, or pod web-1")
    resource = kind_named(kind) or await find_kind(kind)
    if resource is None:
        near = nearest(kind.lower(), known())
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ClusterError(
            f"the cluster has no kind {kind!r}{hint}",
            fix="kubectl api-resources shows what there is; a kind of an operator is there once its "
            "definition is applied",
        )
    return Ref(resource, name, namespace if resource.namespaced else "")


async def _discovered(client: Client, word: str) -> Resource | None:
    from sampan.why.reader import discovered

    return await discovered(client, word)


def _dump(file: str) -> Dump:
    from sampan.why.dump import Unreadable, read

    try:
        return read(file, sys.stdin.buffer)
    except Unreadable as error:
        raise WrongUsage(
            str(error), fix="make one: kubectl get all,events,nodes,pv,pvc -A -o yaml > dump.yaml"
        ) from None


def _tell(found: Explanation, show: Callable[[object], None] | None, verbose: bool, *, dump: bool) -> None:
    from sampan.why.rendering import plain, wire, words

    if show is not None:
        show(wire(found))
    if not found.found:
        if show is not None:
            sys.exit(1)
        if found.state.text in found.unseen:  # nobody knows whether there is one
            raise ClusterError(plain(found.state.text), fix=_heard(found, dump))
        near = f"; there is {', '.join(found.near)}" if found.near else ""
        where = f" -n {found.subject.namespace}" if found.subject.namespace else ""
        raise ClusterError(
            plain(f"{found.state.text}{near}"),
            fix=plain(f"kubectl get {found.subject.resource.plural}{where} shows what there is"),
        )
    if show is None:
        print(words(found, verbose=verbose))


def _heard(found: Explanation, dump: bool) -> str:
    """What whoever asked can do where the cluster, or a dump of one, told nothing of the object."""
    resource, namespace = found.subject.resource, found.subject.namespace
    if dump:
        return f"take {resource.plural} into it: kubectl get {resource.plural} -A -o yaml"
    if "forbidden" in found.state.text:
        where = f" -n {namespace}" if namespace else ""
        return f"`sampan who-can get {resource.plural}{where}` says who may read it"
    return (
        "see that the cluster runs (`sampan status`), and that it is the one that is meant "
        "(`kubectl config current-context`)"
    )


def _doubtful_verb(verb: str, resource: str) -> str:
    """A warning about a verb that is probably mistyped; "" for a known one. It is asked about all the same: roles may
    name any verb, and programs of one's own may ask for it."""
    from sampan.why.access import PATH_VERBS, VERBS
    from sampan.why.near import nearest

    known = PATH_VERBS if resource.startswith("/") else VERBS
    if verb in known:
        return ""
    near = nearest(verb.lower(), known)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"Warning: verb {verb!r} is not a known verb of {'paths' if resource.startswith('/') else 'resources'}{hint}"


async def _request(client: Client, verb: str, resource: str, name: str, namespace: str) -> Request:
    from sampan.why.access import Request
    from sampan.why.subjects import kind_named

    if resource.startswith("/"):
        return Request(verb, path=resource)
    plain, _, sub = resource.partition("/")
    found = kind_named(plain) or await _discovered(client, plain)
    if found is None:
        from sampan.why.near import nearest
        from sampan.why.subjects import known

        near = nearest(plain.lower(), known())
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ClusterError(
            f"the cluster has no resource {plain!r}{hint}", fix="kubectl api-resources shows what there is"
        )
    whole = f"{found.plural}/{sub}" if sub else found.plural
    return Request(verb, whole, found.group, name, namespace if found.namespaced else "")


def _tell_grants(
    request: Request, found: list[Grant], unseen: list[str], show: Callable[[object], None] | None
) -> None:
    from sampan.why.rendering import plain

    if show is not None:
        subjects = [
            {
                "kind": each.kind,
                "name": each.name,
                **({"binding": each.binding.wire()} if each.binding is not None else {}),
                **({"role": each.role.wire()} if each.role is not None else {}),
                **({"because": each.because} if each.because else {}),
            }
            for each in found
        ]
        show({"request": str(request), "subjects": subjects, "unseen": unseen})
    else:
        rows = [("SUBJECT", "NAME", "BY")]
        for each in found:
            by = each.because or f"{each.binding}, {each.role}"
            rows.append((plain(each.kind), plain(each.name), plain(by)))
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        print(f"Who can {plain(str(request))}:")
        for row in rows:
            print(f"{row[0].ljust(widths[0])}  {row[1].ljust(widths[1])}  {row[2]}".rstrip())
    for each_unseen in unseen:
        print(f"could not be seen: {plain(each_unseen)}", file=sys.stderr)
    if unseen:
        sys.exit(1)
