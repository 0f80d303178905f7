"""A resolver in Python that answers the latest version as it came, or does what the version's note says."""

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import types as t
from wit_world.exports import describe as d
from wit_world.exports import resolver as r


class Describe(exports.Describe):
    def describe(self) -> d.Description:
        return d.Description("mirror", "0.1.0", "What it is given, as it is", '{"type": "object"}', [])


def problem() -> t.Problem:
    return t.Problem("bad-note", "the note is poison", "note", "a hint")


class Resolver(exports.Resolver):
    def open(self, context: t.Context) -> r.Needs:
        if '"problem"' in context.config:
            raise Err(problem())
        if '"error"' in context.config:
            raise ValueError("an error on purpose")
        return r.Needs([], [])

    def resolve(self, conflicts: list[r.Conflict]) -> list:
        return [answer(conflict) for conflict in conflicts]


def answer(conflict: r.Conflict):
    row = conflict.versions[conflict.latest].row
    if row is None:
        return Ok(r.Resolution_Delete())
    note = row[1].value if isinstance(row[1], t.Value_Text) else ""
    if note == "problem":
        return Err(problem())
    if note == "error":
        raise ValueError("an error on purpose")
    if note == "endless":
        while True:
            pass
    if note == "memory":
        kept = []
        while True:
            kept.append(b"x" * (1 << 20))
    return Ok(r.Resolution_Merged([copy(value, 1 if note == "more" else 0) for value in row]))


def copy(value, more: int):
    """A value of its own, of what came."""
    if isinstance(value, t.Value_Null):
        return t.Value_Null()
    if isinstance(value, t.Value_Integer) and value.value > 1:
        return t.Value_Integer(value.value + more)
    return type(value)(value.value)
