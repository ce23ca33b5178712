"""Disks that travel without the link: copies that are adopted, image files, an initial replication on media."""
