"""A mapping of a node that keeps a name in two columns and money in cents."""

import json
import re

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import types as t
from wit_world.exports import describe as d

# The shared columns, and of each what makes its value of a local row, and what puts it into one.
columns = []
width = 0


class Describe(exports.Describe):
    def describe(self) -> d.Description:
        text, texts = {"type": "string"}, {"type": "array", "items": {"type": "string"}}
        schema = {
            "type": "object",
            "additionalProperties": False,
            "required": ["name", "first", "last"],
            "properties": {"name": text, "first": text, "last": text, "cents": texts, "own": texts},
        }
        summary = "A name in two columns is shared as one, and cents as units"
        return d.Description("full-name", "0.1.0", summary, json.dumps(schema), [])


class Mapping(exports.Mapping):
    def open(self, context: t.Context) -> t.Table:
        global columns, width
        config = json.loads(context.config)
        names = [column.name for column in context.table.columns]
        cents, own = config.get("cents", []), config.get("own", [])
        for name in [config["first"], config["last"], *cents, *own]:
            if name not in names:
                raise Err(t.Problem("unknown-column", f"`{context.table.name}` has no such column", name, None))
        first, last = names.index(config["first"]), names.index(config["last"])
        columns, width = [], len(names)
        for at, column in enumerate(context.table.columns):
            if at == first:
                columns.append((t.Column(config["name"], "text", column.key, []), Name(first, last)))
            elif column.name in cents:
                columns.append((t.Column(column.name, "decimal", column.key, []), Cents(at, column.name)))
            elif at != last and column.name not in own:
                # That it is always the same as the node's column is said, as a mapping may.
                column.facts = [("copy-of", column.name)]
                columns.append((column, Same(at)))
        return t.Table(context.table.name, [column for column, _ in columns])

    def to_shared(self, locals: list) -> list:
        return [tried(lambda: [source.shared(local) for _, source in columns]) for local in locals]

    def to_local(self, puts: list) -> list:
        return [tried(lambda: put_into(put.shared, put.current)) for put in puts]


def tried(make):
    try:
        return Ok(make())
    except Err as problem:
        return problem


def put_into(shared: list, current) -> list:
    row = list(current) if current is not None else [t.Value_Null()] * width
    for (_, source), value in zip(columns, shared):
        source.put(value, row, current)
    return row


class Same:
    def __init__(self, at: int):
        self.at = at

    def shared(self, local: list):
        return local[self.at]

    def put(self, value, row: list, current) -> None:
        row[self.at] = value


class Name:
    def __init__(self, first: int, last: int):
        self.first, self.last = first, last

    def shared(self, local: list):
        """The two parts of a name, or the one that is there."""
        parts = [local[at].value for at in (self.first, self.last) if isinstance(local[at], t.Value_Text)]
        return t.Value_Text(" ".join(parts)) if parts else t.Value_Null()

    def put(self, value, row: list, current) -> None:
        # Where a name is to be divided only the node knows, as long as it is the same.
        if current is not None and self.shared(current) == value:
            return
        text = value.value if isinstance(value, t.Value_Text) else None
        parts = [None, None] if text is None else text.rsplit(" ", 1) if " " in text else [text, None]
        for at, part in zip((self.first, self.last), parts):
            row[at] = t.Value_Null() if part is None else t.Value_Text(part)


class Cents:
    def __init__(self, at: int, column: str):
        self.at, self.column = at, column

    def wrong(self, code: str, message: str) -> Err:
        return Err(t.Problem(code, message, self.column, None))

    def shared(self, local: list):
        cents = local[self.at]
        if isinstance(cents, t.Value_Null):
            return cents
        if not isinstance(cents, t.Value_Integer):
            raise self.wrong("no-cents", "it holds no whole number of cents")
        units, part = divmod(abs(cents.value), 100)
        return t.Value_Decimal(f"{'-' if cents.value < 0 else ''}{units}.{part:02}")

    def put(self, value, row: list, current) -> None:
        if not isinstance(value, t.Value_Decimal):
            row[self.at] = t.Value_Null()
            return
        number = re.fullmatch(r"(-?[0-9]+)(?:\.([0-9]*?)0*)?", value.value)
        if number is None:
            raise self.wrong("no-number", "the node keeps no such number")
        part = number[2] or ""
        if len(part) > 2:
            raise self.wrong("part-of-a-cent", "the node keeps whole cents")
        cents = int(number[1] + part.ljust(2, "0"))
        if not -(2**63) <= cents < 2**63:
            raise self.wrong("too-large", "the node keeps cents as a 64-bit integer")
        row[self.at] = t.Value_Integer(cents)
