"""A filter that keeps the rows with one of some texts in a column."""

import json

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import types as t
from wit_world.exports import describe as d
from wit_world.exports import filter as f

values = frozenset()


class Describe(exports.Describe):
    def describe(self) -> d.Description:
        schema = {
            "type": "object",
            "additionalProperties": False,
            "required": ["column", "values"],
            "properties": {"column": {"type": "string"}, "values": {"type": "array", "items": {"type": "string"}}},
        }
        summary = "Rows with one of some texts in a column belong at the node"
        return d.Description("region", "0.1.0", summary, json.dumps(schema), [])


class Filter(exports.Filter):
    def open(self, context: t.Context) -> list[str]:
        global values
        config = json.loads(context.config)
        column, values = config["column"], frozenset(config["values"])
        if column not in [known.name for known in context.table.columns]:
            raise Err(t.Problem("unknown-column", f"`{context.table.name}` has no such column", column, None))
        # Of each row it is shown this one value.
        return [column]

    def judge(self, rows: list) -> list:
        return [Ok(f.Verdict_Keep() if belongs(row[0]) else f.Verdict_Drop()) for row in rows]


def belongs(value) -> bool:
    return isinstance(value, t.Value_Text) and value.value in values
