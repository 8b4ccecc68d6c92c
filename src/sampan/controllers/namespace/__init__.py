"""What lives and dies with a namespace: its deletion, its default ServiceAccount, its copy of the cluster's CA."""
