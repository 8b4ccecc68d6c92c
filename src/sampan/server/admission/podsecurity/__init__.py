"""The PodSecurity plugin: pods, workloads and the labels of namespaces against the Pod Security Standards."""
