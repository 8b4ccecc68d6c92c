"""The AdmissionConfiguration file (``--admission-control-config-file``, apiserver.config.k8s.io/v1).

It lists plugins, each with its configuration beside its name or in a file of its own. Every fault is told with the file
and the field, before the server starts. What the two webhook plugins say of who this server is counts for all webhooks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Any, Final

from sampan.api.faults import fault
from sampan.records import dataclass
from sampan.server.admission import names
from sampan.server.admission.fields import ConfigurationError, Fields
from sampan.server.admission.optional import events, placing, tolerating
from sampan.server.admission.podsecurity import settings as podsecurity
from sampan.server.admission.quota import settings as quota
from sampan.server.admission.webhooks import settings as webhooks
from sampan.server.webhooks.credentials import Credentials

_GROUP: Final = {"apiserver.config.k8s.io": ("v1",), "apiserver.k8s.io": ("v1alpha1",)}
#: longer than any configuration, and little to read
_MAX_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class AdmissionSettings:
    pod_security: podsecurity.PodSecuritySettings = field(default_factory=podsecurity.PodSecuritySettings)
    quota: quota.QuotaSettings = field(default_factory=quota.QuotaSettings)
    node_selectors: placing.NodeSelectors = field(default_factory=placing.NodeSelectors)
    tolerations: tolerating.TolerationRules = field(default_factory=tolerating.TolerationRules)
    event_rates: tuple[events.Limit, ...] = ()
    mutating_webhooks: webhooks.WebhookSettings = field(default_factory=webhooks.WebhookSettings)
    validating_webhooks: webhooks.WebhookSettings = field(default_factory=webhooks.WebhookSettings)

    @property
    def webhook_credentials(self) -> Credentials:
        both = self.validating_webhooks.credentials, self.mutating_webhooks.credentials
        return Credentials({name: user for each in both for name, user in each.users.items()})


#: plugin to the field of the settings that its configuration fills
_READERS: Final[Mapping[str, tuple[str, Callable[[Fields], Any]]]] = {
    "PodSecurity": ("pod_security", podsecurity.read),
    "ResourceQuota": ("quota", quota.read),
    "PodNodeSelector": ("node_selectors", placing.read),
    "PodTolerationRestriction": ("tolerations", tolerating.read),
    "EventRateLimit": ("event_rates", events.read),
    "MutatingAdmissionWebhook": ("mutating_webhooks", lambda fields: webhooks.read(fields, _read)),
    "ValidatingAdmissionWebhook": ("validating_webhooks", lambda fields: webhooks.read(fields, _read)),
}


def load(path: Path | None) -> AdmissionSettings:
    """The settings of a file; None: what holds without one. Raises ConfigurationError."""
    settings = AdmissionSettings()
    if path is None:
        return settings
    document = Fields(str(path), "", _read(path))
    document.expect_one_of_types(_GROUP, ("AdmissionConfiguration",))
    seen: set[str] = set()
    for plugin in document.each("plugins"):
        name = plugin.text("name")
        if name not in names.ALL:
            raise plugin.fault("name", f'"{name}" is no admission plugin of this server')
        if name in seen:
            raise plugin.fault("name", f'Duplicate value: "{name}"')
        seen.add(name)
        settings = _with(settings, plugin, name, path)
    document.finish()
    return settings


def _with(settings: AdmissionSettings, plugin: Fields, name: str, path: Path) -> AdmissionSettings:
    other, written = plugin.text("path"), plugin.take("configuration")
    plugin.finish()
    if other and written is not None:
        raise plugin.fault("configuration", "may not be given together with path")
    if not other and written is None:
        return settings
    if name not in _READERS:
        raise plugin.fault("configuration", f"the plugin {name} takes none")
    if other:
        beside = path.parent / other
        fields = Fields(str(beside), "", _read(beside))
    else:
        fields = Fields(str(path), f"{plugin.path}.configuration", written)
    key, read = _READERS[name]
    return replace(settings, **{key: read(fields)})


def _read(path: Path) -> Any:
    """The first YAML (or JSON) document of a file."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: {fault(error)}") from error
    if len(data) > _MAX_BYTES:
        raise ConfigurationError(f"{path}: is longer than {_MAX_BYTES} bytes")
    import yaml  # late: few servers have such a file

    try:
        return yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        raise ConfigurationError(f"{path}: is no YAML{where}") from error
