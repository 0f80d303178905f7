// A resolver that takes the version with the shortest text in a column, which the configuration names.
#include "resolver_plugin.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

// Built without exceptions, what is out of memory has to stop here, or it would go on at address 0.
void *operator new(std::size_t size) {
    if (void *block = std::malloc(size)) return block;
    std::abort();
}
void operator delete(void *block) noexcept { std::free(block); }
void operator delete(void *block, std::size_t) noexcept { std::free(block); }

namespace {

using Text = resolver_plugin_string_t;
using Conflict = exports_concord_plugin_resolver_conflict_t;
using Answer = exports_concord_plugin_resolver_result_resolution_problem_t;

size_t place;

std::string_view view(const Text &text) { return {reinterpret_cast<const char *>(text.ptr), text.len}; }

// What is answered is freed by the bindings, so it is a copy.
Text copy(std::string_view text) {
    Text to;
    resolver_plugin_string_dup_n(&to, text.data(), text.size());
    return to;
}

// The text in {"column":"…"}, which by the schema is all that can be there; nothing if it is written with escapes.
std::optional<std::string_view> named(std::string_view config) {
    if (config.find('\\') != config.npos) return std::nullopt;
    size_t end = config.rfind('"'), begin = end == config.npos ? end : config.rfind('"', end - 1);
    if (begin == config.npos) return std::nullopt;
    return config.substr(begin + 1, end - begin - 1);
}

// In characters; a row without the text, or no row at all, has the shortest.
size_t length(const exports_concord_plugin_resolver_version_t &version) {
    if (!version.row.is_some) return 0;
    const auto &value = version.row.val.ptr[place];
    if (value.tag != CONCORD_PLUGIN_TYPES_VALUE_TEXT) return 0;
    auto text = view(value.val.text);
    return std::count_if(text.begin(), text.end(), [](unsigned char byte) { return (byte & 0xC0) != 0x80; });
}

uint32_t shortest(const Conflict &conflict) {
    const auto *versions = conflict.versions.ptr;
    std::vector<size_t> lengths;
    std::transform(versions, versions + conflict.versions.len, std::back_inserter(lengths), length);
    // Of equals the latest: nobody's place in the list may matter.
    auto before = [&](uint32_t one, uint32_t other) {
        if (lengths[one] != lengths[other]) return lengths[one] < lengths[other];
        if (versions[one].time != versions[other].time) return versions[one].time > versions[other].time;
        return one == conflict.latest;
    };
    uint32_t best = 0;
    for (uint32_t at = 1; at < conflict.versions.len; at++) {
        if (before(at, best)) best = at;
    }
    return best;
}

} // namespace

void exports_concord_plugin_describe_describe(exports_concord_plugin_describe_description_t *description) {
    *description = {};
    description->name = copy("shortest");
    description->version = copy("0.1.0");
    description->summary = copy("The version with the shortest text in a column wins");
    description->config_schema = copy(R"({"type": "object", "additionalProperties": false, "required": ["column"],
        "properties": {"column": {"type": "string"}}})");
}

bool exports_concord_plugin_resolver_open(exports_concord_plugin_resolver_context_t *context,
                                          exports_concord_plugin_resolver_needs_t *needs,
                                          exports_concord_plugin_resolver_problem_t *problem) {
    *needs = {};
    *problem = {};
    bool found = false;
    if (auto column = named(view(context->config)); !column) {
        problem->code = copy("column-name");
        problem->message = copy("the name of the column needs no escapes");
    } else {
        const auto &columns = context->table.columns;
        auto is_it = [&](const auto &known) { return view(known.name) == *column; };
        place = std::find_if(columns.ptr, columns.ptr + columns.len, is_it) - columns.ptr;
        found = place < columns.len;
        if (!found) {
            problem->code = copy("unknown-column");
            problem->message = copy("the table has no such column");
            problem->column = {true, copy(*column)};
        }
    }
    exports_concord_plugin_resolver_context_free(context);
    return found;
}

void exports_concord_plugin_resolver_resolve(exports_concord_plugin_resolver_list_conflict_t *conflicts,
                                             exports_concord_plugin_resolver_list_result_resolution_problem_t *answers) {
    answers->len = conflicts->len;
    answers->ptr = static_cast<Answer *>(std::calloc(answers->len, sizeof(Answer)));
    if (!answers->ptr) std::abort();
    for (size_t at = 0; at < conflicts->len; at++) {
        answers->ptr[at].val.ok.tag = EXPORTS_CONCORD_PLUGIN_RESOLVER_RESOLUTION_TAKE;
        answers->ptr[at].val.ok.val.take = shortest(conflicts->ptr[at]);
    }
    exports_concord_plugin_resolver_list_conflict_free(conflicts);
}
