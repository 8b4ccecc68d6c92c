"""PKI, bootstrap, supervision: what makes a cluster of the programs."""
