"""Network policy on a node: NetworkPolicy, ClusterNetworkPolicy and its predecessors, enforced for the node's pods.

``model`` reads objects, ``planner`` keeps from them what this node has to enforce, change by change; a back end
(``nft``, or ``memory`` for tests and hollow nodes) makes that real; ``enforcer`` is the loop.
"""
