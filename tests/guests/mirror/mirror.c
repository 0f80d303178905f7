// A resolver in C that answers the latest version as it came, or does what the version's note says.
#include "resolver_plugin.h"

#include <stdlib.h>
#include <string.h>

typedef resolver_plugin_string_t text;
typedef concord_plugin_types_value_t value;

static text constant(const char *chars) { return (text){(uint8_t *)chars, strlen(chars)}; }

static bool is(text one, const char *other) { return one.len == strlen(other) && memcmp(one.ptr, other, one.len) == 0; }

static bool contains(text whole, const char *part) {
    size_t len = strlen(part);
    for (size_t at = 0; at + len <= whole.len; at++) {
        if (memcmp(whole.ptr + at, part, len) == 0) return true;
    }
    return false;
}

static void poison(concord_plugin_types_problem_t *problem) {
    problem->code = constant("bad-note");
    problem->message = constant("the note is poison");
    problem->column.is_some = problem->hint.is_some = true;
    problem->column.val = constant("note");
    problem->hint.val = constant("a hint");
}

void exports_concord_plugin_describe_describe(exports_concord_plugin_describe_description_t *description) {
    memset(description, 0, sizeof *description);
    description->name = constant("mirror");
    description->version = constant("0.1.0");
    description->summary = constant("What it is given, as it is");
    description->config_schema = constant("{\"type\": \"object\"}");
}

bool exports_concord_plugin_resolver_open(exports_concord_plugin_resolver_context_t *context,
                                          exports_concord_plugin_resolver_needs_t *needs,
                                          exports_concord_plugin_resolver_problem_t *why) {
    memset(needs, 0, sizeof *needs);
    if (contains(context->config, "\"error\"")) abort();
    if (!contains(context->config, "\"problem\"")) return true;
    poison(why);
    return false;
}

static void *reserve(size_t size) {
    void *block = malloc(size);
    if (!block) abort();
    return block;
}

static text own(text from) {
    uint8_t *bytes = reserve(from.len);
    memcpy(bytes, from.ptr, from.len);
    return (text){bytes, from.len};
}

// A value of its own, of what came.
static value copy(const value *from) {
    value to;
    memset(&to, 0, sizeof to);
    to.tag = from->tag;
    switch (from->tag) {
    case CONCORD_PLUGIN_TYPES_VALUE_NULL: break;
    case CONCORD_PLUGIN_TYPES_VALUE_BOOLEAN: to.val.boolean = from->val.boolean; break;
    case CONCORD_PLUGIN_TYPES_VALUE_INTEGER: to.val.integer = from->val.integer; break;
    case CONCORD_PLUGIN_TYPES_VALUE_UNSIGNED: to.val.unsigned_ = from->val.unsigned_; break;
    case CONCORD_PLUGIN_TYPES_VALUE_FLOAT: to.val.float_ = from->val.float_; break;
    case CONCORD_PLUGIN_TYPES_VALUE_DECIMAL: to.val.decimal = own(from->val.decimal); break;
    case CONCORD_PLUGIN_TYPES_VALUE_TEXT: to.val.text = own(from->val.text); break;
    case CONCORD_PLUGIN_TYPES_VALUE_BYTES: {
        text bytes = own((text){from->val.bytes.ptr, from->val.bytes.len});
        to.val.bytes.ptr = bytes.ptr;
        to.val.bytes.len = bytes.len;
        break;
    }
    case CONCORD_PLUGIN_TYPES_VALUE_DATE: to.val.date = from->val.date; break;
    case CONCORD_PLUGIN_TYPES_VALUE_TIME: to.val.time = from->val.time; break;
    case CONCORD_PLUGIN_TYPES_VALUE_TIMESTAMP: to.val.timestamp = from->val.timestamp; break;
    case CONCORD_PLUGIN_TYPES_VALUE_INSTANT: to.val.instant = from->val.instant; break;
    case CONCORD_PLUGIN_TYPES_VALUE_JSON: to.val.json = own(from->val.json); break;
    case CONCORD_PLUGIN_TYPES_VALUE_UUID: to.val.uuid = own(from->val.uuid); break;
    default: abort();
    }
    return to;
}

static void answer(const exports_concord_plugin_resolver_conflict_t *conflict,
                   exports_concord_plugin_resolver_result_resolution_problem_t *to) {
    memset(to, 0, sizeof *to);
    const exports_concord_plugin_resolver_version_t *latest = &conflict->versions.ptr[conflict->latest];
    if (!latest->row.is_some) {
        to->val.ok.tag = EXPORTS_CONCORD_PLUGIN_RESOLVER_RESOLUTION_DELETE;
        return;
    }
    exports_concord_plugin_resolver_row_t row = latest->row.val;
    bool more = false;
    if (row.ptr[1].tag == CONCORD_PLUGIN_TYPES_VALUE_TEXT) {
        text note = row.ptr[1].val.text;
        more = is(note, "more");
        if (is(note, "problem")) {
            to->is_err = true;
            poison(&to->val.err);
            return;
        }
        if (is(note, "error")) abort();
        if (is(note, "endless")) {
            for (volatile int turn = 0;; turn = turn + 1) {}
        }
        if (is(note, "memory")) {
            for (;;) memset(reserve(1 << 20), 1, 1 << 20);
        }
    }
    exports_concord_plugin_resolver_row_t merged = {reserve(row.len * sizeof *row.ptr), row.len};
    for (size_t at = 0; at < row.len; at++) {
        merged.ptr[at] = copy(&row.ptr[at]);
        bool whole = merged.ptr[at].tag == CONCORD_PLUGIN_TYPES_VALUE_INTEGER;
        if (more && whole && merged.ptr[at].val.integer > 1) merged.ptr[at].val.integer++;
    }
    to->val.ok.tag = EXPORTS_CONCORD_PLUGIN_RESOLVER_RESOLUTION_MERGED;
    to->val.ok.val.merged = merged;
}

void exports_concord_plugin_resolver_resolve(exports_concord_plugin_resolver_list_conflict_t *conflicts,
                                             exports_concord_plugin_resolver_list_result_resolution_problem_t *answers) {
    answers->len = conflicts->len;
    answers->ptr = reserve(answers->len * sizeof *answers->ptr);
    for (size_t at = 0; at < conflicts->len; at++) answer(&conflicts->ptr[at], &answers->ptr[at]);
}
