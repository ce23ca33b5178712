"""What every part of a data-centre file is made of."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

Name = Annotated[str, Field(min_length=1, max_length=63)]
HostName = Annotated[str, Field(min_length=1, max_length=253)]
"""FQDN of a host, a broker or a VMM server."""
Guid = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Mac = Annotated[str, Field(pattern=r"^([0-9A-F]{2}:){5}[0-9A-F]{2}$")]
Address = Annotated[str, BeforeValidator(lambda value: str(ipaddress.ip_address(value)))]
Cidr = Annotated[str, BeforeValidator(lambda value: str(ipaddress.ip_network(value)))]
ConfigurationVersion = Annotated[str, BeforeValidator(str), Field(pattern=r"^\d{1,2}\.\d$")]
"""Of a VM, as Get-VM shows it: `10.0`. YAML reads it as a number."""


class Part(BaseModel):
    """Strict on names, so that a misspelt field is found and not ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")
