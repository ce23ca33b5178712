"""What a TLS error means for the person who has to do something about it."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator

from secondsite.errors import SiteUnreachable
from secondsite.trust.gate import PeerRefused

_NEW_BUNDLE = "Ask for a new bundle with spec.requests.issueRegistration and start the agent with it."
_ANOTHER_VAULT = "Check the endpoint; if the agent belongs to this vault, register it anew."

# What the other end said of our certificate, by OpenSSL's word for the alert.
_ALERTS = {
    "TLSV1_ALERT_UNKNOWN_CA": ("it does not know the certificate authority of this vault", _ANOTHER_VAULT),
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": ("it wants a certificate and was shown none", ""),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": ("by its clock our certificate has expired", "Compare the clocks."),
    "SSLV3_ALERT_BAD_CERTIFICATE": ("by its clock our certificate is not valid yet", "Compare the clocks."),
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": ("our certificate may not be used to dial", ""),
    "TLSV1_ALERT_PROTOCOL_VERSION": ("it does not speak the version of TLS that we do", "Update the older program."),
}

# What we found wrong with its certificate, by OpenSSL's X509_V_ERR number (x509_vfy.h).
_FINDINGS = {
    9: ("its certificate is not valid yet", "Compare the clocks."),
    10: ("its certificate has expired", _NEW_BUNDLE),
    18: ("its certificate is not signed by this vault", _ANOTHER_VAULT),
    19: ("its certificate is not signed by this vault", _ANOTHER_VAULT),
    20: ("its certificate is not signed by this vault", _ANOTHER_VAULT),
    26: ("its certificate is not one of a site", "Check the endpoint: something else answers there."),
}


def explain(error: BaseException, whom: str) -> SiteUnreachable | None:
    """The TLS error inside `error`, in words; None when there is none.

    `whom` is who was dialled: `site newyork at https://…`. It looks into what aiohttp wraps around such errors.
    """
    for cause in causes(error):
        found = _explained(cause)
        if found:
            return SiteUnreachable(f"No connection to {whom}: {found[0]}", found[1])
    return None


def _explained(error: BaseException) -> tuple[str, str] | None:
    if isinstance(error, PeerRefused):
        return error.what[:1].lower() + error.what[1:], error.remedy
    if isinstance(error, ssl.SSLCertVerificationError):
        if not hasattr(error, "verify_code"):
            return None  # aiohttp's wrapper: a subclass in name only, with the real one inside
        return _FINDINGS.get(error.verify_code, (f"its certificate is refused: {error.verify_message}", ""))
    alert = re.search(r"\[SSL: (\w+)\]", str(error))
    return _ALERTS.get(alert[1], (f"TLS ended with {alert[1]}", "")) if alert else None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """`error`, and what it wraps; aiohttp keeps some of it in attributes of its own."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        error = waiting.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        yield error
        inner = [getattr(error, name, None) for name in ("certificate_error", "os_error", "__cause__", "__context__")]
        waiting += [each for each in reversed(inner) if isinstance(each, BaseException)]
