"""A member of etcd that an instance runs beside its control plane: its program, its place, the other members."""
