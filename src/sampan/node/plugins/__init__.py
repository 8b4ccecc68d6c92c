"""Programs that extend the node and make themselves known by a socket: storage drivers, and whatever else speaks the
kubelet's registration service.

``registry`` finds the sockets and speaks the service; what a type of plugin is for is its handler's. ``paths`` says
where the kubelet's directory is for programs in pods.
"""
