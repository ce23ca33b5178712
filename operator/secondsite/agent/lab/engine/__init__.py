"""The replication engine: tracked disks, frames on the wire, immutable layers, thin clones."""
