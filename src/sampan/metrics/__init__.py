"""Numbers for ``/metrics``: counted in plain dicts on the event loop, made text of when somebody scrapes.

``families`` is what is shown, ``counting`` what counts, ``registry`` the numbers of one program, ``text`` Prometheus'
format. Nothing here knows what is counted.
"""

from sampan.metrics.counting import Counter, Distribution, Gauge
from sampan.metrics.registry import Registry, current, use

__all__ = ["Counter", "Distribution", "Gauge", "Registry", "current", "use"]
