//! A resolver in Zig that answers the latest version as it came, or does what the version's note says.
const std = @import("std");
const c = @import("bindings");

pub const panic = std.debug.no_panic;

const Text = c.resolver_plugin_string_t;
const Value = c.concord_plugin_types_value_t;
const Conflict = c.exports_concord_plugin_resolver_conflict_t;
const Answer = c.exports_concord_plugin_resolver_result_resolution_problem_t;

fn constant(text: []const u8) Text {
    return .{ .ptr = @constCast(text.ptr), .len = text.len };
}

fn slice(list: anytype) []std.meta.Child(@TypeOf(list.ptr)) {
    return if (list.len == 0) &.{} else list.ptr[0..list.len];
}

fn reserve(comptime T: type, count: usize) [*c]T {
    return @ptrCast(@alignCast(c.malloc(count * @sizeOf(T)) orelse @trap()));
}

fn poison() c.concord_plugin_types_problem_t {
    var problem = std.mem.zeroes(c.concord_plugin_types_problem_t);
    problem.code = constant("bad-note");
    problem.message = constant("the note is poison");
    problem.column = .{ .is_some = true, .val = constant("note") };
    problem.hint = .{ .is_some = true, .val = constant("a hint") };
    return problem;
}

/// A list of its own, of what came.
fn own(list: anytype) @TypeOf(list) {
    const bytes = reserve(u8, list.len);
    for (slice(list), 0..) |byte, at| bytes[at] = byte;
    return .{ .ptr = bytes, .len = list.len };
}

fn copy(from: *const Value) Value {
    var to = std.mem.zeroes(Value);
    to.tag = from.tag;
    switch (from.tag) {
        c.CONCORD_PLUGIN_TYPES_VALUE_NULL => {},
        c.CONCORD_PLUGIN_TYPES_VALUE_BOOLEAN => to.val.boolean = from.val.boolean,
        c.CONCORD_PLUGIN_TYPES_VALUE_INTEGER => to.val.integer = from.val.integer,
        c.CONCORD_PLUGIN_TYPES_VALUE_UNSIGNED => to.val.unsigned_ = from.val.unsigned_,
        c.CONCORD_PLUGIN_TYPES_VALUE_FLOAT => to.val.float_ = from.val.float_,
        c.CONCORD_PLUGIN_TYPES_VALUE_DECIMAL => to.val.decimal = own(from.val.decimal),
        c.CONCORD_PLUGIN_TYPES_VALUE_TEXT => to.val.text = own(from.val.text),
        c.CONCORD_PLUGIN_TYPES_VALUE_BYTES => to.val.bytes = own(from.val.bytes),
        c.CONCORD_PLUGIN_TYPES_VALUE_DATE => to.val.date = from.val.date,
        c.CONCORD_PLUGIN_TYPES_VALUE_TIME => to.val.time = from.val.time,
        c.CONCORD_PLUGIN_TYPES_VALUE_TIMESTAMP => to.val.timestamp = from.val.timestamp,
        c.CONCORD_PLUGIN_TYPES_VALUE_INSTANT => to.val.instant = from.val.instant,
        c.CONCORD_PLUGIN_TYPES_VALUE_JSON => to.val.json = own(from.val.json),
        c.CONCORD_PLUGIN_TYPES_VALUE_UUID => to.val.uuid = own(from.val.uuid),
        else => @trap(),
    }
    return to;
}

fn one(conflict: *const Conflict, answer: *Answer) void {
    answer.* = std.mem.zeroes(Answer);
    const latest = &slice(conflict.versions)[conflict.latest];
    if (!latest.row.is_some) {
        answer.val.ok.tag = c.EXPORTS_CONCORD_PLUGIN_RESOLVER_RESOLUTION_DELETE;
        return;
    }
    const row = slice(latest.row.val);
    const note: []const u8 = if (row[1].tag == c.CONCORD_PLUGIN_TYPES_VALUE_TEXT) slice(row[1].val.text) else "";
    if (std.mem.eql(u8, note, "problem")) {
        answer.is_err = true;
        answer.val.err = poison();
        return;
    }
    if (std.mem.eql(u8, note, "error")) @panic("an error on purpose");
    if (std.mem.eql(u8, note, "endless")) {
        var turn: u32 = 0;
        while (true) std.mem.doNotOptimizeAway(&turn);
    }
    if (std.mem.eql(u8, note, "memory")) {
        while (true) @memset(reserve(u8, 1 << 20)[0 .. 1 << 20], 1);
    }
    const merged = reserve(Value, row.len);
    for (row, 0..) |*value, at| {
        merged[at] = copy(value);
        const whole = value.tag == c.CONCORD_PLUGIN_TYPES_VALUE_INTEGER and value.val.integer > 1;
        if (whole and std.mem.eql(u8, note, "more")) merged[at].val.integer += 1;
    }
    answer.val.ok.tag = c.EXPORTS_CONCORD_PLUGIN_RESOLVER_RESOLUTION_MERGED;
    answer.val.ok.val.merged = .{ .ptr = merged, .len = row.len };
}

export fn exports_concord_plugin_describe_describe(description: *c.exports_concord_plugin_describe_description_t) void {
    description.* = std.mem.zeroes(c.exports_concord_plugin_describe_description_t);
    description.name = constant("mirror");
    description.version = constant("0.1.0");
    description.summary = constant("What it is given, as it is");
    description.config_schema = constant("{\"type\": \"object\"}");
}

export fn exports_concord_plugin_resolver_open(
    context: *c.concord_plugin_types_context_t,
    needs: *c.exports_concord_plugin_resolver_needs_t,
    problem: *c.concord_plugin_types_problem_t,
) bool {
    needs.* = std.mem.zeroes(c.exports_concord_plugin_resolver_needs_t);
    const config = slice(context.config);
    if (std.mem.indexOf(u8, config, "\"error\"") != null) @panic("an error on purpose");
    if (std.mem.indexOf(u8, config, "\"problem\"") == null) return true;
    problem.* = poison();
    return false;
}

export fn exports_concord_plugin_resolver_resolve(
    conflicts: *c.exports_concord_plugin_resolver_list_conflict_t,
    answers: *c.exports_concord_plugin_resolver_list_result_resolution_problem_t,
) void {
    answers.len = conflicts.len;
    answers.ptr = reserve(Answer, conflicts.len);
    for (slice(conflicts), slice(answers)) |*conflict, *answer| one(conflict, answer);
}
