"""``sampan join``: from an address and a token to a node that is Ready.

Called by the CLI. Finds the cluster (``discovery``), learns what its nodes agree on, has itself given certificates of
its own, writes all of it as an instance with the role ``node`` and starts that as ``sampan up`` does. Until the
instance is written nothing is left on the machine; after that it is one like any other: ``sampan reset`` takes it away.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

import yaml

from sampan.api.clock import Clock
from sampan.api.faults import fault
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.kubeconfig import Connection, KubeConfig, KubeConfigError
from sampan.cluster import instance as instances
from sampan.cluster import kubeconfigs, kubernetesdir, leftovers, locks, machine, pki, servers, supervisor
from sampan.cluster import up as starting
from sampan.cluster.choosing import Given
from sampan.cluster.errors import ClusterError
from sampan.cluster.initializing import documents, kubeletflags, preflight
from sampan.cluster.initializing.objects import KUBELET_NAME
from sampan.cluster.initializing.phases import Step
from sampan.cluster.instance import Instance
from sampan.cluster.joining import admission, asking, discovery
from sampan.cluster.joining.wanted import ControlPlane, Wanted, parse_endpoint
from sampan.cluster.pki import Leaf
from sampan.cluster.up import Progress
from sampan.node.kubeletconfig import reading
from sampan.records import dataclass


class Joining:
    """One run of ``sampan join``: phase by phase, on whatever the ones before left."""

    def __init__(
        self,
        named: Instance,
        wanted: Wanted,
        given: Given,
        clock: Clock,
        progress: Progress,
        *,
        timeout_seconds: float,
        alone: bool = False,
    ) -> None:
        """``alone``: one phase by itself, which leaves what the next one goes on with."""
        self.instance, self._wanted, self._given = named, wanted, given
        self._clock, self._progress, self._timeout_seconds, self._alone = clock, progress, timeout_seconds, alone
        self._known: Connection | None = None
        #: the KubeletConfiguration that the node is to have, if it is none of a person's files; {}: none
        self._kubelet: Obj = {}

    async def run(self, steps: Sequence[Step]) -> Instance:
        """Raises ClusterError."""
        named, progress = self.instance, self._progress
        machine.complete_path()
        machine.require_root("sampan join")
        goes_on = self._alone and named.exists()
        if not goes_on:
            self._wanted.check()
            # Before half a minute is spent on looking for the cluster.
            admission.worker(self._given.node(named.node), self._wanted.node_name).validate_names()
        async with locks.changing(named, progress):
            if goes_on:
                kept = instances.load(named.name, state_root=named.state_root, run_root=named.run_root)
                self.instance = starting.complete(kept)
            else:
                refuse_second(named)
                await leftovers.end_supervisors(named)
                await self._settle()
            if not self._wanted.dry_run:
                for step in steps:
                    await getattr(self, f"_{step.phase.replace('-', '_')}")(step)
            elif any(step.phase == "preflight" for step in steps):
                check_machine(self.instance, self._wanted, progress)
        return self.instance

    async def _settle(self) -> None:
        """What the machine is to be; nothing is written."""
        self._known = known = await find(self._wanted, self._progress)
        async with asking.connected(known) as client:
            self._progress.step(f"Reading what nodes of {known.server} agree on")
            settled = await settle(self.instance, self._wanted, self._given, client, known.server)
        self.instance, self._kubelet = settled.instance, settled.kubelet
        for word in settled.warnings:
            self._progress.warn(word)

    async def _cluster(self) -> Connection:
        """The cluster, as this machine knows it: from a person, or from the phase before."""
        if self._known is None and (self._wanted.endpoint or self._wanted.discovery_file):
            self._known = await find(self._wanted, self._progress)
        if self._known is None:
            urls = servers.read(self.instance).urls or (self.instance.api_url,)
            path = self.instance.pki / "ca.crt"
            try:
                self._known = Connection(urls[0], ca_pem=path.read_bytes())
            except OSError as error:
                raise ClusterError(
                    f"cannot read {path}, the CA of the cluster: {fault(error)}",
                    fix="give the address and the token again: `sampan join phase ... HOST:PORT --token T ...`",
                ) from error
        return self._known

    @property
    def _is_control_plane(self) -> bool:
        return self.instance.node.runs_control_plane

    # -- phases ----------------------------------------------------------------------------------------------------

    async def _preflight(self, step: Step) -> None:
        check_machine(self.instance, self._wanted, self._progress)

    async def _control_plane_prepare(self, step: Step) -> None:
        if not self._is_control_plane:
            return
        wish = self._wanted.control_plane or ControlPlane()
        if step.has("download-certs"):
            known = await self._cluster()
            async with asking.connected(known) as client:
                await self._keep(await _late().keys(client, wish, self.instance, known.ca_pem))
        if step.has("certs"):
            _late().require_keys(self.instance, (await self._cluster()).ca_pem)
            _late().make_certificates(self.instance, self._clock, self._progress)
        if step.has("kubeconfig"):
            self._progress.step("Writing kubeconfigs")
            with starting.writing(self.instance):
                kubeconfigs.write_all(self.instance)

    async def _kubelet_start(self, step: Step) -> None:
        if supervisor.is_running(self.instance):
            return
        known, instance = await self._cluster(), self.instance
        if self._is_control_plane:
            _late().require_keys(instance, known.ca_pem)  # download-certs may have been left out
            await _late().begin(instance, known, self._clock, self._progress, self._timeout_seconds)
            return
        if any(not (instance.pki / name).is_file() for name in pki.NODE_FILES):
            async with asking.connected(known) as client:
                await self._keep(await credentials(instance, client, known, self._wanted, self._progress))
        starting.prepare(self.instance, self._clock, self._progress)
        await starting.start(self.instance, self._progress, self._timeout_seconds)

    async def _etcd_join(self, step: Step) -> None:
        self._require_running()

    _kubelet_wait_bootstrap = _etcd_join

    async def _control_plane_join(self, step: Step) -> None:
        if not self._is_control_plane:
            return
        self._require_running()
        if step.has("mark-control-plane"):
            await _late().mark(self.instance, self._wanted.taints, self._progress)

    async def _wait_control_plane(self, step: Step) -> None:
        if self._is_control_plane:
            self._require_running()
            await _late().wait(self.instance)

    def _require_running(self) -> None:
        """The programs of a machine start together. Raises ClusterError."""
        if not supervisor.is_running(self.instance):
            raise ClusterError(
                "the programs of this machine do not run",
                fix="`sampan join phase kubelet-start` starts them, a member of etcd among them",
            )

    async def _keep(self, files: dict[str, str]) -> None:
        if self._kubelet:
            path = self.instance.state / kubeletflags.FILE
            with starting.writing(self.instance):
                self.instance.state.mkdir(parents=True, exist_ok=True, mode=0o700)
                path.write_text(documents.render([self._kubelet]))
            node = dataclasses.replace(self.instance.node, kubelet_config=str(path))
            self.instance, self._kubelet = starting.complete(dataclasses.replace(self.instance, node=node)), {}
        keep(self.instance, files)
        servers.write(self.instance, [(await self._cluster()).server])
        if self._alone:
            with starting.writing(self.instance):
                self.instance.save()


def _late() -> ModuleType:
    """A worker knows nothing of etcd."""
    return import_module("sampan.cluster.joining.controlplane")


def check_machine(instance: Instance, wanted: Wanted, progress: Progress) -> None:
    """By kubeadm's names of the checks; raises PreflightFailed for what is not to be ignored."""
    progress.step("Checking this machine")
    place = preflight.Place(kubernetes_dir=Path(instance.node.kubernetes_dir))
    problems = preflight.check(instance, control_plane=wanted.control_plane is not None, place=place)
    warnings, errors = preflight.judge(problems, preflight.check_ignored(wanted.ignored))
    for line in preflight.lines(warnings):
        progress.warn(line.strip())
    preflight.refuse(errors)


