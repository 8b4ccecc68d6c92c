"""clusterTrustBundle: the certificates of authorities, of one bundle by name or of a signer's bundles by labels.

Part of projected volumes. They are written anew, each once: comments and headers are gone, and in an order that
depends on nothing but what they are.
Upstream: pkg/kubelet/clustertrustbundle, which shuffles them at each start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from sampan.api import labels
from sampan.api.errors import ApiError, NotFound
from sampan.api.reading import part, text
from sampan.api.types import Obj
from sampan.api.validation import pem
from sampan.node.volumes.errors import SetupError
from sampan.node.volumes.plugin import Context

_LONGEST_SELECTOR = 100 * 1024
#: of all bundles that one source selects; one has at most 1 MiB
_LONGEST_TEXT = 16 * 1024 * 1024


async def read(source: Obj, context: Context) -> bytes:
    """What the file holds; nothing where nothing is there and that is allowed. Raises SetupError."""
    optional = bool(source.get("optional"))
    try:
        if name := source.get("name"):
            bundles = await _named(name, context, optional)
        else:
            bundles = await _selected(source.get("signerName") or "", source.get("labelSelector"), context, optional)
    except ApiError as error:
        raise SetupError(error.message) from error
    texts = [text(part(bundle, "spec"), "trustBundle") for bundle in bundles]
    if sum(map(len, texts)) > _LONGEST_TEXT:
        raise SetupError(f"the selected ClusterTrustBundles are larger than {_LONGEST_TEXT} bytes")
    return await asyncio.to_thread(anchors, texts) if texts else b""


async def _named(name: str, context: Context, optional: bool) -> Sequence[Obj]:
    try:
        return (await context.source.get_trust_bundle(name),)
    except NotFound as error:
        if optional:
            return ()
        missing = f'clustertrustbundle.certificates.k8s.io "{name}" not found'
        raise SetupError(f"while getting ClusterTrustBundle: {missing}") from error


async def _selected(signer: str, wanted: Obj | None, context: Context, optional: bool) -> Sequence[Obj]:
    try:
        selector = labels.from_label_selector(wanted)
    except labels.SelectorError as error:
        raise SetupError(f"while parsing label selector: {error}") from error
    if (length := len(str(selector))) > _LONGEST_SELECTOR:
        raise SetupError(f"label selector length ({length}) is larger than {_LONGEST_SELECTOR}")
    present = await context.source.list_trust_bundles(signer)
    found = [bundle for bundle in present if selector.matches(bundle["metadata"].get("labels"))]
    if not found and not optional:
        raise SetupError("combination of signerName and labelSelector matched zero ClusterTrustBundles")
    return found


def anchors(texts: Iterable[str]) -> bytes:
    """Every certificate of the bundles once, as PEM. Takes some time for large ones. Pure."""
    found = {block.der for each in texts for block in pem.blocks(each.encode())}
    return b"".join(map(pem.certificate_block, sorted(found)))
