"""``sampan config``: kubeadm's configuration files, and the images of the release."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from sampan.cli.commands import Group, Option
from sampan.cli.options import Name, Output
from sampan.cli.progress import steps
from sampan.cluster.errors import ClusterError
from sampan.cluster.settings import DEFAULT_NAME

ConfigFile = Annotated[Path | None, Option("--config", help="File with a ClusterConfiguration.")]
Repository = Annotated[str, Option("--image-repository", help="Where the images are. [registry.k8s.io]")]
Release = Annotated[str, Option("--kubernetes-version", help="Refused when it is not the release that this is.")]
ComponentConfigs = Annotated[
    str, Option("--component-configs", help="KubeletConfiguration, KubeProxyConfiguration or both: print these too.")
]

app = Group("Configuration files of init and join, and the images of the release.")
images = Group("The images of the release: no cluster of ours needs one, mirrors may.")
printing = Group("Print what a configuration file holds when nothing is said.")
app.add("images", images)
app.add("print", printing)


@images.command("list")
def list_images(
    config: ConfigFile = None, image_repository: Repository = "", kubernetes_version: Release = "", output: Output = ""
) -> None:
    """List the images that kubeadm lists."""
    from sampan.cli import options

    found = _images(config, image_repository, kubernetes_version)
    show = options.printer(output)
    if show is not None:
        show({"apiVersion": "output.kubeadm.k8s.io/v1alpha3", "kind": "Images", "images": found})
    else:
        print("\n".join(found))


@images.command()
def pull(
    config: ConfigFile = None,
    image_repository: Repository = "",
    kubernetes_version: Release = "",
    cri_socket: Annotated[str, Option(help="Without effect: each node has a containerd of its own.")] = "",
    name: Name = DEFAULT_NAME,
) -> None:
    """Pull them to this machine's node, for who wants them there."""
    import asyncio

    from sampan.cluster import images as node_images
    from sampan.cluster import instance as instances
    from sampan.cluster import supervisor

    found = _images(config, image_repository, kubernetes_version)
    instance = instances.nameless(name)
    if not instance.exists() or not supervisor.is_running(instance):
        # Instructions pull before init: that must not end there.
        print("[config/images] Nothing needs to be pulled: the control plane of this cluster runs without images")
        return
    instance = instances.load(name)
    with steps() as progress:
        for image in found:
            progress.step(f"Pulling {image}")
            reference = asyncio.run(node_images.pull(instance, image, []))
            progress.done()
            print(f"[config/images] Pulled {reference}")


def _images(config: Path | None, repository: str, version: str) -> list[str]:
    from sampan.cluster.initializing import documents
    from sampan.cluster.initializing import images as known
    from sampan.cluster.initializing.configuration import Configuration, check_version

    wanted = documents.configuration(documents.load(config)) if config is not None else Configuration()
    check_version(version or wanted.kubernetes_version)
    given = version if version[-1:].isdigit() and version.count(".") == 2 else ""
    return known.listed(repository or wanted.image_repository, given)


@printing.command("init-defaults")
def init_defaults(component_configs: ComponentConfigs = "") -> None:
    """Print the configuration of `sampan init` when nothing is said."""
    from sampan.cluster import machine
    from sampan.cluster.initializing import documents
    from sampan.cluster.initializing.configuration import Configuration

    wanted = Configuration(node_name=machine.node_name())
    found: list[dict[str, Any]] = [documents.init_document(wanted), documents.cluster_document(wanted)]
    print(documents.render([*found, *_components(component_configs)]), end="")


@printing.command("join-defaults")
def join_defaults(component_configs: ComponentConfigs = "") -> None:
    """Print the configuration of `sampan join` when nothing is said."""
    from sampan.cluster.initializing import documents

    print(documents.render([documents.join_document(), *_components(component_configs)]), end="")


def _components(named: str) -> list[dict[str, Any]]:
    from sampan.cluster.initializing import documents
    from sampan.cluster.settings import ClusterSettings

    cluster = ClusterSettings()
    known: dict[str, dict[str, Any]] = {
        documents.KUBELET[1]: {"clusterDNS": list(cluster.dns_ips), "clusterDomain": cluster.cluster_domain},
        documents.PROXY[1]: {"mode": "nftables", "clusterCIDR": ""},
    }
    versions = {kind: version for version, kind in (documents.KUBELET, documents.PROXY)}
    found = []
    for kind in filter(None, (part.strip() for part in named.split(","))):
        if kind not in known:
            raise ClusterError(f"--component-configs: {kind!r} is not known", fix=f"choose of {', '.join(known)}")
        found.append({"apiVersion": versions[kind], "kind": kind, **known[kind]})
    return found


@app.command()
def validate(config: Annotated[Path, Option("--config", help="The file.")]) -> None:
    """Say whether a configuration file can be used, and of what nothing here acts on."""
    from sampan.cluster.initializing import configuration, documents, fields

    read = documents.load(config)
    wanted = documents.configuration(read)
    for text in configuration.words(wanted):
        print(f"[WARNING] {text}")
    configuration.options(wanted)
    if any(document["apiVersion"] == fields.V1BETA3 for document in read):
        print(f"[WARNING] {fields.V1BETA3} is old: `sampan config migrate` writes {fields.V1BETA4}")
    print("ok")


@app.command()
def migrate(
    old_config: Annotated[Path, Option(help="File of an older version.")],
    new_config: Annotated[Path | None, Option(help="File to write. [print it]", show_default=False)] = None,
) -> None:
    """Write a configuration file in the newest version."""
    from sampan.api.faults import cause
    from sampan.cluster.initializing import documents

    text = documents.render(documents.migrated(documents.load(old_config)))
    if new_config is None:
        print(text, end="")
        return
    try:
        new_config.write_text(text)
    except OSError as error:
        raise ClusterError(f"cannot write {new_config}: {cause(error)}", fix="name another file") from error
