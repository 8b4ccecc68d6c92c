"""``sampan init``: phase by phase from a machine to a control plane that others join. Thin: ``phases`` says which, and
each phase calls what knows how.

What was asked for is kept beside the instance's settings, so that a phase that is run by itself later knows it too.
The programs of a machine are one instance's, so the phases that in kubeadm write manifests decide the roles of this
machine here, and ``kubelet-start`` starts all of them.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from sampan import KUBERNETES_VERSION
from sampan.api.clock import Clock, Random
from sampan.api.errors import NotFound
from sampan.api.resources import CONFIG_MAPS, SECRETS
from sampan.client.client import Client
from sampan.cluster import addons, choosing, kubeconfigs, kubernetesdir, leftovers, locks, machine, pki, supervisor
from sampan.cluster import instance as instances
from sampan.cluster import up as starting
from sampan.cluster.choosing import Given
from sampan.cluster.errors import ClusterError
from sampan.cluster.initializing import (
    certificates,
    documents,
    kubeletflags,
    marking,
    objects,
    phases,
    preflight,
    reaching,
    texts,
    tokens,
)
from sampan.cluster.initializing import configuration as configurations
from sampan.cluster.initializing.configuration import Configuration
from sampan.cluster.initializing.phases import Step
from sampan.cluster.initializing.tokens import Token
from sampan.cluster.instance import Instance
from sampan.cluster.up import Progress
from sampan.records import dataclass

_KEPT = "init.yaml"


@dataclass(frozen=True, slots=True)
class How:
    """What is asked for beside the configuration."""

    kubernetes_dir: str = ""
    upload_certs: bool = False
    skip_token_print: bool = False
    skip_key_print: bool = False
    dry_run: bool = False
    timeout_seconds: float = 240.0
    #: the name that was typed: ``sampan`` or ``kubeadm``
    program: str = "sampan"
    #: further options of ``sampan up``
    options: tuple[tuple[str, Any], ...] = ()


class Initializing:
    """One run. ``instance`` is known by its name until settings were chosen or read."""

    def __init__(
        self,
        named: Instance,
        wanted: Configuration,
        how: How,
        clock: Clock,
        random: Random,
        progress: Progress,
        say: Callable[[str], None] = print,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.instance, self.wanted, self.how = named, wanted, how
        self._clock, self._random, self._progress, self._say, self._entropy = clock, random, progress, say, entropy
        self._token, self._certificate_key = "", ""

    async def run(self, steps: Sequence[Step], *, alone: bool = False) -> Instance:
        """``alone``: one phase by itself, on whatever the ones before it left. Raises ClusterError."""
        machine.complete_path()
        for text in configurations.words(self.wanted):
            self._progress.warn(text)
        self._tokens()
        if self.wanted.certificate_key:
            certificates.parse_key(self.wanted.certificate_key)
        if not alone:
            self._say(f"[init] Using Kubernetes version: v{KUBERNETES_VERSION}")
        async with locks.changing(self.instance, self._progress), AsyncExitStack() as until_kept:
            # Two new clusters at once must not choose the same: until it is written what this one has.
            await until_kept.enter_async_context(locks.choosing(self.instance, self._progress))
            self._settle()
            if self.how.dry_run:
                self._show(steps)
                return self.instance
            for step in steps:
                if step.phase != "preflight":  # which says so too, with all else that is missing
                    machine.require_root("sampan init")
                if self.instance.exists():
                    await until_kept.aclose()
                await getattr(self, f"_{step.phase.replace('-', '_')}")(step)
        return self.instance

    # -- what is to be ---------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """The instance as it is, or as it is to be; nothing is written. Raises ClusterError."""
        if self.instance.exists():
            named = self.instance
            kept = instances.load(named.name, state_root=named.state_root, run_root=named.run_root)
            self.instance = starting.complete(kept)
            return
        there = choosing.machine_now(self.instance)
        options = configurations.options(self.wanted) | dict(self.how.options)
        if all(other.cluster.api_port != configurations.API_PORT for other in there.others):
            options.setdefault("--api-port", configurations.API_PORT)
        given = Given(options, families=configurations.families(self.wanted))
        cluster = configurations.settings(self.wanted, self.instance.cluster)
        place = self.how.kubernetes_dir or str(kubernetesdir.default_directory(self.instance))
        node = dataclasses.replace(self.instance.node, kubernetes_dir=place, cert_dir=self.wanted.cert_dir)
        if given.cluster(cluster).manages_etcd:
            node = dataclasses.replace(node, roles=(*node.roles, "etcd"))
        named = dataclasses.replace(self.instance, cluster=cluster, node=node)
        try:
            self.instance = starting.complete(choosing.choose(named, given, there))
        except ClusterError as error:
            message, fix = configurations.in_flags(error.message), configurations.in_flags(error.fix)
            raise ClusterError(message, fix=fix) from error

    def _keep(self) -> None:
        """Settings and what was asked for, on disk: from here on there is an instance. Raises ClusterError."""
        if self.instance.exists():
            return
        with starting.writing(self.instance):
            self.instance.state.mkdir(parents=True, exist_ok=True, mode=0o700)
            if document := configurations.kubelet_document(self.wanted):
                file = self.instance.state / kubeletflags.FILE
                file.write_text(documents.render([document]))
                node = dataclasses.replace(self.instance.node, kubelet_config=str(file))
                self.instance = starting.complete(dataclasses.replace(self.instance, node=node))
            kept = self.instance.state / _KEPT
            kept.touch(mode=0o600)
            kept.write_text(
                documents.render([documents.init_document(self.wanted), documents.cluster_document(self._complete())])
            )
            self.instance.save()

    def _complete(self) -> Configuration:
        return reaching.completed(self.instance, self.wanted)

    def _show(self, steps: Sequence[Step]) -> None:
        """``--dry-run``."""
        instance, complete = self.instance, self._complete()
        self._say(f"[dryrun] cluster {instance.name!r} would be made in {instance.state}, with these phases:")
        for step in steps:
            parts = f" ({', '.join(step.parts)})" if step.parts else ""
            self._say(f"[dryrun]   {step.phase}{parts}")
        self._say(f"[dryrun] certificates in {kubernetesdir.pki_directory(instance)}, kubeconfigs:")
        for config in kubernetesdir.configs(instance):
            self._say(f"[dryrun]   {Path(instance.node.kubernetes_dir) / config.file}")
        self._say("[dryrun] ConfigMap kube-system/kubeadm-config:")
        self._say(documents.render([documents.cluster_document(complete)]).rstrip())

    # -- phases ----------------------------------------------------------------------------------------------------

    async def _preflight(self, step: Step) -> None:
        self._say("[preflight] Running pre-flight checks")
        problems = await asyncio.to_thread(
            preflight.check,
            self.instance,
            control_plane=True,
            place=preflight.Place(kubernetes_dir=Path(self.instance.node.kubernetes_dir)),
        )
        warnings, errors = preflight.judge(problems, self.wanted.ignored_checks)
        for line in preflight.lines(warnings):
            self._say(line)
        preflight.refuse(errors)

    async def _certs(self, step: Step) -> None:
        self._keep()
        instance = self.instance
        self._say(f'[certs] Using certificateDir folder "{kubernetesdir.pki_directory(instance)}"')
        with starting.writing(instance):
            kubernetesdir.link_pki(instance)
            instance.pki.mkdir(parents=True, exist_ok=True, mode=0o700)
            stems = (pki.CLUSTER, pki.FRONT_PROXY, pki.ETCD)
            before = {stem for stem in stems if (instance.pki / f"{stem}.crt").exists()}
            authorities = pki.ensure_authorities(instance, self._clock)
            for stem in authorities:
                if step.has(phases.certificate_name(stem)):
                    self._tell_certificate(phases.certificate_name(stem), stem in before, authority=True)
            for leaf in pki.leaves(instance):
                name = phases.certificate_name(leaf.stem)
                if not _is_asked_for(step, name):
                    continue
                made = pki.ensure_leaf(instance, leaf, authorities[leaf.authority], self._clock)
                if name in phases.CERTIFICATES:
                    self._tell_certificate(name, not made)
                    if leaf.hosts and made:
                        self._say(f"[certs] {name} serving cert is signed for {', '.join(leaf.hosts)}")
            if step.has("sa"):
                made = pki.ensure_account_key(instance)
                words = "Generating" if made else "Using the existing"
                self._say(f'[certs] {words} "sa" key and public key')

    def _tell_certificate(self, stem: str, there: bool, *, authority: bool = False) -> None:
        if there:
            what = "certificate authority" if authority else "certificate and key on disk"
            self._say(f"[certs] Using existing {stem} {what}")
        else:
            self._say(f'[certs] Generating "{stem}" certificate and key')

    async def _kubeconfig(self, step: Step) -> None:
        self._keep()
        instance = self.instance
        self._say(f'[kubeconfig] Using kubeconfig folder "{instance.node.kubernetes_dir}"')
        with starting.writing(instance):
            for config in kubernetesdir.configs(instance):
                if step.has(config.file.removesuffix(".conf")):
                    try:
                        kubernetesdir.write_kubeconfigs(instance, config.file)
                    except FileNotFoundError as error:
                        raise ClusterError(
                            f"cannot make {config.file}: {error.filename} is not there",
                            fix="`sampan init phase certs all` makes the certificates",
                        ) from None
                    self._say(f'[kubeconfig] Writing "{config.file}" kubeconfig file')
            if not step.parts:
                kubeconfigs.write_all(instance)

    async def _etcd(self, step: Step) -> None:
        self._keep()
        self._say(f"[etcd] The store of this control plane: {_store_words(self.instance)}")

    async def _control_plane(self, step: Step) -> None:
        """All three are one process of the instance, which has this role from the beginning."""
        self._keep()
        for part in phases.CONTROL_PLANE:
            if step.has(part):
                self._say(f'[control-plane] Program of "kube-{part}" is part of cluster {self.instance.name!r}')

    async def _kubelet_start(self, step: Step) -> None:
        self._keep()
        if supervisor.is_running(self.instance):
            self._say("[kubelet-start] The programs of this machine are running")
            return
        self._say("[kubelet-start] Starting the programs of this machine")
        await leftovers.end_supervisors(self.instance)
        starting.prepare(self.instance, self._clock, self._progress)
        await starting.start(self.instance, self._progress, self.how.timeout_seconds)

    async def _wait_control_plane(self, step: Step) -> None:
        self._say(f"[control-plane-check] Waiting for {self.instance.local_endpoint} to be healthy")
        async with self._client() as client:
            await client.raw("GET", "/readyz")
        self._say("[control-plane-check] The API server and the node are ready")

    async def _upload_config(self, step: Step) -> None:
        told = reaching.of_instance(self.instance, self.wanted)
        names = set()
        if step.has("kubeadm"):
            names |= {objects.KUBEADM_NAME, objects.SETTINGS_NAME}
            self._say(
                '[upload-config] Storing the configuration used in ConfigMap "kubeadm-config" in the "kube-system" '
                "Namespace"
            )
        if step.has("kubelet"):
            names.add(objects.KUBELET_NAME)
            self._say(
                '[kubelet] Creating a ConfigMap "kubelet-config" in namespace kube-system with the configuration '
                "for the kubelets in the cluster"
            )
        wanted = [each for each in told if each[0] != CONFIG_MAPS or each[1]["metadata"]["name"] in names]
        async with self._client() as client:
            await objects.apply(client, wanted)

    async def _upload_certs(self, step: Step) -> None:
        if not self.how.upload_certs:
            self._say("[upload-certs] Skipping phase. Please see --upload-certs")
            return
        key = self.wanted.certificate_key or certificates.new_key(self._entropy)
        files = certificates.read_shared(self.instance.pki)
        owner = tokens.make(
            tokens.generate(self._random),
            self._clock.now(),
            ttl_seconds=certificates.LIFE_SECONDS,
            usages=(),
            groups=(),
            description=certificates.TOKEN_DESCRIPTION,
        )
        async with self._client() as client:
            await tokens.create(client, owner)
            token_secret = await client.get(SECRETS, owner.secret_name, certificates.SECRET_NAMESPACE)
            sealed = certificates.seal(files, certificates.parse_key(key), self._entropy, token_secret)
            try:
                await client.delete(SECRETS, certificates.SECRET_NAME, certificates.SECRET_NAMESPACE)
            except NotFound:
                pass
            await client.create(SECRETS, sealed)
        self._certificate_key = key
        self._say(
            '[upload-certs] Storing the certificates in Secret "kubeadm-certs" in the "kube-system" Namespace\n'
            f"[upload-certs] Using certificate key:\n{texts.HIDDEN_KEY if self.how.skip_key_print else key}"
        )

    async def _mark_control_plane(self, step: Step) -> None:
        name, taints = self.instance.node.name, self.wanted.taints
        shown = marking.DEFAULT_TAINTS if taints is None else taints
        self._say(
            f"[mark-control-plane] Marking the node {name} as control-plane by adding the labels: "
            f"[{' '.join(marking.LABELS)}]\n[mark-control-plane] Marking the node {name} as control-plane by adding "
            f"the taints [{' '.join(_taint(each) for each in shown)}]"
        )
        async with self._client() as client:
            try:
                await marking.mark(client, name, taints)
            except NotFound:
                raise ClusterError(
                    f"there is no node {name!r} in the cluster",
                    fix="`kubectl get nodes` shows those there are",
                ) from None

    async def _bootstrap_token(self, step: Step) -> None:
        made = self._tokens()
        self._token = made[0].text
        shown = texts.HIDDEN_TOKEN if self.how.skip_token_print else self._token
        self._say(f"[bootstrap-token] Using token: {shown}")
        self._say("[bootstrap-token] Configuring bootstrap tokens, cluster-info ConfigMap, RBAC Roles")
        ca_pem = (self.instance.pki / "ca.crt").read_bytes()
        async with self._client() as client:
            for token in made:
                await tokens.replace(client, token)
            server = f"https://{self.instance.advertised}"
            await objects.apply(client, [*objects.rights(), objects.cluster_info(ca_pem, server)])

    def _tokens(self) -> list[Token]:
        """Those that machines join with. Raises ClusterError for what cannot be one."""
        now = self._clock.now()
        return [
            tokens.make(
                wish.token or tokens.generate(self._random),
                now,
                ttl_seconds=wish.ttl_seconds,
                usages=wish.usages,
                groups=wish.groups,
                description=wish.description,
            )
            for wish in self.wanted.tokens
        ]

    async def _kubelet_finalize(self, step: Step) -> None:
        self._say("[kubelet-finalize] Each node renews its certificates by itself: nothing is left to do")

    async def _addon(self, step: Step) -> None:
        async with self._client() as client:
            if step.has("coredns"):
                await addons.ensure(client, self.instance.cluster)
                self._say("[addons] Applied essential addon: CoreDNS (each node answers for Service kube-dns)")
            if step.has("kube-proxy"):
                document = {
                    "apiVersion": documents.PROXY[0],
                    "kind": documents.PROXY[1],
                    "clusterCIDR": self.instance.cluster.pod_cidr,
                    "mode": self.instance.node.proxy_mode,
                    **self.wanted.proxy,
                }
                await objects.apply(client, [objects.proxy_configuration(document)])
                self._say("[addons] Applied essential addon: kube-proxy (part of each node)")

    async def _show_join_command(self, step: Step) -> None:
        instance = self.instance
        if not self._token:
            async with self._client() as client:
                listed, _ = await tokens.listed(client)
            now = self._clock.now()
            usable = [each for each in listed if each.groups and (each.expires is None or each.expires > now)]
            if not usable:
                raise ClusterError(
                    "there is no token that machines could join with",
                    fix="`sampan token create --print-join-command` makes one",
                )
            self._token = usable[0].text
        ca_hash = certificates.public_key_hash((instance.pki / "ca.crt").read_bytes())
        token = texts.HIDDEN_TOKEN if self.how.skip_token_print else self._token
        key = texts.HIDDEN_KEY if self.how.skip_key_print and self._certificate_key else self._certificate_key
        worker = texts.join_command(self.how.program, instance.advertised, token, ca_hash)
        control = texts.join_command(self.how.program, instance.advertised, token, ca_hash, key) if key else ""
        self._say(
            texts.done(
                Path(instance.node.kubernetes_dir or instance.state) / kubernetesdir.ADMIN,
                worker,
                control,
                several=bool(instance.cluster.control_plane_endpoint),
                own_network=not instance.node.cni_conf_dir,
            )
        )

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[Client]:
        """Of this machine's own API server, as its administrator. Raises ClusterError."""
        reached = reaching.Reached(reaching.administrator(self.instance), self.instance)
        async with reaching.connected(reached) as client:
            yield client


def kept_configuration(instance: Instance) -> Configuration | None:
    """What ``init`` was asked for when it made this instance. Raises ClusterError."""
    path = instance.state / _KEPT
    return documents.configuration(documents.load(path)) if path.exists() else None


def _is_asked_for(step: Step, name: str) -> bool:
    """Those that kubeadm does not know (a node's) come with all of them."""
    return step.has(name) if name in phases.CERTIFICATES else not step.parts


def _store_words(instance: Instance) -> str:
    cluster = instance.cluster
    if cluster.store == "sqlite":
        return f"a file of this machine ({instance.store}): no other control plane can join"
    if cluster.etcd_endpoints:
        return f"etcd at {cluster.etcd_endpoints}, which others run"
    return f"a member of etcd on this machine, port {instance.node.etcd_client_port}"


def _taint(taint: Any) -> str:
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint.get('key')}{value}:{taint.get('effect')}"
