"""Who may do what: RBAC, the node authorizer, and the rules against granting more than one has."""
