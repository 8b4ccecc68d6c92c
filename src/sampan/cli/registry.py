"""``sampan registry``: a registry beside the cluster, and how the node reaches others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from sampan.cli.commands import Argument, Group, Option
from sampan.cli.options import Name, Output, printer
from sampan.cli.progress import steps
from sampan.cluster.errors import ClusterError
from sampan.cluster.settings import DEFAULT_NAME

if TYPE_CHECKING:
    from sampan.node.images.hosts import Endpoint

# What takes long to load is imported by the command that needs it.

app = Group("A registry beside the cluster, and how the node reaches others.")

Host = Annotated[str, Argument(help="Registry as images name it: docker.io, r.example:5000; _default: all others.")]


@app.command()
def up(
    port: Annotated[int | None, Option(help="Port on this machine. [5000, or the next that is free]")] = None,
    name: Name = DEFAULT_NAME,
) -> None:
    """Start a registry on this machine; pods pull from it by localhost:PORT/NAME."""
    import asyncio

    from sampan.cluster import instance, registry

    with steps() as progress:
        address = asyncio.run(registry.up(instance.load(name), port, progress))
    print(f"Registry {address} is ready. Try: sampan image tag APP {address}/APP; sampan image push {address}/APP")


@app.command()
def status(name: Name = DEFAULT_NAME, output: Output = "") -> None:
    """Show the registry: its address, what it takes, its images. Exit code 1: it does not run."""
    import sys

    from sampan.cluster import instance, registry

    show = printer(output)
    seen = registry.observe(instance.load(name))
    running = seen is not None and seen.pid is not None
    if show is not None:
        show(
            {"running": running}
            if seen is None
            else {
                "running": running,
                "address": seen.address,
                "folder": str(seen.folder),
                "sizeBytes": seen.size_bytes,
                "images": seen.images,
            }
        )
    elif seen is None:
        print("There is no registry. Start one: sampan registry up")
    else:
        print(
            f"{'running' if running else 'stopped'}  {seen.address}  {seen.size_bytes / 2**20:.1f} MiB in {seen.folder}"
        )
        for repository, tags in seen.images.items():
            print("\n".join(f"{seen.address}/{repository}:{tag}" for tag in tags))
    if not running:
        sys.exit(1)


@app.command()
def down(
    purge: Annotated[bool, Option("--purge", help="Also remove its images.")] = False,
    name: Name = DEFAULT_NAME,
) -> None:
    """Stop the registry. Its images stay for the next `sampan registry up`, unless --purge is given."""
    import asyncio

    from sampan.cluster import instance, registry

    with steps() as progress:
        was_there = asyncio.run(registry.down(instance.load(name), progress, purge=purge))
    print("The registry is gone." if purge else "The registry is stopped." if was_there else "There is no registry.")


@app.command()
def add(
    host: Host,
    mirror: Annotated[list[str] | None, Option(help="Address that is asked first, as https://mirror.example.")] = None,
    server: Annotated[str, Option(help="Address of the registry itself. [https://HOST]")] = "",
    plain_http: Annotated[bool, Option("--plain-http", help="It has no TLS.")] = False,
    skip_verify: Annotated[bool, Option("--skip-verify", help="Take any certificate of it.")] = False,
    ca: Annotated[Path | None, Option(help="Certificate of the CA that vouches for it.")] = None,
    client_cert: Annotated[Path | None, Option(help="Certificate to show it.")] = None,
    client_key: Annotated[Path | None, Option(help="Key of that certificate.")] = None,
    name: Name = DEFAULT_NAME,
) -> None:
    """Say how the node reaches a registry: mirrors, plain HTTP, certificates. It holds from the next pull on."""
    from sampan.cluster import instance, registry
    from sampan.node.images import hosts

    if client_key is not None and client_cert is None:
        raise ClusterError("a key is nothing without its certificate", fix="give --client-cert, too")
    for file in filter(None, (ca, client_cert, client_key)):
        if not file.is_file():
            raise ClusterError(f"{file} does not exist", fix="give the path of a PEM file")
    registry.check_certificates(ca, client_cert, client_key)
    written = server or (f"http://{host}" if plain_http else hosts.default_endpoint(host).url)
    certificate = str(client_cert.absolute()) if client_cert else ""
    endpoint = hosts.Endpoint(
        written.rstrip("/"),
        ca=(str(ca.absolute()),) if ca else (),
        client=((certificate, str(client_key.absolute()) if client_key else ""),) if certificate else (),
        skip_verify=skip_verify,
    )
    mirrors = [hosts.Endpoint(each.rstrip("/"), ("pull", "resolve")) for each in mirror or ()]
    print(registry.reach(instance.load(name), host, endpoint if host != "_default" else None, mirrors))


@app.command("list")
def list_hosts(name: Name = DEFAULT_NAME) -> None:
    """List the registries of which something was said, and the addresses that are asked, in order."""
    from sampan.cluster import instance, registry

    for host, found in registry.reached(instance.load(name)).items():
        print(f"{host}: {found}" if isinstance(found, str) else f"{host}: {', '.join(map(_shown, found))}")


@app.command()
def remove(host: Host, name: Name = DEFAULT_NAME) -> None:
    """Reach a registry as if nothing had been said of it."""
    from sampan.cluster import instance, registry

    if not registry.forget(instance.load(name), host):
        raise ClusterError(f"nothing was said of {host}", fix="`sampan registry list` shows those there are")
    print(f"removed {host}")


def _shown(endpoint: Endpoint) -> str:
    notes = [
        *(["any certificate"] if endpoint.skip_verify else []),
        *(["own CA"] if endpoint.ca else []),
        *(["client certificate"] if endpoint.client else []),
    ]
    return endpoint.url + (f" ({', '.join(notes)})" if notes else "")
