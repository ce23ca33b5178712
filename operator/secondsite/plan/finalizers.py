"""What keeps an object from going before its time."""

from typing import Final

RELEASE: Final = "secondsite.dev/release"
"""On ProtectedVM and TestFailover before their first command: something at a site may have to be undone."""
IN_USE: Final = "secondsite.dev/in-use"
"""On VMMSite, ReplicationPolicy and RecoveryVault while anything refers to them."""