def refuse_second(named: Instance) -> None:
    """Raises ClusterError."""
    if named.exists():
        raise ClusterError(
            f"this machine is part of a cluster {named.name!r} already",
            fix=f"`{named.command('reset')}` takes it out of that, `{named.command('up')}` starts it, or give another "
            "--name",
        )


async def find(wanted: Wanted, progress: Progress) -> Connection:
    """The cluster, with what is to be shown it. Raises ClusterError."""
    if wanted.discovery_file:
        progress.step(f"Looking for the cluster of {wanted.discovery_file}")
        return _of_file(wanted)
    server = parse_endpoint(wanted.endpoint)
    token = discovery.parse_token(wanted.token)
    discovery.check_pins(wanted.pins, unsafe=wanted.unsafe)
    progress.step(f"Looking for the cluster at {server}")
    place = await asking.discover(server, token, wanted, progress.step)
    bootstrap = discovery.parse_token(wanted.bootstrap_token) if wanted.bootstrap_token else token
    return Connection(place.server, ca_pem=place.ca_pem, token=str(bootstrap))


def _of_file(wanted: Wanted) -> Connection:
    """Raises ClusterError."""
    if wanted.discovery_file.startswith(("http://", "https://")):
        raise ClusterError(
            "--discovery-file: a file of another machine is not fetched", fix="fetch it (curl), and name the copy"
        )
    try:
        written = Path(wanted.discovery_file).read_text()
        place = discovery.read_place(written, wanted.discovery_file)
        config = KubeConfig.load(wanted.discovery_file)
        has_user = bool(config.content.get("users")) and bool(config.content.get("current-context"))
        made = config.connection() if has_user else Connection(place.server)
    except OSError as error:
        raise ClusterError(f"cannot read --discovery-file: {fault(error)}", fix="name another file") from error
    except (KubeConfigError, ValueError) as error:
        raise ClusterError(f"--discovery-file: {error}", fix="take that of a running cluster") from error
    made = dataclasses.replace(made, server=place.server, ca_pem=place.ca_pem)
    if wanted.bootstrap_token:
        token = str(discovery.parse_token(wanted.bootstrap_token))
        return dataclasses.replace(made, token=token, client_certificate_pem=b"", client_key_pem=b"")
    if not made.token and not made.token_file and not made.client_certificate_pem:
        raise ClusterError(
            f"{wanted.discovery_file} says where the cluster is, and holds nothing that this machine could show it",
            fix="give a bootstrap token too: --tls-bootstrap-token",
        )
    return made


