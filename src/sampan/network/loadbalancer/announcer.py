"""Answers ARP and neighbour discovery for the addresses of LoadBalancers that name this node as their announcer.

A kept component of the node process; holds no socket while there is nothing to announce. Who takes an address over says
so several times, unasked. Should another machine claim an address of ours, the API server is asked whose it is: when it
does not answer we are the one who was left behind, and are silent about the address until we hear of its Service again.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Final, TypeAlias

from sampan.api import loadbalancing as balancing
from sampan.api.clock import Clock, SystemClock
from sampan.api.errors import ApiError
from sampan.api.faults import cause
from sampan.api.loadbalancing import Address
from sampan.api.resources import SERVICES
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.events import EventRecorder
from sampan.client.informer import ChangeType, InformerFactory
from sampan.client.keys import ObjectKey, key_of
from sampan.network.loadbalancer import packets
from sampan.network.loadbalancer.link import Link
from sampan.network.loadbalancer.packets import Heard
from sampan.records import dataclass

log = logging.getLogger(__name__)

#: How often an address is announced unasked, and the time in between.
_ANNOUNCEMENTS: Final = 4
_ANNOUNCE_SECONDS: Final = 1.0
#: Between two looks at the routes: interfaces come and go.
_LOOK_SECONDS: Final = 30.0
_ASK_SECONDS: Final = 5.0
_FRAMES_AT_ONCE: Final = 32
_FRAME_BYTES: Final = 2048
#: Answers of one second, to all: what an honest network never asks for.
_MAX_ANSWERS: Final = 2000

#: An interface, and 4 or 6.
Place: TypeAlias = tuple[str, int]


@dataclass(slots=True)
class _Announced:
    """``owed``: announcements that are still to be made. ``yielded``: another has it, as far as we can know."""

    address: Address
    key: ObjectKey
    place: Place = ("", 4)
    member: socket.socket | None = None
    owed: int = _ANNOUNCEMENTS
    yielded: bool = False
    said: str = ""
    asking: bool = False


class Announcer:
    """Invariant: sockets are open exactly at the places of what is announced."""

    def __init__(
        self, client: Client, informers: InformerFactory, node_name: str, link: Link, clock: Clock | None = None
    ) -> None:
        self._client = client
        self._recorder = EventRecorder(client, "sampan-announcer", node_name, clock or SystemClock())
        self._services = informers.informer(SERVICES)
        self._node_name = node_name
        self._link = link
        self._wanted: dict[ObjectKey, tuple[Address, ...]] = {}
        self._announced: dict[bytes, _Announced] = {}
        self._sockets: dict[Place, socket.socket] = {}
        self._changed = asyncio.Event()
        self._asking: set[asyncio.Task[None]] = set()
        self._answers = (0, 0)
        self._looked_at = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        await tasks.run_all(announcing=self._run(), events=self._recorder.run())

    async def _run(self) -> None:
        remove = self._services.add_handler(self._service_changed)
        try:
            while True:
                await self._wait()
                await self._place()
                self._announce()
        finally:
            remove()
            await tasks.cancel_and_wait(*self._asking)
            for place in list(self._sockets):
                self._close(place)
            for each in self._announced.values():
                _leave(each)

    @property
    def addresses(self) -> frozenset[str]:
        """Those that are answered for."""
        return frozenset(str(each.address) for each in self._announced.values() if each.place[0] and not each.yielded)

    def _service_changed(self, kind: ChangeType, service: Obj, _: Obj | None) -> None:
        key = key_of(service)
        wanted: tuple[Address, ...] = ()
        if kind != "DELETED" and balancing.announced_by(service) == self._node_name:
            found = map(balancing.address_of, balancing.own_addresses(service))
            wanted = tuple(address for address in found if address is not None)
        for address in wanted:
            if (held := self._announced.get(address.packed)) is not None and held.yielded:
                held.yielded, held.owed = False, _ANNOUNCEMENTS
                self._changed.set()
        if wanted != self._wanted.get(key, ()):
            self._wanted[key] = wanted
            if not wanted:
                del self._wanted[key]
            self._changed.set()

    async def _wait(self) -> None:
        if any(each.owed and each.place[0] for each in self._announced.values()):
            seconds: float | None = _ANNOUNCE_SECONDS
        else:
            seconds = _LOOK_SECONDS if self._wanted else None
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass
        self._changed.clear()

    # Placing

    async def _place(self) -> None:
        wanted = {address.packed: (address, key) for key, held in self._wanted.items() for address in held}
        for packed in self._announced.keys() - wanted.keys():
            _leave(self._announced.pop(packed))
        now = asyncio.get_running_loop().time()
        if look := now - self._looked_at >= _LOOK_SECONDS - _ANNOUNCE_SECONDS:
            self._looked_at = now
        for packed, (address, key) in wanted.items():
            each = self._announced.setdefault(packed, _Announced(address, key))
            each.key = key
            if not look and each.place[0]:
                continue
            interface = await self._interface_for(each)
            if (place := (interface, int(address.version))) != each.place:
                _leave(each)
                each.place, each.owed = place, _ANNOUNCEMENTS
        places = {each.place for each in self._announced.values() if each.place[0]}
        for place in self._sockets.keys() - places:
            self._close(place)
        for place in places - self._sockets.keys():
            self._open(place)
        for each in self._announced.values():
            if each.place in self._sockets and each.member is None:
                self._join(each)
            if each.yielded and not each.asking:
                self._ask_for(each)

    async def _interface_for(self, each: _Announced) -> str:
        try:
            found = await asyncio.to_thread(self._link.interface_for, each.address)
        except OSError as error:
            self._say(each, f"{each.address} is not announced: {cause(error)}")
            return ""
        if not found:
            self._say(each, f"{each.address} is not announced: no interface of {self._node_name} has a route to it")
        return found

    def _open(self, place: Place) -> None:
        try:
            made = self._sockets[place] = self._link.open(*place)
        except OSError as error:
            for each in self._announced.values():
                if each.place == place:
                    self._say(each, f"{each.address} is not announced on {place[0]}: {cause(error)}")
            return
        asyncio.get_running_loop().add_reader(made, self._read, place, made)

    def _join(self, each: _Announced) -> None:
        try:
            each.member = self._link.join(each.place[0], each.address)
        except OSError as error:
            self._say(each, f"questions for {each.address} may not arrive: {cause(error)}")

    def _close(self, place: Place) -> None:
        made = self._sockets.pop(place)
        asyncio.get_running_loop().remove_reader(made)
        made.close()

    def _say(self, each: _Announced, said: str) -> None:
        """Once, as long as it is so."""
        if each.said == said:
            return
        each.said = said
        log.warning("%s", said)
        service = self._services.get(*each.key)
        if service is not None:
            self._recorder.event(service, "Warning", "AnnounceFailed", said)

    # Speaking

    def _announce(self) -> None:
        for packed, each in self._announced.items():
            made = self._sockets.get(each.place)
            if made is None or each.yielded or not each.owed:
                continue
            each.owed -= 1
            mac = made.getsockname()[4]
            write = packets.write_arp_announcement if each.address.version == 4 else packets.write_advertisement
            _send(made, write(mac, packed))

    def _read(self, place: Place, made: socket.socket) -> None:
        for _ in range(_FRAMES_AT_ONCE):
            try:
                frame, sender = made.recvfrom(_FRAME_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                # The interface is down or gone: the next look at the routes says which.
                log.debug("%s: %s", place[0], cause(error))
                self._close(place)
                self._changed.set()
                return
            if sender[2] == socket.PACKET_OUTGOING:
                continue
            for heard in packets.read_arp(frame) if place[1] == 4 else packets.read_neighbour(frame):
                each = self._announced.get(heard.address)
                if each is not None and each.place == place and not each.yielded:
                    self._hear(each, heard, made)

    def _hear(self, each: _Announced, heard: Heard, made: socket.socket) -> None:
        mac = made.getsockname()[4]
        if heard.kind == "claims":
            if heard.sender != mac and not each.asking:
                log.warning("%s claims %s, which this node announces", heard.sender.hex(":"), each.address)
                self._ask_for(each)
            return
        if not self._may_answer():
            return
        if each.address.version == 4:
            _send(made, packets.write_arp_reply(mac, heard.address, heard.sender, heard.sender_address))
        else:
            _send(made, packets.write_advertisement(mac, heard.address, heard.sender, heard.sender_address))

    def _may_answer(self) -> bool:
        second, count = int(asyncio.get_running_loop().time()), self._answers[1]
        self._answers = (second, count + 1 if second == self._answers[0] else 1)
        return self._answers[1] <= _MAX_ANSWERS

    def _ask_for(self, each: _Announced) -> None:
        each.asking = True
        task = tasks.detach(self._ask(each), "whose address")
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _ask(self, each: _Announced) -> None:
        """Other claims are not heard until this one is settled, so that a hostile neighbour costs little."""
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                service = await self._client.get(SERVICES, each.key.name, each.key.namespace)
            each.yielded = balancing.announced_by(service) != self._node_name
            each.owed = _ANNOUNCEMENTS
            self._changed.set()
            await asyncio.sleep(_ASK_SECONDS)
        except (ApiError, TimeoutError) as error:
            if not each.yielded:
                log.warning(
                    "%s is left to who claims it: the API server does not answer: %s", each.address, cause(error)
                )
            each.yielded = True
        finally:
            each.asking = False


def _leave(each: _Announced) -> None:
    if each.member is not None:
        each.member.close()
        each.member = None


def _send(made: socket.socket, frame: bytes) -> None:
    try:
        made.send(frame)
    except OSError as error:
        log.debug("an announcement could not be sent: %s", cause(error))
