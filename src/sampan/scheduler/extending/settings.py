"""How an extender is reached and what it is asked. Data."""

from __future__ import annotations

from typing import Final

from sampan.records import dataclass

DEFAULT_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Data is PEM in base64, as in a kubeconfig."""

    insecure: bool = False
    server_name: str = ""
    cert_file: str = ""
    key_file: str = ""
    ca_file: str = ""
    cert_data: str = ""
    key_data: str = ""
    ca_data: str = ""


@dataclass(frozen=True, slots=True)
class ExtenderConfig:
    """A verb that is "" is not asked. ``managed_resources``: only pods that ask for one of these concern it; none:
    all pods do. ``ignorable``: when it does not answer, the pod is scheduled without it."""

    url: str
    filter_verb: str = ""
    preempt_verb: str = ""
    prioritize_verb: str = ""
    bind_verb: str = ""
    weight: int = 0
    https: bool = False
    tls: TlsConfig | None = None
    timeout_seconds: float = DEFAULT_SECONDS
    node_cache_capable: bool = False
    managed_resources: frozenset[str] = frozenset()
    #: of those: the scheduler does not look at their amounts
    ignored_resources: frozenset[str] = frozenset()
    ignorable: bool = False


def is_unchecked(config: ExtenderConfig) -> bool:
    """Its certificate is not checked though nobody said so: upstream checks none where HTTPS is on and no CA named."""
    tls = config.tls or TlsConfig()
    return config.https and not tls.insecure and not (tls.ca_file or tls.ca_data)
