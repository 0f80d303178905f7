"""A resolver that takes the version with the shortest text in a column, which the configuration names."""

import json

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import types as t
from wit_world.exports import describe as d
from wit_world.exports import resolver as r

place = 0


class Describe(exports.Describe):
    def describe(self) -> d.Description:
        schema = {
            "type": "object",
            "additionalProperties": False,
            "required": ["column"],
            "properties": {"column": {"type": "string"}},
        }
        return d.Description("shortest", "0.1.0", "The version with the shortest text in a column wins", json.dumps(schema), [])


class Resolver(exports.Resolver):
    def open(self, context: t.Context) -> r.Needs:
        global place
        column = json.loads(context.config)["column"]
        names = [known.name for known in context.table.columns]
        if column not in names:
            raise Err(t.Problem("unknown-column", f"`{context.table.name}` has no such column", column, None))
        place = names.index(column)
        return r.Needs([], [])

    def resolve(self, conflicts: list[r.Conflict]) -> list:
        return [answer(conflict) for conflict in conflicts]


def answer(conflict: r.Conflict):
    def rank(at: int):
        version = conflict.versions[at]
        value = version.row[place] if version.row is not None else None
        length = len(value.value) if isinstance(value, t.Value_Text) else 0
        # Of equals the latest: nobody's place in the list may matter.
        return (-length, version.time, at == conflict.latest)

    return Ok(r.Resolution_Take(max(range(len(conflict.versions)), key=rank)))
