"""The model that every type of the API derives from: frozen, hashable, camelCase in JSON."""

from typing import Any, ClassVar, Unpack

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from secondsite.api.markers import Rule, with_rules

# Words that stay in capitals inside a JSON name (`vmID`, `withinRPO`); as the first word they are lower case.
ACRONYMS = {"id": "ID", "rpo": "RPO", "vm": "VM", "vms": "VMs"}


def camel(name: str) -> str:
    """The JSON name of a Python field: `protected_vm_refs` is `protectedVMRefs`."""
    first, *rest = name.split("_")
    return first + "".join(ACRONYMS.get(word, word.capitalize()) for word in rest)


class Model(BaseModel):
    """A part of a spec or a status.

    Lists are tuples, so that a parsed spec is hashable and can be kept; defaults are shared between objects. What is
    unknown is ignored: an older operator must survive a newer CRD. `class X(Model, rules=(...))` adds CEL rules.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=camel,
        validate_by_name=True,
        validate_by_alias=True,
        use_attribute_docstrings=True,
    )

    # pytest would take every class called Test... that a test imports for a test.
    __test__: ClassVar[bool] = False

    rules: ClassVar[tuple[Rule, ...]] = ()

    def __init_subclass__(cls, rules: tuple[Rule, ...] = (), **kwargs: Unpack[ConfigDict]) -> None:
        super().__init_subclass__(**kwargs)
        cls.rules = (*cls.rules, *rules)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        if cls.rules:
            definition = handler.resolve_ref_schema(schema)
            definition.update(with_rules(definition, cls.rules))
        return schema

    def manifest(self) -> dict[str, Any]:
        """Plain JSON data as the API server takes it: JSON names, times as text, what is unset left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
