"""What an operator reads when a handshake failed, from the errors that real connections give."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime

import pytest

from secondsite.trust.contexts import client_context, server_context
from secondsite.trust.explain import explain
from secondsite.trust.gate import SiteGate
from secondsite.trust.identity import Identity
from secondsite.trust.names import Name, Role
from support.tls_site import HOST, refusal
from support.vault import DAY, Vault

VAULT = Vault()
LONG_AGO = datetime.now(UTC) - 30 * DAY
OPERATOR = Name(VAULT.vault_id, Role.OPERATOR)


@pytest.mark.parametrize(
    ("client", "server", "what", "remedy"),
    [
        (Vault().operator(), VAULT.agent("newyork"), "it does not know the certificate authority", "register it anew"),
        (
            VAULT.identity(OPERATOR, made=LONG_AGO, lifetime=DAY),
            VAULT.agent("newyork"),
            "by its clock our certificate has expired",
            "Compare the clocks",
        ),
        (
            VAULT.identity(OPERATOR, made=datetime.now(UTC) + 9 * DAY),
            VAULT.agent("newyork"),
            "by its clock our certificate is not valid yet",
            "Compare the clocks",
        ),
        (VAULT.bootstrap("newyork"), VAULT.agent("newyork"), "our certificate may not be used to dial", ""),
        (
            VAULT.operator(),
            VAULT.agent("newyork", made=LONG_AGO, lifetime=DAY),
            "its certificate has expired",
            "spec.requests.issueRegistration",
        ),
        (VAULT.operator(), Vault().agent("newyork"), "its certificate is not signed by this vault", "register it anew"),
        (VAULT.operator(), VAULT.operator(), "its certificate is not one of a site", "Check the endpoint"),
        (
            VAULT.operator(),
            VAULT.agent("chicago"),
            "the certificate is of site chicago, dialled newyork at 127.0.0.1",
            "Correct the endpoints",
        ),
    ],
)
async def test_a_failed_handshake_in_words(client: Identity, server: Identity, what: str, remedy: str) -> None:
    context = client_context(client, VAULT.trust(), SiteGate("newyork", HOST))
    found = explain(await refusal(context, server_context(server, VAULT.trust())), "site newyork")
    assert found
    assert found.what.startswith(f"No connection to site newyork: {what}")
    assert remedy in found.remedy


async def test_an_alert_without_a_word_of_ours_keeps_its_own() -> None:
    found = explain(ssl.SSLError(1, "[SSL: SOMETHING_NEW] something new (_ssl.c:1)"), "site newyork")
    assert found
    assert found.what == "No connection to site newyork: TLS ended with SOMETHING_NEW"


async def test_what_is_not_of_tls_is_left_to_others() -> None:
    with pytest.raises(ConnectionRefusedError) as caught:
        await asyncio.open_connection(HOST, 1)
    assert explain(caught.value, "site newyork") is None
