"""The control plane: domain, data, use cases and API, and what starts an installation."""
