"""Tests of the edge, most of them with the real program on loopback."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest


def _fake_api() -> Any:
    name, path = "sampan_tests_fake_api", Path(__file__).parent.parent / "client" / "fake_api.py"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec and spec.loader
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture
def api() -> Any:
    return _fake_api().FakeApi()
