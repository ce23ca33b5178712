"""The vaults' Secrets: read once, changed only with the version that was read, so that nothing is decided twice."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime

from secondsite import logs
from secondsite.controller.kube import SECRETS, ApiError, Kube
from secondsite.controller.vaultkeys import VaultKeys, from_secret, secret_name, to_secret
from secondsite.errors import NotYet, SecondsiteError, Superseded
from secondsite.plan.observed import UNKNOWN, Unknown
from secondsite.trust.identity import Identity, OperatorIdentity

VaultKey = tuple[str, str]
"""Namespace and name of a RecoveryVault."""
Change = Callable[[VaultKeys], VaultKeys]

_TRIES = 5
_REFRESH_SECONDS = 60.0
_log = logs.get(__name__)


class Authorities:
    """What is known of each vault's Secret: UNKNOWN until read, None where there is none."""

    def __init__(self, kube: Kube, namespace: str, listener: Callable[[VaultKey], None]) -> None:
        self._kube = kube
        self._namespace = namespace
        self._listener = listener
        self._reading: dict[VaultKey, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._watches: dict[VaultKey, asyncio.Task[None]] = {}
        self._keys: dict[VaultKey, VaultKeys | None] = {}
        self._identities: dict[str, OperatorIdentity] = {}

    def get(self, vault: VaultKey) -> VaultKeys | Unknown | None:
        """What the last reading found. No I/O."""
        return self._keys.get(vault, UNKNOWN)

    def wanted(self, vault: VaultKey) -> None:
        """Keep what is known of this vault's Secret fresh from now on; `listener` hears of what changes."""
        if vault not in self._watches:
            self._watches[vault] = asyncio.create_task(self._watch(vault), name=f"vault {vault[0]}/{vault[1]}")

    async def close(self) -> None:
        for watch in self._watches.values():
            watch.cancel()
        await asyncio.gather(*self._watches.values(), return_exceptions=True)

    async def _watch(self, vault: VaultKey) -> None:
        while True:
            before = self.get(vault)
            try:
                found = await self.load(vault)
                if before is UNKNOWN or before != found:
                    self._listener(vault)
            except SecondsiteError as error:
                _log.warning("vault_unreadable", vault=vault[1], error=str(error))
            await asyncio.sleep(_REFRESH_SECONDS if self.get(vault) is not UNKNOWN else 1.0)

    def held(self, vault: VaultKey) -> VaultKeys | None:
        """The keys, or None where there are none or nobody has looked yet."""
        return self._keys.get(vault)

    def identity(self, keys: VaultKeys, now: datetime) -> Identity:
        """What the operator shows to the vault's sites; its key exists in memory only and lives for a day."""
        minter = self._identities.setdefault(keys.signer.fingerprint, OperatorIdentity(keys.signer))
        return minter.current(now)

    async def load(self, vault: VaultKey) -> VaultKeys | None:
        """Read the Secret. Raises SecondsiteError when it is damaged, ApiError when it cannot be asked for."""
        # One reading at a time: a slow one must not put an older state over a newer.
        async with self._reading[vault]:
            return await self._load(vault)

    async def _load(self, vault: VaultKey) -> VaultKeys | None:
        try:
            body = await self._kube.get(SECRETS, self._namespace, secret_name(*vault))
        except ApiError as error:
            if error.status != 404:
                raise
            self._keys[vault] = None
            return None
        keys = from_secret(body)
        self._keys[vault] = keys
        return keys

    async def create(self, vault: VaultKey, now: datetime) -> VaultKeys:
        """Make the authority, unless somebody made it meanwhile: then that one counts."""
        secret = to_secret(secret_name(*vault), VaultKeys.create(now))
        try:
            await self._kube.create(SECRETS, self._namespace, secret)
        except ApiError as error:
            if error.status != 409:
                raise
        keys = await self.load(vault)
        if keys is None:
            raise NotYet(f"The Secret of vault {vault[1]} vanished right after it was made", delay=2)
        _log.info("certificate_authority_ready", vault=vault[1], fingerprint=keys.signer.fingerprint)
        return keys

    async def change(self, vault: VaultKey, change: Change) -> VaultKeys:
        """Apply a change to what the Secret holds now; repeated when another wrote in between.

        Raises SecondsiteError when there is no Secret, and whatever `change` raises.
        """
        for _ in range(_TRIES):
            keys = await self.load(vault)
            if keys is None:
                raise SecondsiteError(
                    f"The Secret {self._namespace}/{secret_name(*vault)} is gone",
                    "Restore it from a copy; without it no site of this vault can be commanded.",
                )
            changed = change(keys)
            if changed == keys:
                return keys
            if await self._put(vault, changed):
                return await self._read_back(vault)
        raise Superseded(f"Somebody else keeps changing the Secret of vault {vault[1]}")

    async def _put(self, vault: VaultKey, keys: VaultKeys) -> bool:
        name = secret_name(*vault)
        try:
            await self._kube.replace(SECRETS, self._namespace, name, to_secret(name, keys))
        except ApiError as error:
            if error.status != 409:
                raise
            return False
        return True

    async def _read_back(self, vault: VaultKey) -> VaultKeys:
        keys = await self.load(vault)
        if keys is None:
            raise Superseded(f"The Secret of vault {vault[1]} was deleted while it was changed")
        return keys
