// A resolver that takes the version with the shortest text in a column, which the configuration names.
#include "resolver_plugin.h"

typedef resolver_plugin_string_t text;
#include "plugin.h"

static size_t place;

void exports_concord_plugin_describe_describe(exports_concord_plugin_describe_description_t *description) {
    memset(description, 0, sizeof *description);
    description->name = constant("shortest");
    description->version = constant("0.1.0");
    description->summary = constant("The version with the shortest text in a column wins");
    description->config_schema = constant("{\"type\": \"object\", \"additionalProperties\": false, \"required\": [\"column\"],"
                                          " \"properties\": {\"column\": {\"type\": \"string\"}}}");
}

bool exports_concord_plugin_resolver_open(exports_concord_plugin_resolver_context_t *context,
                                          exports_concord_plugin_resolver_needs_t *needs,
                                          exports_concord_plugin_resolver_problem_t *why) {
    memset(needs, 0, sizeof *needs);
    return place_of(context, configured(context->config, "column").ptr[0], &place, why);
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
    answers->ptr = reserve(answers->len * sizeof *answers->ptr);
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
