"""What every cluster starts with: namespaces, default policy, the ``kubernetes`` Service, priority classes."""
