"""The runtime by CRI gRPC (containerd): the only package of Sampan's node that speaks gRPC to a runtime."""
