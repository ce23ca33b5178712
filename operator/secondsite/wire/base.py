"""What every message shares: camelCase on the wire, unknown fields ignored, values immutable."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

# pydantic would write vmId; the API and this contract write vmID.
_ACRONYMS = {"vm_id": "vmID", "test_vm_id": "testVMID", "vm_ids": "vmIDs"}


def camel(name: str) -> str:
    """The wire's spelling of a Python name."""
    return _ACRONYMS.get(name) or to_camel(name)


class Message(BaseModel):
    """A message of the contract. An older peer may send less, a newer one more."""

    model_config = ConfigDict(alias_generator=camel, populate_by_name=True, frozen=True, extra="ignore")

    def to_json(self) -> bytes:
        """The message as it travels: absent instead of null."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()
