"""The service-lb-controller: addresses for Services of type LoadBalancer without a cloud.

Class ``sampan.io/node`` (and no class): the nodes' own addresses, as long as nobody else has the Service's ports there.
Class ``sampan.io/l2``: an address out of a pool, which one node announces. ``plan`` decides, ``controller`` acts.
"""
