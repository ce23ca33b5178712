"""Identities, what they trust, and the files that they live in."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from secondsite.errors import SecondsiteError
from secondsite.trust.contexts import server_context
from secondsite.trust.files import remove_durably, write_durably
from secondsite.trust.gate import PeerRefused, SiteGate
from secondsite.trust.identity import Identity, OperatorIdentity, Trust, check_issued
from secondsite.trust.keys import key_to_pem, new_key
from secondsite.trust.names import Name, Role
from support.vault import DAY, Vault

NOW = datetime.now(UTC)


def test_the_operator_gets_a_new_key_each_day() -> None:
    identity = OperatorIdentity(Vault().authority)
    first = identity.current(NOW)
    assert identity.current(NOW + timedelta(hours=23, minutes=59)) is first
    second = identity.current(NOW + DAY)
    assert second.peer.key_fingerprint != first.peer.key_fingerprint
    assert second.peer.name.role is Role.OPERATOR
    assert second.peer.not_after - NOW > 14 * DAY


def test_a_clock_set_back_does_not_keep_an_old_identity() -> None:
    identity = OperatorIdentity(Vault().authority)
    first = identity.current(NOW + 30 * DAY)
    assert identity.current(NOW) is not first


def test_trust_only_grows() -> None:
    trust = Trust("v", ("one",), frozenset({1}))
    grown = trust.grown_by(["two", "one"], [2])
    assert grown == Trust("v", ("one", "two"), frozenset({1, 2}))
    assert grown.grown_by([], []) == grown


def test_a_new_certificate_is_installed_only_if_it_is_for_this_key_name_and_vault() -> None:
    vault, key = Vault(), new_key()
    name = Name(vault.vault_id, Role.AGENT, "newyork")
    good = vault.authority.issue(name, key.public_key(), NOW, DAY)
    assert check_issued(good, key_to_pem(key), vault.trust(), name).peer.name == name

    with pytest.raises(SecondsiteError, match="made for another key"):
        check_issued(good, key_to_pem(new_key()), vault.trust(), name)
    elsewhere = Name(vault.vault_id, Role.AGENT, "chicago")
    with pytest.raises(SecondsiteError, match="expected secondsite://"):
        check_issued(good, key_to_pem(key), vault.trust(), elsewhere)
    with pytest.raises(SecondsiteError, match="not signed by an authority of its vault"):
        check_issued(good, key_to_pem(key), Vault().trust(), name)


def test_only_a_site_is_let_in_where_a_site_was_dialled() -> None:
    vault, gate = Vault(), SiteGate("newyork", "127.0.0.1")
    for identity in (vault.operator(), vault.reader()):
        with pytest.raises(PeerRefused, match="it takes role agent or bootstrap"):
            gate(identity.peer)
    assert gate.seen is None


def test_a_damaged_identity_never_becomes_a_context() -> None:
    vault = Vault()
    good, other = vault.agent("newyork"), vault.agent("newyork")
    with pytest.raises(SecondsiteError, match="cannot be used"):
        server_context(Identity(good.certificate_pem, other.key_pem, good.peer), vault.trust())
    with pytest.raises(SecondsiteError, match="cannot be used"):
        server_context(good, Trust(vault.vault_id, ("broken",)))
    with pytest.raises(SecondsiteError, match="no certificate authority"):
        server_context(good, Trust(vault.vault_id, ()))


def test_a_file_is_replaced_whole_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "identity.pem"
    write_durably(file, "old")
    write_durably(file, b"new")
    assert file.read_bytes() == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["identity.pem"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "identity.pem"
    write_durably(file, "old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SecondsiteError, match=r"Writing .*identity\.pem failed: No space left on device"):
        write_durably(file, "new")
    assert file.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["identity.pem"]


def test_content_is_on_the_disk_before_it_takes_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    sync, replace = os.fsync, Path.replace

    def noted_sync(descriptor: int) -> None:
        order.append("sync")
        sync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        order.append("replace")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    write_durably(tmp_path / "x", "1")
    assert order == ["sync", "replace", "sync"]


def test_a_removed_file_may_be_removed_again(tmp_path: Path) -> None:
    write_durably(tmp_path / "x", "1")
    remove_durably(tmp_path / "x")
    remove_durably(tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SecondsiteError, match="nowhere/x failed"):
        write_durably(tmp_path / "nowhere" / "x", "1")
