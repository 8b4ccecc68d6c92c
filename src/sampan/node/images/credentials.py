"""The pull secrets of a pod, read from the API. What they mean is ``keyring``'s matter."""

from __future__ import annotations

from sampan.api.errors import ApiError
from sampan.api.types import Obj
from sampan.node.env.sources import ObjectSource
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class PullSecrets:
    """``missing``: names of those that are not there or not readable; a pull may work without them."""

    found: tuple[Obj, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def complaint(self) -> str:
        """The kubelet's event about those that are missing; "" when none is."""
        if not self.missing:
            return ""
        names = ", ".join(self.missing)
        return f"Unable to retrieve some image pull secrets ({names}); attempting to pull the image may not succeed."


NO_SECRETS = PullSecrets()


async def pull_secrets(pod: Obj, source: ObjectSource) -> PullSecrets:
    found, missing = [], []
    for reference in pod["spec"].get("imagePullSecrets") or ():
        name = reference.get("name")
        if not name:
            continue  # upstream's spelling of "none"
        try:
            found.append(await source.get_secret(pod["metadata"]["namespace"], name))
        except ApiError:
            missing.append(name)
    return PullSecrets(tuple(found), tuple(missing))
