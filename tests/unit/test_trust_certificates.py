"""Names, keys, authorities and what they sign."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from secondsite.errors import SecondsiteError
from secondsite.trust.authority import CertificateAuthority
from secondsite.trust.certificates import (
    leads_to,
    load_chain,
    read_peer,
    serial_from_text,
    serial_to_text,
    to_pem,
)
from secondsite.trust.keys import fingerprint, key_from_pem, key_to_pem, make_request, new_key, requested_key
from secondsite.trust.names import Name, Role, new_vault_id
from support.vault import DAY, Vault

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
labels = st.from_regex(r"[a-z0-9]([-.a-z0-9]{0,48}[a-z0-9])?", fullmatch=True)


@given(vault=labels, site=labels, uid=labels, role=st.sampled_from(Role))
def test_a_name_survives_its_certificate_form(vault: str, site: str, uid: str, role: Role) -> None:
    alone = role in (Role.OPERATOR, Role.READER)
    name = Name(vault, role, "" if alone else site, uid if role is Role.BOOTSTRAP else "")
    assert Name.parse(name.uri) == name


@pytest.mark.parametrize(
    "uri",
    [
        "secondsite://v/agent/-",
        "secondsite://v/agent/newyork/uid",
        "secondsite://v/agent/newyork/",
        "secondsite://v/agent/newyork\n",
        " secondsite://v/agent/newyork",
        "secondsite://v/agent",
        "secondsite://v/operator/newyork",
        "secondsite://v/operator",
        "secondsite://v/bootstrap/newyork",
        "secondsite://v/root/newyork",
        "secondsite://v/Agent/newyork",
        "secondsite:///agent/newyork",
        "secondsite://v/agent/new york",
        "https://v/agent/newyork",
        "",
    ],
)
def test_anything_else_is_no_name(uri: str) -> None:
    with pytest.raises(ValueError, match="not a name of a vault"):
        Name.parse(uri)


@pytest.mark.parametrize(
    ("role", "site", "uid"),
    [(Role.AGENT, "", ""), (Role.OPERATOR, "a", ""), (Role.AGENT, "a", "u"), (Role.BOOTSTRAP, "a", "")],
)
def test_a_name_that_has_no_uri_cannot_be_made(role: Role, site: str, uid: str) -> None:
    with pytest.raises(ValueError, match="not a name of a vault"):
        Name("v", role, site, uid)


def test_vault_ids_differ_and_fit_into_a_name() -> None:
    assert Name(new_vault_id(), Role.OPERATOR).vault != new_vault_id()


def test_a_key_survives_its_pem_and_has_a_printable_fingerprint() -> None:
    key = new_key()
    again = key_from_pem(key_to_pem(key))
    assert fingerprint(again.public_key()) == fingerprint(key.public_key())
    assert fingerprint(key.public_key()) != fingerprint(new_key().public_key())
    assert len(fingerprint(key.public_key())) == len("sha256:") + 64


def test_a_request_proves_its_key() -> None:
    key = new_key()
    assert fingerprint(requested_key(make_request(key))) == fingerprint(key.public_key())


def test_a_request_signed_by_another_key_is_refused() -> None:
    genuine, other = (x509.load_pem_x509_csr(make_request(new_key()).encode()) for _ in range(2))
    # DER ends with the signature, and both have the same length but for the integers' padding: swap whole requests'
    # bodies by searching the body of one and putting the other's in its place.
    body = genuine.tbs_certrequest_bytes
    forged = genuine.public_bytes(Encoding.DER).replace(body, other.tbs_certrequest_bytes)
    with pytest.raises(SecondsiteError, match="not signed with the key that it names"):
        requested_key(x509.load_der_x509_csr(forged).public_bytes(Encoding.PEM).decode())


def test_a_request_for_another_kind_of_key_is_refused() -> None:
    weak = rsa.generate_private_key(65537, 2048)
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(weak, hashes.SHA256())
    with pytest.raises(SecondsiteError, match="Only ECDSA keys on P-256"):
        requested_key(request.public_bytes(Encoding.PEM).decode())


@pytest.mark.parametrize("text", ["", "hello", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"])
def test_what_is_no_pem_is_refused_in_words(text: str) -> None:
    for read in (requested_key, key_from_pem, load_chain):
        with pytest.raises(SecondsiteError, match="Cannot read the"):
            read(text)


@pytest.mark.parametrize(
    ("role", "usages"),
    [
        (Role.OPERATOR, {CLIENT}),
        (Role.READER, {CLIENT}),
        (Role.AGENT, {CLIENT, SERVER}),
        (Role.BOOTSTRAP, {SERVER}),
    ],
)
def test_a_role_decides_what_a_certificate_is_good_for(role: Role, usages: set[x509.ObjectIdentifier]) -> None:
    vault = Vault()
    site = "" if role in (Role.OPERATOR, Role.READER) else "newyork"
    identity = vault.identity(Name(vault.vault_id, role, site, "u" if role is Role.BOOTSTRAP else ""))
    certificate = load_chain(identity.certificate_pem)[0]
    assert set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == usages
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_certificates_are_backdated_and_renewed_at_two_thirds() -> None:
    vault = Vault(CertificateAuthority.create("v", NOW))
    key = new_key()
    name = Name("v", Role.AGENT, "newyork")
    pem = vault.authority.issue(name, key.public_key(), NOW, 90 * DAY, ("newyork.example", "2001:db8::1"))
    peer = read_peer(load_chain(pem)[0])
    assert peer.not_before == NOW - 7 * DAY
    assert peer.not_after == NOW + 90 * DAY
    assert peer.renewal_time == NOW + 60 * DAY
    assert peer.name == name
    assert peer.key_fingerprint == fingerprint(key.public_key())
    assert set(peer.addresses) == {"newyork.example", "2001:db8::1"}
    assert vault.authority.certificate.not_valid_before_utc == NOW - 7 * DAY


def test_an_authority_signs_only_for_its_vault() -> None:
    with pytest.raises(SecondsiteError, match="does not sign for secondsite://other/"):
        Vault().authority.issue(Name("other", Role.OPERATOR), new_key().public_key(), NOW, DAY)


def test_an_authority_is_taken_up_again_from_its_secret() -> None:
    first = Vault().authority
    again = CertificateAuthority.load(first.vault_id, first.certificate_pem, first.key_pem)
    assert again.fingerprint == first.fingerprint
    assert again.expiry_time == first.expiry_time
    pem = again.issue(Name(first.vault_id, Role.OPERATOR), new_key().public_key(), NOW, DAY)
    assert leads_to(load_chain(pem), [first.certificate])


def test_an_authority_with_another_key_is_refused() -> None:
    first, other = Vault().authority, Vault().authority
    with pytest.raises(SecondsiteError, match="does not belong to its certificate"):
        CertificateAuthority.load(first.vault_id, first.certificate_pem, other.key_pem)


def test_a_certificate_with_two_names_is_no_member() -> None:
    vault = Vault()
    both = [x509.UniformResourceIdentifier(f"secondsite://{vault.vault_id}/agent/{site}") for site in ("a", "b")]
    template = load_chain(vault.operator().certificate_pem)[0]
    for uris in (both, both[:0]):
        certificate = (
            x509.CertificateBuilder(template.issuer, template.subject, template.public_key(), 1)
            .not_valid_before(NOW)
            .not_valid_after(NOW + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([*uris, x509.DNSName("x")]), critical=False)
            .sign(vault.authority.key, hashes.SHA256())
        )
        with pytest.raises(SecondsiteError, match=f"names {len(uris)} URIs"):
            read_peer(certificate)


def test_a_chain_leads_to_an_authority_directly_or_through_a_cross_signed_one() -> None:
    old, new = (CertificateAuthority.create("v", NOW) for _ in range(2))
    leaf = load_chain(new.issue(Name("v", Role.OPERATOR), new_key().public_key(), NOW, DAY))[0]
    bridge = _cross_signed(new, by=old)
    assert leads_to([leaf], [new.certificate])
    assert leads_to([leaf, bridge], [old.certificate])
    assert leads_to(load_chain(to_pem(leaf, bridge)), [old.certificate, new.certificate])
    assert not leads_to([leaf], [old.certificate])
    assert not leads_to([leaf, bridge], [Vault().authority.certificate])


def test_a_member_cannot_sign_for_others() -> None:
    vault = Vault()
    member = vault.agent("newyork")
    certificate = load_chain(member.certificate_pem)[0]
    rogue = CertificateAuthority(vault.vault_id, certificate, key_from_pem(member.key_pem))
    leaf = load_chain(rogue.issue(Name(vault.vault_id, Role.OPERATOR), new_key().public_key(), NOW, DAY))[0]
    assert not leads_to([leaf, certificate], [vault.authority.certificate])


@given(st.integers(min_value=1, max_value=(1 << 159) - 1))
def test_serial_numbers_survive_their_text(serial: int) -> None:
    assert serial_from_text(serial_to_text(serial)) == serial


def _cross_signed(authority: CertificateAuthority, *, by: CertificateAuthority) -> x509.Certificate:
    of = authority.certificate
    return (
        x509.CertificateBuilder(by.certificate.subject, of.subject, of.public_key(), x509.random_serial_number())
        .not_valid_before(NOW - 7 * DAY)
        .not_valid_after(NOW + 100 * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(by.key, hashes.SHA256())
    )
