// A resolver that takes the version with the shortest text in a column, which the configuration names.
#include "resolver_plugin.h"

#include <stdlib.h>
#include <string.h>

typedef resolver_plugin_string_t text;

// What may lie in constants is not freed: see libc.c.
static text constant(const char *chars) { return (text){(uint8_t *)chars, strlen(chars)}; }

static bool same(text one, text other) { return one.len == other.len && memcmp(one.ptr, other.ptr, one.len) == 0; }

static size_t place;

void exports_concord_plugin_describe_describe(exports_concord_plugin_describe_description_t *description) {
    memset(description, 0, sizeof *description);
    description->name = constant("shortest");
    description->version = constant("0.1.0");
    description->summary = constant("The version with the shortest text in a column wins");
    description->config_schema = constant("{\"type\": \"object\", \"additionalProperties\": false, \"required\": [\"column\"],"
                                          " \"properties\": {\"column\": {\"type\": \"string\"}}}");
}

static bool problem(concord_plugin_types_problem_t *problem, const char *code, const char *message) {
    memset(problem, 0, sizeof *problem);
    problem->code = constant(code);
    problem->message = constant(message);
    return false;
}

// The text in {"column":"…"}, which by the schema is all that can be there; false if it is written with escapes.
static bool named(text config, text *column) {
    size_t quotes = 0;
    for (size_t at = 0; at < config.len; at++) {
        if (config.ptr[at] == '\\') return false;
        if (config.ptr[at] != '"') continue;
        if (++quotes == 3) column->ptr = config.ptr + at + 1;
        if (quotes == 4) column->len = (size_t)(config.ptr + at - column->ptr);
    }
    return quotes == 4;
}

bool exports_concord_plugin_resolver_open(exports_concord_plugin_resolver_context_t *context,
                                          exports_concord_plugin_resolver_needs_t *needs,
                                          exports_concord_plugin_resolver_problem_t *why) {
    memset(needs, 0, sizeof *needs);
    text column;
    if (!named(context->config, &column)) return problem(why, "column-name", "the name of the column needs no escapes");
    for (place = 0; place < context->table.columns.len; place++) {
        if (same(context->table.columns.ptr[place].name, column)) return true;
    }
    return problem(why, "unknown-column", "the table has no such column");
}

// In characters; a row without the text, or no row at all, has the shortest.
static size_t length(const exports_concord_plugin_resolver_version_t *version) {
    if (!version->row.is_some) return 0;
    const concord_plugin_types_value_t *value = &version->row.val.ptr[place];
    if (value->tag != CONCORD_PLUGIN_TYPES_VALUE_TEXT) return 0;
    size_t count = 0;
    for (size_t at = 0; at < value->val.text.len; at++) count += (value->val.text.ptr[at] & 0xC0) != 0x80;
    return count;
}

// Whether the version at one place comes before that at another. Of equals the latest: nobody's place may matter.
static bool before(const exports_concord_plugin_resolver_conflict_t *conflict, size_t one, size_t other) {
    const exports_concord_plugin_resolver_version_t *versions = conflict->versions.ptr;
    size_t first = length(&versions[one]), second = length(&versions[other]);
    if (first != second) return first < second;
    if (versions[one].time != versions[other].time) return versions[one].time > versions[other].time;
    return one == conflict->latest;
}

void exports_concord_plugin_resolver_resolve(exports_concord_plugin_resolver_list_conflict_t *conflicts,
                                             exports_concord_plugin_resolver_list_result_resolution_problem_t *answers) {
    answers->len = conflicts->len;
    answers->ptr = malloc(answers->len * sizeof *answers->ptr);
    if (!answers->ptr) abort();
    for (size_t at = 0; at < conflicts->len; at++) {
        const exports_concord_plugin_resolver_conflict_t *conflict = &conflicts->ptr[at];
        size_t shortest = 0;
        for (size_t other = 1; other < conflict->versions.len; other++) {
            if (before(conflict, other, shortest)) shortest = other;
        }
        answers->ptr[at].is_err = false;
        answers->ptr[at].val.ok.tag = EXPORTS_CONCORD_PLUGIN_RESOLVER_RESOLUTION_TAKE;
        answers->ptr[at].val.ok.val.take = (uint32_t)shortest;
    }
}
