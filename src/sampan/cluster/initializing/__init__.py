"""A control plane that other machines join, as kubeadm makes it: phases, tokens, what is written into the cluster."""
