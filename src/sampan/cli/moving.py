"""``sampan backup`` and ``restore``: a cluster in one file; ``sampan store``: what is in its store, and its room."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from sampan.cli.commands import Argument, Group, Option
from sampan.cli.options import Name, Output, with_control_plane
from sampan.cli.progress import Steps, steps
from sampan.cluster.errors import ClusterError
from sampan.cluster.settings import DEFAULT_NAME

if TYPE_CHECKING:
    from sampan.cluster.instance import Instance
    from sampan.cluster.moving.backup import Taken

# What takes long to load is imported by the command that needs it.

To = Annotated[str, Option("--to", help="sqlite, etcd (a member that Sampan runs), or etcd://HOST:PORT[,...].")]
EtcdCa = Annotated[Path | None, Option("--etcd-cafile", help="CA of an etcd that others run.")]
EtcdCertificate = Annotated[Path | None, Option("--etcd-certfile", help="Our certificate there.")]
EtcdKey = Annotated[Path | None, Option("--etcd-keyfile", help="Its key.")]

store = Group("The store of a cluster: what is in it, whether it is whole, and the room that it takes.")


def add_to(app: Group) -> None:
    app.command()(backup)
    app.command()(restore)
    app.add("store", store)


def backup(
    file: Annotated[Path, Argument(help="The file to write.")],
    name: Name = DEFAULT_NAME,
    history: Annotated[
        bool, Option("--history/--no-history", help="Take the store's history along, or what is there now alone.")
    ] = True,
    certificates: Annotated[
        bool,
        Option("--certificates/--no-certificates", help="Take the CA and all keys along, or leave them out."),
    ] = True,
    force: Annotated[bool, Option("--force", help="Replace a file that is there already.")] = False,
) -> None:
    """Write a backup of a cluster, running or not, as it is at one revision.

    The file has everything the API holds, Secrets too, with its certificates and keys: keep it as you would keep them.
    """
    from sampan.api.clock import SystemClock
    from sampan.cluster.moving.backup import back_up

    instance = with_control_plane(name)
    clock = SystemClock()
    with steps() as progress:
        if instance.cluster.store == "etcd":
            if history:
                progress.warn("of etcd no history is taken along")
            taken = _of_etcd(instance, file, progress, certificates=certificates, force=force)
        else:
            taken = back_up(
                instance,
                file,
                clock=clock,
                progress=progress,
                history=history,
                certificates=certificates,
                overwrite=force,
            )
    print(f"{file}: revision {taken.extent.revision}, {taken.records:,} records, {taken.bytes / 1e6:,.1f} MB")
    print(f"To put it back: `sampan restore {file}` (docs/backup.md)")


def _of_etcd(instance: Instance, file: Path, progress: Steps, *, certificates: bool, force: bool) -> Taken:
    import asyncio

    from sampan.api.clock import SystemClock
    from sampan.cluster import machine
    from sampan.cluster.moving import backup as backing
    from sampan.cluster.moving.etcd import reached

    async def take() -> Taken:
        async with reached(instance, progress) as side:
            return await backing.back_up_etcd(
                instance,
                file,
                side,
                clock=SystemClock(),
                progress=progress,
                certificates=certificates,
                overwrite=force,
            )

    machine.complete_path()
    return asyncio.run(take())


def restore(
    file: Annotated[Path, Argument(help="What `sampan backup` wrote.")],
    name: Annotated[
        str, Option("--name", "-n", help="Name of the cluster to make. [as in the backup]", show_default=False)
    ] = "",
    certificates: Annotated[
        bool,
        Option("--certificates/--no-certificates", help="With the backup's CA and keys, or with new ones."),
    ] = True,
    moved: Annotated[
        bool,
        Option(
            "--moved", help="The cluster has not run since the backup: revisions and history go on where they were."
        ),
    ] = False,
    force: Annotated[bool, Option("--force", help="Replace the cluster of that name that is here.")] = False,
    to: To = "sqlite",
    etcd_ca: EtcdCa = None,
    etcd_certificate: EtcdCertificate = None,
    etcd_key: EtcdKey = None,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Check the file, say what would be done, and do nothing.")
    ] = False,
) -> None:
    """Make a cluster out of a backup, on this machine or another; `sampan up` starts it then.

    It is put into SQLite first, and with --to etcd moved on from there.
    """
    import asyncio

    from sampan.api.clock import SystemClock
    from sampan.cluster import instance as instances
    from sampan.cluster import machine
    from sampan.cluster.moving import migrate as moving
    from sampan.cluster.moving import restore as restoring

    clock = SystemClock()
    machine.complete_path()
    with steps() as progress:
        archive = restoring.open_archive(file, progress)
        instance = instances.nameless(name or str(archive.manifest.get("cluster") or DEFAULT_NAME))
        planned = asyncio.run(
            restoring.plan(archive, instance, moved=moved, certificates=certificates, force=force, progress=progress)
        )
        target = _target(planned.instance, to, etcd_ca, etcd_certificate, etcd_key)
        progress.done()
        for line in planned.lines(moves_on=target is not None):
            print(f"   {line}")
        if dry_run:
            return
        asyncio.run(restoring.restore(planned, clock=clock, progress=progress))
        if target is not None:
            asyncio.run(moving.move_on(planned.instance, target, to, clock=clock, progress=progress))
    print(f"To start it: `{planned.instance.command('up')}`")


def _target(
    instance: Instance, to: str, ca: Path | None, certificate: Path | None, key: Path | None
) -> Instance | None:
    """None: it stays on SQLite. Raises ClusterError for a place that cannot be."""
    from sampan.cluster.errors import WrongUsage
    from sampan.cluster.moving import migrate as moving

    if to not in ("sqlite", "etcd") and not to.startswith("etcd://"):
        raise WrongUsage(f"--to {to!r} is not known", fix="give sqlite, etcd or etcd://HOST:PORT")
    if to == "sqlite" and instance.cluster.store == "sqlite":
        return None
    given = {"etcd_cafile": ca, "etcd_certfile": certificate, "etcd_keyfile": key}
    options = {field: str(path.absolute()) for field, path in given.items() if path is not None}
    return moving.target_of(instance, to, options)


@store.command()
def info(name: Name = DEFAULT_NAME, output: Output = "") -> None:
    """Say what a store holds: revisions, objects by kind, room; running or not."""
    from sampan.cli import options
    from sampan.cluster.moving import upkeep

    show = options.printer(output)
    found = upkeep.info(with_control_plane(name))
    if show:
        show(found.data())
        return
    print(f"store       {found.kind} {found.identity}")
    print(f"revision    {found.revision:,}; history back to {found.oldest:,}")
    print(f"file        {found.file_bytes / 1e6:,.1f} MB, of which {found.free_bytes / 1e6:,.1f} MB hold nothing")
    print(f"objects     {sum(count for _, count, _ in found.kinds):,}")
    for resource, count, size in found.kinds:
        print(f"  {count:>8,}  {size / 1e6:>8,.2f} MB  {resource}")


@store.command()
def check(name: Name = DEFAULT_NAME) -> None:
    """Read the whole store and compare every checksum; running or not. Exit code 1: something is damaged."""
    from sampan.cluster.moving import upkeep

    instance = with_control_plane(name)
    with steps() as progress:
        progress.step(f"Checking the store of cluster {name!r}")
        problems = upkeep.problems(instance)
    if problems:
        shown = "\n".join(f"  - {problem}" for problem in problems[:50])
        raise ClusterError(
            f"the store of cluster {name!r} has {len(problems)} problems:\n{shown}",
            fix=f"restore a backup (`{instance.command('restore FILE --force')}`), or delete the objects named",
        )
    print("every page and every checksum is right")


@store.command()
def compact(
    name: Name = DEFAULT_NAME,
    revision: Annotated[int | None, Option(min=1, help="Keep history from here on. [the newest]")] = None,
) -> None:
    """Forget history of a stopped cluster; one that runs forgets what is older than a day by itself."""
    import asyncio

    from sampan.cluster.moving import upkeep

    instance = with_control_plane(name)
    with steps() as progress:
        progress.step(f"Compacting the store of cluster {name!r}")
        reached = asyncio.run(upkeep.compact(instance, revision))
    print(f"history before revision {reached:,} is gone; `{instance.command('store shrink')}` gives its room back")


@store.command()
def shrink(name: Name = DEFAULT_NAME) -> None:
    """Give free room of a stopped cluster's store back to the disk; one that runs does it by itself, by and by."""
    from sampan.cluster.moving import upkeep

    with steps() as progress:
        progress.step(f"Writing the store of cluster {name!r} anew")
        before, after = upkeep.shrink(with_control_plane(name))
    print(f"{before / 1e6:,.1f} MB became {after / 1e6:,.1f} MB")


