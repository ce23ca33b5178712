"""Changes of roles: a replica becomes the primary, a primary the replica, and who may not send any more."""
