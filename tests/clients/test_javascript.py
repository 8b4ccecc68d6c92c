"""The official client of JavaScript, unmodified, below Node.js: ``client.cjs`` holds what it does."""

from __future__ import annotations

from pathlib import Path

import pytest
from client_harness import VENV, Program, Served


@pytest.mark.usefixtures("gadgets")
@pytest.mark.parametrize("scenario", ["typed", "patches", "watch", "informer", "custom"])
def test_the_client_of_javascript(served: Served, namespace: str, scenario: str) -> None:
    modules = VENV / "javascript" / "node_modules"
    if not modules.is_dir():
        pytest.fail("the client of JavaScript is not there: run scripts/setup dev")
    extra = {"NODE_PATH": str(modules)}
    Program(VENV / "bin" / "node", served, extra=extra)(str(Path(__file__).parent / "client.cjs"), scenario, namespace)
