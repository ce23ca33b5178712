"""Secondsite: site recovery for Hyper-V virtual machines in VMM clouds, declared as Kubernetes resources."""

__version__ = "0.1.0"
