"""What a ResourceQuota counts: what each object uses, which quotas concern it, and whether it fits. Pure.

``evaluators`` measures objects, ``scopes`` matches them with quotas, ``charging`` decides, ``tally`` keeps the sum of
what is there. Used by the admission plugin and by the controller, so that both count the same.
Source: ``pkg/quota/v1`` and ``apiserver/pkg/quota/v1`` of Kubernetes.
"""
