"""What a server that starts does not import: each of these costs memory for as long as it runs, and time before it is
there. Whoever needs one imports it when it is needed."""

from __future__ import annotations

import subprocess
import sys

#: for connections to nodes, webhooks and API servers behind this one; for the scheduler; for the node
LATER = ("aiohttp", "grpc", "lightkube", "numpy", "prometheus_client", "google.protobuf")
#: for custom resources, webhooks, policies, a configuration file, OpenAPI of what is not built in
LATER_OF_OURS = (
    "re2",
    "yaml",
    "sampan.cel",
    "sampan.api.customresources.definition",
    "sampan.api.customresources.version",
    "sampan.api.expressions.admission",
    "sampan.server.admission.evaluating",
    "sampan.server.admission.policies.validating",
    "sampan.server.admission.webhooks.asking",
    "sampan.server.openapi.custom",
)


def test_a_server_that_starts_imports_no_more_than_it_needs() -> None:
    script = (
        "import sys; import sampan.cluster.control_plane; from sampan.api.registry import registry; registry(); "
        f"print(*sorted(name for name in {LATER + LATER_OF_OURS!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_controllers_and_the_scheduler_start_without_what_evaluates_expressions() -> None:
    """Policies and devices need it; few clusters have either."""
    script = (
        "import sys; import sampan.controllers.manager, sampan.scheduler.scheduler; "
        "print(*sorted(name for name in sys.modules if name == 're2' or name.startswith('sampan.cel')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_node_that_follows_its_pods_knows_no_kinds_and_reads_no_certificates() -> None:
    """The server applies selectors, and OpenSSL reads certificates: neither is for the node process to have loaded."""
    script = (
        "import sys; import sampan.cluster.node_process; from sampan.client.informer import Informer; "
        "from sampan.api.resources import PODS; from types import SimpleNamespace; "
        "far = SimpleNamespace(cache_view=lambda resource: None); "
        "Informer(far, PODS, field_selector='spec.nodeName=n'); from sampan.node.api.auth import certificate_user; "
        "certificate_user((('commonName', 'admin'),)); "
        "print(*(name for name in ('sampan.api.registry', 'sampan.api.groups', 'cryptography') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