@dataclass(frozen=True, slots=True)
class Settled:
    """``kubelet``: the KubeletConfiguration that is to be written for it; {}: none."""

    instance: Instance
    kubelet: Obj
    warnings: tuple[str, ...]


async def settle(named: Instance, wanted: Wanted, given: Given, client: Client, server: str) -> Settled:
    """The instance that is to be; nothing is written. Raises ClusterError."""
    data = await asking.config_map(client, admission.CONFIG)
    cluster = admission.cluster_settings(named.name, data, server)
    own = _own_kubelet(given) or admission.kubelet_document(await asking.config_map(client, KUBELET_NAME), cluster)
    taints = () if wanted.control_plane is not None else wanted.taints or ()
    registered = kubeletflags.registration(wanted.kubelet_args, taints, own)
    given = dataclasses.replace(given, options={**registered.options, **given.options})
    node = admission.worker(given.node(named.node), wanted.node_name)
    place = node.kubernetes_dir or str(kubernetesdir.default_directory(named))
    node = dataclasses.replace(node, kubernetes_dir=place)
    if wanted.control_plane is not None:
        cluster = _late().settings(cluster, wanted.control_plane, admission.api_port(data))
        node = _late().node_settings(node, cluster, wanted.control_plane)
    instance = starting.complete(dataclasses.replace(named, cluster=cluster, node=node))
    admission.refuse_foreign(instance.node.name, await asking.whoami(client))
    taken_up = admission.refuse_double(instance.node.name, await asking.node(client, instance.node.name))
    kubelet: Obj = {}
    if registered.fields or (own and not node.kubelet_config):
        kubelet = kubeletflags.merged(own, registered.fields)
    idle = (f"kubeletExtraArgs: nothing acts on --{flag}" for flag in registered.idle)
    return Settled(instance, kubelet, tuple(filter(None, (taken_up, *idle))))


def _own_kubelet(given: Given) -> Obj:
    """The document of ``--kubelet-config``; {}: it was not given. Raises ClusterError."""
    path = given.options.get("--kubelet-config")
    if not path:
        return {}
    try:
        reading.load(Path(path))
        document: Obj = yaml.safe_load(Path(path).read_bytes())
    except (reading.BadKubeletConfig, OSError, yaml.YAMLError) as error:
        raise ClusterError(f"--kubelet-config: {path}: {error}", fix="mend the file; docs/node.md shows one") from error
    return document


async def credentials(
    instance: Instance, client: Client, known: Connection, wanted: Wanted, progress: Progress
) -> dict[str, str]:
    """``pki.NODE_FILES``: the node's own certificate by what we were given, the others as the node. Raises
    ClusterError."""
    node = instance.node
    progress.step(f"Having node {node.name!r} given certificates")
    leaves = {leaf.stem: leaf for leaf in pki.node_leaves(node.name, node.addresses)}
    files = {"ca.crt": known.ca_pem.decode()}

    async def fetch(asked: Client, leaf: Leaf) -> None:
        made, key = await asking.certificate(asked, leaf, wanted.bootstrap_seconds, progress.step)
        files[f"{leaf.stem}.crt"], files[f"{leaf.stem}.key"] = made.decode(), key.decode()

    await fetch(client, leaves.pop("kubelet-client"))
    as_node = Connection(
        known.server,
        ca_pem=known.ca_pem,
        client_certificate_pem=files["kubelet-client.crt"].encode(),
        client_key_pem=files["kubelet-client.key"].encode(),
    )
    async with asking.connected(as_node) as own:
        for leaf in leaves.values():
            await fetch(own, leaf)
    return files


def keep(instance: Instance, files: dict[str, str]) -> None:
    """Raises ClusterError."""
    try:
        pki.keep_given(instance, files)
    except OSError as error:
        raise ClusterError(
            f"cannot write {error.filename or instance.pki}: {error.strerror}",
            fix=f"make room on, or the right to, the file system of {instance.state_root}",
        ) from error
