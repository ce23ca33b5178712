"""Certificates and TLS contexts that both programs use: who may speak to whom."""
