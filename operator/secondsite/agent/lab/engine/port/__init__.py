"""The data port, both ends: HTTP on one socket, frames, compression, limits, who answers what."""
