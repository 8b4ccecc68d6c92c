"""What was found out about pods of one template: the next of them is not worked out again.

Pods come by the hundred from one template, and what their spec means (their class of service, that it is sound, that
there is nothing to warn of) is then the same. It is kept by the JSON of spec and annotations, all that those questions
look at; ``pod`` asks here first. What also goes by the pod's own name (claims of ephemeral volumes) is never kept, nor
is anything but that a spec is sound: a fault is worked out, with its words, whenever it is there.

The volume of the account's token has a name of its own in every pod (``admission/service_account``): it is kept under
one name that stands for all of these, wherever it occurs, so that a pod which has the name twice is another one.

Callable from any thread: what two find out at once is the same.
"""

from __future__ import annotations

import re
from typing import Final

import orjson

from sampan.api.pods.qos import QosClass
from sampan.api.types import Obj

MOST: Final = 256
LONGEST_BYTES: Final = 8 * 1024
_TOKEN_VOLUME: Final = re.compile(rb'"name":"(kube-api-access-[a-z0-9]{5})"')
#: as long as what it stands for, and no name that anything may have
_ANY_TOKEN_VOLUME: Final = b"kube-api-access-*****"


class Known:
    """Of one spec with its annotations; whoever finds out more notes it here."""

    __slots__ = ("qos", "quiet", "sound")

    def __init__(self) -> None:
        self.qos: QosClass | None = None
        #: ``validation.pod.new_pod`` found no fault
        self.sound = False
        #: ``pod_warnings`` had nothing to say but perhaps of the pod's own name
        self.quiet = False


_known: dict[bytes, Known] = {}


def of(pod: Obj) -> Known | None:
    """None: it is not kept."""
    annotations = (pod.get("metadata") or {}).get("annotations")
    spec = pod.get("spec")
    try:
        key = orjson.dumps([spec, annotations] if annotations else spec)
    except orjson.JSONEncodeError:  # an in-process client's own: nothing that could be stored
        return None
    if len(key) > LONGEST_BYTES or b'"ephemeral"' in key or _ANY_TOKEN_VOLUME in key:
        return None
    volume = _TOKEN_VOLUME.search(key)
    if volume is not None:
        key = key.replace(volume[1], _ANY_TOKEN_VOLUME)
    found = _known.get(key)
    if found is None:
        if len(_known) >= MOST:
            _known.clear()
        # orjson's bytes keep the buffer that they were written to
        found = _known[bytes(memoryview(key))] = Known()
    return found


def forget() -> None:
    _known.clear()