@store.command()
def migrate(
    to: To = "",
    name: Name = DEFAULT_NAME,
    etcd_ca: EtcdCa = None,
    etcd_certificate: EtcdCertificate = None,
    etcd_key: EtcdKey = None,
    delete_old: Annotated[
        bool, Option("--delete-old", help="Remove the store of before; alone, or after a move that went well.")
    ] = False,
) -> None:
    """Move a stopped cluster to another kind of store, compare every entry, and keep the old one aside.

    Interrupted, the cluster is as it was, and the same command goes on. `sampan up` starts it on the new store.
    """
    import asyncio

    from sampan.api.clock import SystemClock
    from sampan.cluster import machine
    from sampan.cluster.errors import WrongUsage
    from sampan.cluster.moving import migrate as moving

    instance = with_control_plane(name)
    if not to and not delete_old:
        raise WrongUsage("--to is missing", fix="give --to sqlite, --to etcd or --to etcd://HOST:PORT")
    if to:
        machine.complete_path()
        target = _target(instance, to, etcd_ca, etcd_certificate, etcd_key) or instance
        with steps() as progress:
            moved = asyncio.run(moving.migrate(instance, target, clock=SystemClock(), progress=progress))
        print(f"{moved.records:,} entries, every one compared; revision {moved.before:,} became {moved.after:,}")
    if delete_old:
        gone = moving.delete_old(instance)
        print(f"{gone / 1e6:,.1f} MB of the old store are gone" if gone else "There is no old store of a move")
    elif to:
        print(f"The old store is kept: `{instance.command('store migrate')} --delete-old` removes it")
    if to:
        print(f"To start it: `{instance.command('up')}`")
