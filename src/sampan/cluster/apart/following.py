"""The certificate of a program's kubeconfig, taken up when the file is written anew: nobody has to start it again."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import NoReturn

from sampan.api.faults import fault
from sampan.client.http import HttpTransport
from sampan.client.kubeconfig import KubeConfig

#: Between two looks at the file.
LOOK_SECONDS = 5.0

log = logging.getLogger(__name__)


async def follow(path: Path, transport: HttpTransport) -> NoReturn:
    """Until cancelled. What cannot be used is told, and the file is looked at again."""
    known = await asyncio.to_thread(_stamp, path)
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        now = await asyncio.to_thread(_stamp, path)
        if now is None or now == known:
            continue
        try:
            made = (await asyncio.to_thread(KubeConfig.load, path)).connection()
            if made.client_certificate_pem != transport.connection.client_certificate_pem:
                transport.use_certificate(made.client_certificate_pem, made.client_key_pem)
                log.info("the certificate of %s is new, and in use", path)
            known = now
        except (OSError, ValueError) as error:
            log.warning("%s is not taken up: %s", path, fault(error))


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns
