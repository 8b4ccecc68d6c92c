"""``sampan api``: what a release of Kubernetes removed or deprecates, and who uses it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from sampan.cli.commands import Group, Option
from sampan.cli.options import printer
from sampan.cluster.errors import WrongUsage

if TYPE_CHECKING:
    from sampan.api.versions.lifecycle import Release
    from sampan.apireport.findings import Finding, Span
    from sampan.apireport.rendering import Report

_STANDARD_INPUT = "-"

app = Group("Versions of the API: which manifests use what a release removed.")


@app.command()
def report(
    from_: Annotated[str, Option("--from", help="The release that the manifests are used with.")] = "1.20",
    to: Annotated[str, Option("--to", help="The release that they are to be used with.")] = "1.37",
    file: Annotated[
        str,
        Option("--file", "-f", help="A file, a folder with all below it, or - for standard input.", show_default=False),
    ] = "",
    output: Annotated[str, Option("--output", "-o", help="table, json or yaml.")] = "table",
    rewrite: Annotated[
        Path | None, Option("--rewrite", help="A folder that gets the files in the versions to use instead.")
    ] = None,
    write: Annotated[bool, Option("--write", help="Write the files anew where they are.")] = False,
    kubeconfig: Annotated[
        Path | None, Option("--kubeconfig", help="Without --file: of the cluster to look at. Default: as kubectl.")
    ] = None,
) -> None:
    """Say which manifests, or objects of a cluster, use versions of the API that a release removed or deprecates.

    Looks at YAML and JSON files, with any number of documents and lists; templates of Helm charts are skipped (render
    them first: `helm template CHART | sampan api report -f -`). Of a cluster, the versions count in which its objects
    were written. Deprecated fields, labels and annotations are told as hints.

    Exit codes: 0 nothing that is removed is in use, 1 something is, 2 wrong usage, or what cannot be read.
    """
    from sampan.apireport.findings import Span
    from sampan.apireport.rendering import table

    span = Span(_release(from_), _release(to))
    if span.end < span.start:
        raise WrongUsage(f"--to {span.end} is before --from {span.start}", fix="exchange them")
    show = printer("" if output == "table" else output)
    if (rewrite is not None or write) and file in ("", _STANDARD_INPUT):
        raise WrongUsage("there are no files to write anew", fix="name a file or folder with --file")
    made = _of_files(file, span) if file else _of_cluster(kubeconfig, span)
    if show is None:
        print(table(made))
    else:
        show(made.wire())
    if rewrite is not None or write:
        _rewrite(Path(file), rewrite, span.end)
    if made.unreadable:
        sys.exit(2)
    if made.removed:
        sys.exit(1)


def _release(text: str) -> Release:
    from sampan.api.versions.lifecycle import Release

    major, _, minor = text.removeprefix("v").partition(".")
    if major != "1" or not minor.isdigit() or len(minor) > 4:
        raise WrongUsage(f"{text!r} is no release of Kubernetes", fix="write it like 1.25")
    return Release(1, int(minor))


def _files(place: Path) -> Iterator[Path]:
    from sampan.apireport.sources import SUFFIXES

    if not place.exists():
        raise WrongUsage(f"{place} does not exist", fix="name a file or folder with --file")
    if place.is_file():
        yield place
        return
    for path in sorted(place.rglob("*")):
        if path.suffix in SUFFIXES and path.is_file() and not any(part.startswith(".") for part in path.parts[1:]):
            yield path


def _of_files(file: str, span: Span) -> Report:
    from sampan.apireport.rendering import Report
    from sampan.apireport.sources import MOST_BYTES, is_template

    found: list[Finding] = []
    skipped: list[str] = []
    unreadable: list[str] = []
    looked_at = 0
    if file == _STANDARD_INPUT:
        looked_at = _look(sys.stdin.buffer.read(MOST_BYTES + 1), file, span, found, unreadable, skipped)
    else:
        place = Path(file)
        charts = frozenset(path.parent for path in place.rglob("Chart.yaml")) if place.is_dir() else frozenset()
        for path in _files(place):
            if is_template(path, charts):
                skipped.append(f"{path}: a template of a Helm chart")
            else:
                looked_at += _look(path.read_bytes(), str(path), span, found, unreadable, skipped)
    return Report(span, looked_at, found, skipped, unreadable)


def _look(text: bytes, source: str, span: Span, found: list[Finding], unreadable: list[str], skipped: list[str]) -> int:
    from sampan.apireport.findings import findings
    from sampan.apireport.sources import documents, objects_in

    looked_at = 0
    json = source.endswith(".json") or text.lstrip()[:1] == b"{"
    for document in documents(text, json=json):
        where = f"{source}:{document.number}" if document.number > 1 else source
        if document.value is None:
            (skipped if "template" in document.fault else unreadable).append(f"{where}: {document.fault}")
            continue
        for obj in objects_in(document.value):
            looked_at += 1
            found += findings(obj, where, span)
    return looked_at


def _rewrite(place: Path, target: Path | None, to: Release) -> None:
    """Into ``target``, or (None) in place. What needs no change is not written."""
    from sampan.apireport.rewriting import rewrite

    for path in _files(place):
        text = path.read_bytes()
        done = rewrite(text, to, json=path.suffix == ".json")
        for why in done.left:
            print(f"Left as it is: {path}: {why}", file=sys.stderr)
        if not done.changed:
            continue
        written = path
        if target is not None:
            written = target / (path.relative_to(place) if place.is_dir() else path.name)
            written.parent.mkdir(parents=True, exist_ok=True)
        written.write_bytes(done.text)
        print(f"Wrote {written}: {done.changed} objects", file=sys.stderr)
        for fault in done.refused:
            print(f"To be decided: {written}: {fault}", file=sys.stderr)


def _of_cluster(kubeconfig: Path | None, span: Span) -> Report:
    import asyncio

    from sampan.apireport import cluster
    from sampan.apireport.findings import used_in
    from sampan.apireport.rendering import Report
    from sampan.client.client import Client
    from sampan.client.http import HttpTransport
    from sampan.client.kubeconfig import KubeConfig, KubeConfigError

    try:
        connection = KubeConfig.load(kubeconfig).connection()
    except KubeConfigError as error:
        raise WrongUsage(str(error), fix="name a kubeconfig with --kubeconfig, or manifests with --file") from None

    async def look() -> Report:
        found: list[Finding] = []
        refused: list[str] = []
        looked_at = 0
        transport = HttpTransport(connection)
        try:
            async for obj in cluster.objects(Client(transport), refused):
                looked_at += 1
                found += used_in(obj, span, "cluster")
        finally:
            await transport.close()
        return Report(span, looked_at, found, unreadable=refused)

    return asyncio.run(look())
