"""Makes kept components of a real cluster's processes fail, for end-to-end tests. No part of Sampan knows of it.

Python imports this module at its start when ``PYTHONPATH`` names the directory. A file ``<process>/<component>`` (with
``%`` for ``/``) in ``$SAMPAN_TEST_FAULTS`` ends that component's present life by an error; the file is removed then.
``alive/<process>/<component>`` is there as long as a component lives that is to live for ever.
"""

import asyncio
import os
import sys
from pathlib import Path

_PROCESSES = {"control_plane": "server", "node_process": "node", "dns_process": "dns"}
_LOOK_SECONDS = 0.05


class InjectedFault(Exception):
    pass


def _install(directory: Path, alive: Path) -> None:
    from sampan.keeping import Keeper

    keep = Keeper.keep
    alive.mkdir(parents=True, exist_ok=True)
    for left in alive.iterdir():  # by a process before, which was killed
        left.unlink()

    def keep_struck(keeper, name, run, *, ends=False):
        path = directory / (keeper._prefix + name).replace("/", "%")
        sign = alive / path.name

        async def strike():
            while not path.exists():
                await asyncio.sleep(_LOOK_SECONDS)
            path.unlink()
            raise InjectedFault(name)

        async def live():
            if not ends:
                sign.touch()
            try:
                await live_until_struck()
            finally:
                sign.unlink(missing_ok=True)

        async def live_until_struck():
            striking = asyncio.ensure_future(strike())
            living = asyncio.ensure_future(run())
            try:
                await asyncio.wait([striking, living], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (striking, living):
                    task.cancel()
                await asyncio.wait([striking, living])
            if striking.done() and not striking.cancelled():
                striking.result()
            await living

        return keep(keeper, name, live, ends=ends)

    Keeper.keep = keep_struck


_module = next((word for word in sys.orig_argv if word.startswith("sampan.cluster.")), "").rpartition(".")[2]
if _module in _PROCESSES and os.environ.get("SAMPAN_TEST_FAULTS"):
    _faults, _process = Path(os.environ["SAMPAN_TEST_FAULTS"]), _PROCESSES[_module]
    _install(_faults / _process, _faults / "alive" / _process)
