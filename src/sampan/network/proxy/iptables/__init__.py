"""The back end for hosts whose rules are iptables': the same plans as chains named after kube-proxy's and the instance.

``render`` says what a Service needs, ``restore`` gives the difference to ``iptables-restore``. Each table of a family
is changed at once; the tables together are not, as with kube-proxy.
"""
