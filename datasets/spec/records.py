"""Records that are kept as JSON. Their fields are checked when they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_serializer

from aclnet.datasets.spec.errors import AclnetError

if TYPE_CHECKING:
    from pydantic import SerializerFunctionWrapHandler

_R = TypeVar("_R", bound=BaseModel)


class Record(BaseModel):
    """Base of the project's records. Optional fields that are None are not written."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    @model_serializer(mode="wrap")
    def _without_absent(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        optional = {
            field.alias or name
            for name, field in type(self).model_fields.items()
            if not field.is_required()
        }
        return {k: v for k, v in dump(self).items() if v is not None or k not in optional}


def parse_record(model: type[_R], values: object, where: str, remedy: str) -> _R:
    """A record from plain values.

    Raises AclnetError of the form "`where`: field: problem; `remedy`".
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "the record"
        raise AclnetError(f"{where}: {field}: {first['msg']}; {remedy}") from None
