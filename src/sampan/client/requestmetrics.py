"""What is told of requests to API servers, under client-go's names (``rest_client`` metrics of component-base)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from sampan.metrics import Counter, Distribution, Registry

_BOUNDS: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
#: of a request that nobody answered
_NO_CODE: Final = "<error>"


class RequestMetrics:
    """Of the requests to one server."""

    def __init__(self, registry: Registry, host: str) -> None:
        self._host = host
        self._requests = registry.of(
            "rest_client_requests",
            lambda: Counter(
                "rest_client_requests",
                "Number of HTTP requests, partitioned by status code, method, and host.",
                ("code", "method", "host"),
            ),
        )
        self._seconds = registry.of(
            "rest_client_request_duration_seconds",
            lambda: Distribution(
                "rest_client_request_duration_seconds",
                "Request latency in seconds. Broken down by verb, and host.",
                _BOUNDS,
                ("host", "verb"),
            ),
        )

    @contextmanager
    def of(self, method: str) -> Iterator[Callable[[int], None]]:
        """Counts one request, by the status that the function is called with; not at all, when it is given up."""
        began, code = asyncio.get_running_loop().time(), _NO_CODE

        def answered(status: int) -> None:
            nonlocal code
            code = str(status)

        try:
            yield answered
        except asyncio.CancelledError:
            raise
        except BaseException:
            self._requests.add(code, method, self._host)
            raise
        else:
            self._requests.add(code, method, self._host)
            self._seconds.observe(asyncio.get_running_loop().time() - began, self._host, method)
