"""Cluster DNS (Kubernetes DNS specification 1.1.0, behaviour of CoreDNS' kubernetes plugin).

``message`` reads questions and writes answers, ``relay`` carries others' answers on, both on the bytes that ``names``
understands; ``records`` reads the API's objects, ``known`` keeps what they mean, ``resolve`` answers a question from
it. All of that is pure. ``answering`` puts it together with ``forward``, which asks the node's own name servers;
``server`` speaks UDP and TCP. ``program`` is the process: it follows the API server by ``api``, keeps what it knows in
a file (``snapshot``) and tells how it is (``health``).
"""
