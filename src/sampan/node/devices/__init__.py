"""Device plug-ins: programs that lend a machine's devices to containers (the kubelet's device plugin API, v1beta1).

``plan`` decides which devices a container gets (pure), ``manager`` asks the plug-ins and remembers, ``registration``
is where they introduce themselves, ``endpoint`` is the connection to one of them, ``checkpoint`` the record on disk.
"""
