"""Registration bundles: what an agent accepts, and what it says of the rest."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from secondsite.errors import SecondsiteError
from secondsite.trust.bundle import BundleError, RegistrationBundle, endpoint_host, issue_bundle
from secondsite.trust.contexts import server_context
from secondsite.trust.names import Role
from support.vault import DAY, Vault

NOW = datetime.now(UTC).replace(microsecond=0)


def bundle_of(vault: Vault, endpoint: str = "https://127.0.10.1:8443") -> RegistrationBundle:
    return issue_bundle(
        vault.authority,
        trust=vault.trust(),
        namespace="recovery",
        site="newyork",
        site_uid="7d1f-22",
        endpoint=endpoint,
        now=NOW,
        expiry_time=NOW + 5 * DAY,
    )


def test_a_bundle_survives_the_way_to_the_site() -> None:
    bundle = bundle_of(Vault())
    assert RegistrationBundle.parse(bundle.to_json()) == bundle


def test_a_bundle_holds_one_identity_bound_to_site_and_endpoint() -> None:
    vault = Vault()
    bundle = bundle_of(vault)
    peer = bundle.identity.peer
    assert peer.name.uri == f"secondsite://{vault.vault_id}/bootstrap/newyork/7d1f-22"
    assert peer.addresses == ("127.0.10.1",)
    assert peer.not_after == bundle.expiry_time == NOW + 5 * DAY
    assert peer.serial == bundle.serial_number
    assert bundle_of(vault).serial != bundle.serial
    server_context(bundle.identity, bundle.trust)


def test_only_a_clock_tells_whether_a_bundle_is_expired() -> None:
    bundle = bundle_of(Vault())
    assert not bundle.expired(NOW)
    assert bundle.expired(NOW + 5 * DAY)
    assert RegistrationBundle.parse(bundle.to_json())


def test_a_key_is_not_printed() -> None:
    bundle = bundle_of(Vault())
    for text in (repr(bundle), str(bundle), repr(bundle.identity)):
        assert "PRIVATE KEY" not in text


@pytest.mark.parametrize("document", ["", "no", "[]", "{}", b"\xff\xfe", "x" * (2 << 20)])
def test_another_file_is_refused_with_the_remedy(document: str | bytes) -> None:
    with pytest.raises(BundleError, match=r"registration bundle.*spec\.requests\.issueRegistration"):
        RegistrationBundle.parse(document)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("version", "v2", "version: "),
        ("extra", "x", "extra: "),
        ("expiryTime", "tomorrow", "expiryTime: "),
        ("expiryTime", "2026-11-21T12:00:00", "expiryTime: "),
        ("authorities", [], "authorities: "),
        ("site", "chicago", "for site chicago holds the certificate of the bootstrap of site newyork"),
        ("siteUID", "other", "holds the certificate of the bootstrap of site newyork"),
        ("vaultID", "other", "holds the certificate"),
        ("serial", "0", "holds the certificate"),
        ("serial", "zz", "is damaged"),
        ("certificate", "none", "is damaged: Cannot read the certificate"),
        ("key", "none", "is damaged: Cannot read the private key"),
        ("authorities", ["none"], "is damaged: Cannot read the certificate"),
    ],
)
def test_a_changed_bundle_is_refused_by_the_field(field: str, value: Any, said: str) -> None:
    document = json.loads(bundle_of(Vault()).to_json())
    document[field] = value
    with pytest.raises(BundleError) as caught:
        RegistrationBundle.parse(json.dumps(document))
    assert said in caught.value.what
    assert "PRIVATE KEY" not in str(caught.value)
    assert caught.value.remedy


def test_parts_of_two_bundles_do_not_fit() -> None:
    mine, other = (json.loads(bundle_of(Vault()).to_json()) for _ in range(2))
    with pytest.raises(BundleError, match="not signed by one of its authorities"):
        RegistrationBundle.parse(json.dumps(mine | {"authorities": other["authorities"]}))
    with pytest.raises(BundleError, match="was made for another key"):
        RegistrationBundle.parse(json.dumps(mine | {"key": other["key"]}))


def test_an_agent_certificate_is_no_bundle() -> None:
    vault = Vault()
    document = json.loads(bundle_of(vault).to_json())
    agent = vault.agent("newyork")
    document |= {"certificate": agent.certificate_pem, "key": agent.key_pem, "serial": f"{agent.peer.serial:x}"}
    assert agent.peer.name.role is Role.AGENT
    with pytest.raises(BundleError, match="holds the certificate of the agent of site newyork"):
        RegistrationBundle.parse(json.dumps(document))


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("https://127.0.10.1:8443", "127.0.10.1"),
        ("https://NewYork.example", "newyork.example"),
        ("https://[2001:DB8:0::1]:8443", "2001:db8::1"),
    ],
)
def test_an_endpoint_has_a_host_as_certificates_spell_it(endpoint: str, host: str) -> None:
    assert endpoint_host(endpoint) == host
    assert bundle_of(Vault(), endpoint).identity.peer.addresses == (host,)


@pytest.mark.parametrize("endpoint", ["", "newyork", "http://newyork", "https://", "https://[::1", "https://:8443"])
def test_what_is_no_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(SecondsiteError, match="is not https://HOST"):
        endpoint_host(endpoint)
