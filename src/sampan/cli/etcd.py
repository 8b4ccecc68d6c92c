"""``sampan etcd``: etcd's own interface over a store of Sampan, for ``etcdctl`` and programs that speak to etcd."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from sampan.cli.commands import Group, Option
from sampan.cli.options import Name, with_control_plane
from sampan.cluster.errors import ClusterError, WrongUsage
from sampan.cluster.settings import DEFAULT_NAME

app = Group("etcd's interface (API v3) over a store of Sampan.")


@app.command()
def serve(
    name: Name = DEFAULT_NAME,
    data_dir: Annotated[
        Path | None, Option("--data-dir", help="A store of its own in this directory, instead of a cluster's.")
    ] = None,
    listen: Annotated[str, Option("--listen-client", help="HOST:PORT; port 0: a free one.")] = "127.0.0.1:2379",
    cert_file: Annotated[Path | None, Option("--cert-file", help="Certificate of this server, PEM.")] = None,
    key_file: Annotated[Path | None, Option("--key-file", help="Its key.")] = None,
    trusted_ca_file: Annotated[
        Path | None, Option("--trusted-ca-file", help="CA whose certificates clients must show.")
    ] = None,
) -> None:
    """Serve the store of a stopped cluster, or one of its own, as etcd would, until Ctrl-C.

    Whoever reaches it can read and change everything: without certificates it listens on this machine alone.
    """
    import asyncio

    from sampan.cluster import supervisor
    from sampan.store.endpoint.serving import Credentials
    from sampan.store.protocol import StoreUnavailable
    from sampan.store.sqlite.files import StoreLocked

    given = [cert_file, key_file, trusted_ca_file]
    if any(given) and not all(given):
        raise WrongUsage("certificates are given in part", fix="give --cert-file, --key-file and --trusted-ca-file")
    credentials = None
    if cert_file and key_file and trusted_ca_file:
        credentials = Credentials(trusted_ca_file.read_bytes(), cert_file.read_bytes(), key_file.read_bytes())
    directory = data_dir
    if directory is None:
        instance = with_control_plane(name)
        if supervisor.is_running(instance):
            raise ClusterError(
                f"cluster {name!r} is running and has its store open",
                fix=f"`{instance.command('down')}` first; `{instance.command('up')} --etcd-endpoint 127.0.0.1:2379` "
                f"then serves it while it runs; a backup (`{instance.command('backup FILE')}`) needs no stop",
            )
        directory = instance.store
    try:
        asyncio.run(_serve(directory, listen, credentials, create=data_dir is not None))
    except StoreLocked as error:
        raise ClusterError(str(error), fix="end that one (its Ctrl-C), or give another --data-dir") from error
    except StoreUnavailable as error:
        raise ClusterError(str(error), fix="`sampan store check` says whether it is whole") from error
    except ValueError as error:
        raise ClusterError(
            str(error), fix="--listen-client 127.0.0.1:0 takes a free port of this machine, and prints it"
        ) from error


async def _serve(directory: Path, listen: str, credentials: object, *, create: bool) -> None:
    import asyncio
    import signal

    from sampan.api.clock import SystemClock
    from sampan.store.endpoint.serving import Credentials, Endpoint
    from sampan.store.sqlite import SqliteStore

    store = await SqliteStore.open(directory, clock=SystemClock(), create=create)
    try:
        endpoint = Endpoint(store, identity=store.identity, directory=directory)
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, ended.set)
        assert credentials is None or isinstance(credentials, Credentials)
        try:
            async with endpoint.listening(listen, credentials) as port:
                scheme = "https" if credentials else "http"
                print(f"{scheme}://{listen.rpartition(':')[0]}:{port} (Ctrl-C ends it)", flush=True)
                await ended.wait()
        finally:
            endpoint.close()
    finally:
        await store.close()
