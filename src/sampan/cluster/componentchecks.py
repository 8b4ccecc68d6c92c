"""Settings that a component will read, checked by that component: the store, the API server, the scheduler, the node.

Used by ``ClusterSettings`` and ``NodeSettings``, for a person should hear of a bad file or list from ``sampan up``, not
from the log of a program that ended. Each check reads what it is given as the component does, and raises ClusterError
with the option's name. The components are imported where they are needed: every process of a cluster reads its
settings, the smallest too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sampan.cluster.errors import ClusterError


def check_etcd_endpoints(endpoints: str) -> None:
    from sampan.store.etcd.settings import parse_endpoints

    try:
        parse_endpoints(endpoints)
    except ValueError as error:
        raise ClusterError(f"--store: {error}", fix="write it like etcd://192.0.2.1:2379,192.0.2.2:2379") from error


def parse_etcd_listen(text: str) -> int:
    """Gives the port of ``--etcd-endpoint``."""
    from sampan.store.etcd.settings import parse_listen

    try:
        _, port = parse_listen(text)
    except ValueError as error:
        raise ClusterError(f"--etcd-endpoint: {error}", fix="127.0.0.1:2379 is for this machine alone") from error
    return port


def check_loadbalancer_pool(pool: str) -> None:
    from sampan.api import loadbalancing

    for text in pool.split(","):
        try:
            loadbalancing.parse_range(text.strip())
        except ValueError as error:
            raise ClusterError(
                f"--loadbalancer-pool: {error}", fix="write ranges like 192.0.2.10-192.0.2.20,2001:db8::100/124"
            ) from error


def check_admission_plugins(on: tuple[str, ...], off: tuple[str, ...]) -> None:
    from sampan.server.admission import names

    try:
        names.check(on, off)
    except ValueError as error:
        text = str(error)
        if text.endswith("overlapped"):  # a fact of two flags, not of one
            raise ClusterError(text, fix="name each plugin in one of them") from error
        raise ClusterError(f"--{text}", fix=f"choose of {', '.join(sorted(names.ALL))}") from error


def check_admission_config(path: str) -> None:
    from sampan.server.admission import configuration

    try:
        configuration.load(Path(path))
    except ValueError as error:
        raise ClusterError(
            f"--admission-control-config-file: {error}", fix="mend the file; docs/admission.md shows one"
        ) from error


def check_scheduler(path: str, plugin_files: Sequence[Path]) -> None:
    """``path`` "": there is no configuration, and the plug-ins are added to the default one."""
    from sampan.scheduler import loading
    from sampan.scheduler.config import SchedulerConfig
    from sampan.scheduler.configuration import reading
    from sampan.scheduler.configuration.fields import BadConfiguration

    try:
        config = reading.load(Path(path)).scheduler if path else SchedulerConfig()
    except BadConfiguration as error:
        raise ClusterError(
            f"--scheduler-config: {path}: {error}", fix="mend the file; docs/scheduler.md shows one"
        ) from error
    try:
        loading.with_files(loading.with_entry_points(config), loading.load_files(plugin_files))
    except loading.BadPlugin as error:
        raise ClusterError(
            f"--scheduler-plugins: {error}", fix="mend the plug-in; docs/scheduler.md shows one"
        ) from error


def check_enablement(runtime_config: str, feature_gates: str) -> None:
    from sampan.api import enablement
    from sampan.api.features import Features
    from sampan.api.registry import registry

    try:
        features = Features.parse(feature_gates)
    except ValueError as error:
        raise ClusterError(
            f"--feature-gates: {error}", fix="write it like A=true,B=false, with names of Kubernetes v1.37"
        ) from error
    try:
        enablement.served(registry(), runtime_config, features)
    except ValueError as error:
        raise ClusterError(
            f"--runtime-config: {error}", fix="write it like api/beta=false,batch/v1/jobs=false"
        ) from error


def check_unsafe_sysctls(patterns: tuple[str, ...]) -> None:
    from sampan.node.sysctls import verify_sysctl_patterns

    try:
        verify_sysctl_patterns(patterns)
    except ValueError as error:
        raise ClusterError(
            f"--allowed-unsafe-sysctls: {error}", fix="name such as kernel.msg*,net.core.somaxconn"
        ) from error


def check_node_labels(text: str) -> None:
    from sampan.api.nodes import labels

    try:
        labels.parse(text)
    except ValueError as error:
        raise ClusterError(f"--node-labels: {error}", fix="write it like disk=ssd,rack=7") from error


def check_ipvs_scheduler(scheduler: str) -> None:
    from sampan.network.proxy.ipvs.plan import SCHEDULERS

    if scheduler not in SCHEDULERS:
        raise ClusterError(f"--ipvs-scheduler {scheduler} is not known", fix=f"choose of {', '.join(SCHEDULERS)}")


def check_credential_providers(config: str, bin_dir: str) -> None:
    from sampan.node.images import provider_config

    try:
        provider_config.load(Path(config), Path(bin_dir))
    except ValueError as error:
        raise ClusterError(
            f"--image-credential-provider-config: {error}", fix="mend the file; docs/images.md shows one"
        ) from error


def check_kubelet_config(path: str) -> None:
    from sampan.node.kubeletconfig import reading
    from sampan.node.kubeletconfig.settings import check

    try:
        check(reading.load(Path(path)))
    except reading.BadKubeletConfig as error:
        raise ClusterError(f"--kubelet-config: {path}: {error}", fix="mend the file; docs/node.md shows one") from error
