//! A resolver that takes the version with the shortest text in a column, which the configuration names.
const std = @import("std");
// What `zig translate-c` makes of the bindings for C.
const c = @import("bindings");

/// The handler of the standard library prints a trace, and asks WASI for what that takes; here it traps.
pub const panic = std.debug.no_panic;

const Text = c.resolver_plugin_string_t;
const Conflict = c.exports_concord_plugin_resolver_conflict_t;
const Answer = c.exports_concord_plugin_resolver_result_resolution_problem_t;

var place: usize = 0;

/// What may lie in constants is not freed: see ../c/libc.c.
fn constant(text: []const u8) Text {
    return .{ .ptr = @constCast(text.ptr), .len = text.len };
}

/// An empty list of C points anywhere.
fn slice(list: anytype) []std.meta.Child(@TypeOf(list.ptr)) {
    return if (list.len == 0) &.{} else list.ptr[0..list.len];
}

export fn exports_concord_plugin_describe_describe(description: *c.exports_concord_plugin_describe_description_t) void {
    description.* = std.mem.zeroes(c.exports_concord_plugin_describe_description_t);
    description.name = constant("shortest");
    description.version = constant("0.1.0");
    description.summary = constant("The version with the shortest text in a column wins");
    description.config_schema = constant(
        \\{"type": "object", "additionalProperties": false, "required": ["column"],
        \\ "properties": {"column": {"type": "string"}}}
    );
}

/// The text in {"column":"…"}, which by the schema is all that can be there; null if it is written with escapes.
fn named(config: []const u8) ?[]const u8 {
    if (std.mem.indexOfScalar(u8, config, '\\') != null) return null;
    var parts = std.mem.splitScalar(u8, config, '"');
    for (0..3) |_| _ = parts.next();
    return parts.next();
}

fn refuse(problem: *c.concord_plugin_types_problem_t, code: []const u8, message: []const u8) bool {
    problem.* = std.mem.zeroes(c.concord_plugin_types_problem_t);
    problem.code = constant(code);
    problem.message = constant(message);
    return false;
}

export fn exports_concord_plugin_resolver_open(
    context: *c.concord_plugin_types_context_t,
    needs: *c.exports_concord_plugin_resolver_needs_t,
    problem: *c.concord_plugin_types_problem_t,
) bool {
    needs.* = std.mem.zeroes(c.exports_concord_plugin_resolver_needs_t);
    const column = named(slice(context.config)) orelse
        return refuse(problem, "column-name", "the name of the column needs no escapes");
    for (slice(context.table.columns), 0..) |known, at| {
        if (!std.mem.eql(u8, slice(known.name), column)) continue;
        place = at;
        return true;
    }
    return refuse(problem, "unknown-column", "the table has no such column");
}

/// In characters; a row without the text, or no row at all, has the shortest.
fn length(version: *const c.exports_concord_plugin_resolver_version_t) usize {
    if (!version.row.is_some) return 0;
    const value = &version.row.val.ptr[place];
    if (value.tag != c.CONCORD_PLUGIN_TYPES_VALUE_TEXT) return 0;
    var count: usize = 0;
    for (slice(value.val.text)) |byte| {
        if (byte & 0xC0 != 0x80) count += 1;
    }
    return count;
}

/// Whether the version at one place comes before that at another. Of equals the latest: nobody's place may matter.
fn before(conflict: *const Conflict, one: usize, other: usize) bool {
    const first = &slice(conflict.versions)[one];
    const second = &slice(conflict.versions)[other];
    if (length(first) != length(second)) return length(first) < length(second);
    if (first.time != second.time) return first.time > second.time;
    return one == conflict.latest;
}

export fn exports_concord_plugin_resolver_resolve(
    conflicts: *c.exports_concord_plugin_resolver_list_conflict_t,
    answers: *c.exports_concord_plugin_resolver_list_result_resolution_problem_t,
) void {
    answers.len = conflicts.len;
    answers.ptr = @ptrCast(@alignCast(c.malloc(conflicts.len * @sizeOf(Answer)) orelse @trap()));
    for (slice(conflicts), slice(answers)) |*conflict, *answer| {
        var best: usize = 0;
        for (1..conflict.versions.len) |at| {
            if (before(conflict, at, best)) best = at;
        }
        answer.* = std.mem.zeroes(Answer);
        answer.val.ok.tag = c.EXPORTS_CONCORD_PLUGIN_RESOLVER_RESOLUTION_TAKE;
        answer.val.ok.val.take = @intCast(best);
    }
}
