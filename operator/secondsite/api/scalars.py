"""The scalar types of the API: names, tokens, addresses, times, with the rules that the API server checks."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field, PlainSerializer

from secondsite.api.base import Model
from secondsite.api.markers import AtMost, Rule, say

# Integers beyond 2^53 do not survive every JSON reader.
MAX_INTEGER = 2**53 - 1

Count = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Port = Annotated[int, Field(ge=1, le=65535)]
Percent = Annotated[int, Field(ge=0, le=100)]


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Time = Annotated[AwareDatetime, PlainSerializer(_rfc3339, when_used="json")]
"""A moment; written in UTC and in whole seconds, rounded down, so that an age computed from it is never too small."""

Name = Annotated[str, Field(min_length=1, max_length=128)]
"""A name given in VMM or Hyper-V, compared as it is written."""

ObjectName = Annotated[
    str,
    Field(min_length=1, max_length=50),
    Rule(
        r"self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",
        "must be the name of an object: lower-case letters, digits, '-' and '.', with a letter or digit at both ends",
    ),
]

Token = Annotated[str, Field(min_length=1, max_length=64)]
"""A one-shot request: any text that was not used before asks once."""

GUID = Annotated[
    str,
    Field(max_length=36),
    Rule(
        "self.matches('^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$')",
        "must be a GUID with hyphens and without braces, such as '0f8fad5b-d9cb-469f-a165-70867728950e'",
    ),
    AfterValidator(str.lower),
]
"""A Hyper-V id; parsed to lower case."""

MAC = Annotated[
    str,
    Field(max_length=17),
    Rule(
        "self.matches('^([0-9A-F]{2}:){5}[0-9A-F]{2}$')",
        "must be six pairs of hexadecimal digits in upper case with colons between, such as '00:15:5D:0A:0B:0C'",
    ),
]

CIDR = Annotated[
    str,
    Field(max_length=43),
    Rule(
        "isCIDR(self) && string(cidr(self).masked()) == self",
        "must be a subnet in canonical form, such as '10.1.2.0/24' or '2001:db8:1::/64'",
        expression="isCIDR(self) ? "
        + say("must be the network address in canonical form: '%s'", "string(cidr(self).masked())")
        + " : "
        + say("must be a subnet such as '10.1.2.0/24' or '2001:db8:1::/64', not '%s'", "self"),
    ),
]

IP = Annotated[
    str,
    Field(max_length=45),
    Rule(
        "isIP(self) && ip.isCanonical(self)",
        "must be an IPv4 or IPv6 address in canonical form, such as '10.1.2.3' or '2001:db8:1::7'",
        expression="isIP(self) ? "
        + say("must be the address in canonical form: '%s'", "string(ip(self))")
        + " : "
        + say("must be an IPv4 or IPv6 address such as '10.1.2.3' or '2001:db8:1::7', not '%s'", "self"),
    ),
]

TimeOfDay = Annotated[
    str,
    Field(max_length=5),
    Rule(
        "self.matches('^([01][0-9]|2[0-3]):[0-5][0-9]$')",
        "must be a time of day from '00:00' to '23:59', in quotes, such as '18:30'",
    ),
]

TimeZone = Annotated[
    str,
    Field(max_length=64),
    Rule(
        # The lookup alone accepts '', offsets and 'Local'.
        "self.matches('^[A-Z][A-Za-z0-9_+/-]*$') && self != 'Local' "
        "&& timestamp('2000-01-01T00:00:00Z').getHours(self) >= 0",
        "must be a name of the time zone database, such as 'UTC' or 'Europe/Berlin'",
    ),
]

Fingerprint = Annotated[
    str,
    Field(max_length=71),
    Rule(
        "self.matches('^sha256:[0-9a-f]{64}$')",
        "must be 'sha256:' and 64 hexadecimal digits in lower case, as `secondsite agent run` prints it",
    ),
]

FolderPath = Annotated[str, Field(min_length=1, max_length=512)]

# Fields of a status carry no rules: a refused status would say nothing at all.
Word = Annotated[str, AtMost(128)]
"""In a status: a name, a code or an id as a site gives it."""

Address = Annotated[str, AtMost(45)]
"""In a status: an IP address."""

Subnet = Annotated[str, AtMost(43)]
"""In a status: a subnet as CIDR."""

Text = Annotated[str, AtMost(1024)]
"""In a status: a sentence for people."""


class LocalRef(Model):
    """Another object in the same namespace."""

    name: ObjectName
    """Name of the object, at most 50 characters."""


IMMUTABLE = Rule("self == oldSelf", "cannot be changed: delete the object and create another one")


def immutable(field: str) -> Rule:
    """A rule for the parent of an optional field that may be neither changed, added nor removed afterwards."""
    return Rule(
        f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})",
        f"`{field}` cannot be changed, added or removed: delete the object and create another one",
        path=f".{field}",
    )
