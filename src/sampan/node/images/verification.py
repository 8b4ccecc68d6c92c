"""For which images a pod must show credentials although they are here (KEP-2535): the kubelet's policies. Pure."""

from __future__ import annotations

from sampan.records import dataclass

POLICIES = ("NeverVerify", "NeverVerifyPreloadedImages", "NeverVerifyAllowlistedImages", "AlwaysVerify")
DEFAULT_POLICY = "NeverVerifyPreloadedImages"


@dataclass(frozen=True, slots=True)
class Verification:
    """``allowlist``: names of images without tag and digest, or ``r.example/team/*`` for all below."""

    policy: str = DEFAULT_POLICY
    allowlist: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises ValueError."""
        if self.policy not in POLICIES:
            raise ValueError(f'"{self.policy}" is none of {", ".join(POLICIES)}')
        if self.allowlist and self.policy != "NeverVerifyAllowlistedImages":
            raise ValueError("an allowlist goes with the policy NeverVerifyAllowlistedImages alone")
        for pattern in self.allowlist:
            name = pattern.removesuffix("/*")
            if not name or "*" in name or any(sign in name.rpartition("/")[2] for sign in ":@"):
                raise ValueError(f'"{pattern}" is no name of an image without tag, nor one that ends in /*')

    def required(self, repository: str, *, preloaded: bool) -> bool:
        """``preloaded``: it was put on the node by other means than a pull for a pod."""
        match self.policy:
            case "NeverVerify":
                return False
            case "NeverVerifyPreloadedImages":
                return not preloaded
            case "NeverVerifyAllowlistedImages":
                return not preloaded or not any(_covers(pattern, repository) for pattern in self.allowlist)
            case _:
                return True


def _covers(pattern: str, repository: str) -> bool:
    if pattern.endswith("/*"):
        return repository.startswith(pattern.removesuffix("*"))
    return pattern == repository
