"""Certificates of a node that runs on: asked for anew before they end, and taken up without a restart.

A component of the node process. It looks at the files; whoever writes them (a person, the renewal where the CA is, or
the rotation below) is followed: clients of the API go on with the new certificate, and the node's API shows it from the
next connection on. On a machine that has no CA, a program of its own (``joining.rotation``) asks the cluster for new
ones in time, as the kubelet does: at a moment between seven and nine tenths of their life, so that nodes that joined
together do not ask together. The program ends again: what reads and makes certificates would stay in this process's
memory for once in nine months.

``validity`` and ``due`` are pure.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

from sampan.api.clock import Clock, Random
from sampan.api.faults import fault
from sampan.cluster.instance import Instance
from sampan.records import dataclass

#: Between two looks at the files.
LOOK_SECONDS = 5.0
#: How often at least in the life of a certificate.
_LOOKS = 24
#: A program that asks and gets no answer is ended; then one waits before the next.
ASK_SECONDS, PAUSE_SECONDS = 360.0, 60.0
#: Of a certificate's life, when it is asked for anew: from this, and how much later at most.
_EARLIEST, _SPREAD = 0.7, 0.2
#: as ``pki.RENEW_NOW``, which this process does not import: it would bring the library along
RENEW_NOW = "renew-now"
#: what is to be written, while it is
_PENDING = "pending.json"

log = logging.getLogger(__name__)

#: takes certificate and key in PEM
Use = Callable[[bytes, bytes], None]


@dataclass(frozen=True, slots=True)
class Validity:
    begins: datetime
    ends: datetime


def validity(pem: bytes) -> Validity:
    """Of the first certificate in a PEM. Raises ValueError. RFC 5280, 4.1: read by hand, since the library that could
    takes 8 MiB of every node's memory."""
    _, found, rest = pem.partition(b"-----BEGIN CERTIFICATE-----")
    body, ended, _ = rest.partition(b"-----END CERTIFICATE-----")
    if not found or not ended:
        raise ValueError("it is no certificate")
    try:
        der = base64.b64decode(b"".join(body.split()), validate=True)
        fields = _children(_children(der)[0][1])[0][1]
        # version (tagged, may be missing), serial, algorithm, issuer, validity
        parts = _children(fields)
        begins, ends = _children(parts[4 if parts[0][0] == 0xA0 else 3][1])[:2]
        return Validity(_time(*begins), _time(*ends))
    except (binascii.Error, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"it is no certificate: {error}") from error


def _children(der: bytes) -> list[tuple[int, bytes]]:
    """Tags and contents of what stands one after another in a DER value."""
    found, at = [], 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length & 0x80:
            octets = length & 0x7F
            length, at = int.from_bytes(der[at : at + octets], "big"), at + octets
        if at + length > len(der):
            raise IndexError("it is cut short")
        found.append((tag, der[at : at + length]))
        at += length
    return found


def _time(tag: int, content: bytes) -> datetime:
    """UTCTime has two digits of the year, GeneralizedTime four."""
    text = content.decode("ascii")
    if tag == 0x17:
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    if len(text) != len("20060102150405Z") or not text.endswith("Z"):
        raise ValueError(f"it has the time {text!r}")
    # strptime would read it as it is, with half a MiB of tables.
    return datetime.fromisoformat(f"{text[:8]}T{text[8:14]}+00:00").astimezone(UTC)


def due(told: Validity, chance: float) -> datetime:
    """When to ask for the next one. ``chance``: from 0 to 1."""
    return told.begins + (told.ends - told.begins) * (_EARLIEST + _SPREAD * chance)


def keep(instance: Instance, files: Mapping[str, str]) -> None:
    """Replaces files of the PKI, all or none: what is cut short in between is completed by ``complete``. Raises
    OSError."""
    _write(instance.pki / _PENDING, orjson.dumps(dict(files)))
    complete(instance)


def complete(instance: Instance) -> None:
    """Before anybody reads them: a certificate and the key of another one would be of no use. Raises OSError."""
    pending = instance.pki / _PENDING
    try:
        files = orjson.loads(pending.read_bytes())
    except FileNotFoundError:
        return
    for name, pem in files.items():
        _write(instance.pki / name, pem.encode())
    pending.unlink()


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, for root alone."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.touch(mode=0o600)
    temporary.write_bytes(content)
    temporary.rename(path)


class NodeCertificates:
    """``uses``: by the stem of the files. Invariant: ``_had`` is what was last taken up."""

    def __init__(self, instance: Instance, uses: Mapping[str, Use], clock: Clock, random: Random) -> None:
        self._instance, self._uses, self._clock = instance, uses, clock
        self._had: dict[str, tuple[bytes, bytes]] = {}
        self._chances = {stem: random.random() for stem in uses}
        self._not_before = clock.now()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            # Often enough while those of before are still good, however short their lives.
            await asyncio.sleep(min(LOOK_SECONDS, self._instance.cluster.certificate_seconds / _LOOKS))

    async def look(self) -> None:
        """Once: what is new is taken up, what is about to end is asked for anew."""
        self._take_up(await asyncio.to_thread(self._read))
        if wanted := self._due():
            if await self._ask(wanted):
                (self._instance.pki / RENEW_NOW).unlink(missing_ok=True)
            self._take_up(await asyncio.to_thread(self._read))

    def _read(self) -> dict[str, tuple[bytes, bytes]]:
        found = {}
        for stem in self._uses:
            try:
                certificate, key = (self._instance.pki / f"{stem}.{part}" for part in ("crt", "key"))
                found[stem] = certificate.read_bytes(), key.read_bytes()
            except OSError as error:
                log.warning("a certificate cannot be read: %s", fault(error))
        return found

    def _take_up(self, found: Mapping[str, tuple[bytes, bytes]]) -> None:
        """A pair that does not fit (one of two files is written, the other is not yet) is looked at again."""
        for stem, pair in found.items():
            try:
                if stem in self._had and pair != self._had[stem]:
                    self._uses[stem](*pair)
                    log.info("certificate %s is new, and in use", stem)
                validity(pair[0])
                self._had[stem] = pair
            except (OSError, ValueError) as error:
                log.warning("certificate %s is not taken up: %s", stem, fault(error))

    def _due(self) -> list[str]:
        now = self._clock.now()
        if self._instance.node.runs_control_plane or now < self._not_before:
            return []
        at_once = self._named_now()
        return [
            stem
            for stem, (pem, _) in self._had.items()
            if stem == at_once or due(validity(pem), self._chances[stem]) <= now
        ]

    def _named_now(self) -> str:
        """The stem of one that names addresses of before (``pki.check_given``)."""
        try:
            return (self._instance.pki / RENEW_NOW).read_text().strip()
        except OSError:
            return ""

    async def _ask(self, stems: list[str]) -> bool:
        """Whether they were given."""
        instance = self._instance
        log.info("asking the cluster for new certificates: %s", ", ".join(stems))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sampan.cluster.joining.rotation", "--name", instance.name,
            "--state-root", str(instance.state_root), "--run-root", str(instance.run_root),
            "--stems", ",".join(stems), cwd="/",
        )  # fmt: skip
        try:
            async with asyncio.timeout(ASK_SECONDS):
                code = await process.wait()
        except TimeoutError:
            code = -1
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if code != 0:
            log.warning("certificates were not renewed; it is tried again in %.0f s", PAUSE_SECONDS)
            self._not_before = self._clock.now() + timedelta(seconds=PAUSE_SECONDS)
        return code == 0
