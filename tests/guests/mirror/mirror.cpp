// A resolver in C++ that answers the latest version as it came, or does what the version's note says.
#include "resolver_plugin.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string_view>
#include <vector>

void *operator new(std::size_t size) {
    if (void *block = std::malloc(size)) return block;
    std::abort();
}
void operator delete(void *block) noexcept { std::free(block); }
void operator delete(void *block, std::size_t) noexcept { std::free(block); }

namespace {

using Text = resolver_plugin_string_t;
using Value = concord_plugin_types_value_t;
using Problem = concord_plugin_types_problem_t;
using Answer = exports_concord_plugin_resolver_result_resolution_problem_t;

std::string_view view(const Text &text) { return {reinterpret_cast<const char *>(text.ptr), text.len}; }

Text copy(std::string_view text) {
    Text to;
    resolver_plugin_string_dup_n(&to, text.data(), text.size());
    return to;
}

Problem poison() { return {copy("bad-note"), copy("the note is poison"), {true, copy("note")}, {true, copy("a hint")}}; }

// A value of its own, of what came.
Value copy(const Value &from) {
    Value to{};
    to.tag = from.tag;
    switch (from.tag) {
    case CONCORD_PLUGIN_TYPES_VALUE_NULL: break;
    case CONCORD_PLUGIN_TYPES_VALUE_BOOLEAN: to.val.boolean = from.val.boolean; break;
    case CONCORD_PLUGIN_TYPES_VALUE_INTEGER: to.val.integer = from.val.integer; break;
    case CONCORD_PLUGIN_TYPES_VALUE_UNSIGNED: to.val.unsigned_ = from.val.unsigned_; break;
    case CONCORD_PLUGIN_TYPES_VALUE_FLOAT: to.val.float_ = from.val.float_; break;
    case CONCORD_PLUGIN_TYPES_VALUE_DECIMAL: to.val.decimal = copy(view(from.val.decimal)); break;
    case CONCORD_PLUGIN_TYPES_VALUE_TEXT: to.val.text = copy(view(from.val.text)); break;
    case CONCORD_PLUGIN_TYPES_VALUE_BYTES:
        to.val.bytes = {static_cast<uint8_t *>(std::malloc(from.val.bytes.len)), from.val.bytes.len};
        std::copy_n(from.val.bytes.ptr, from.val.bytes.len, to.val.bytes.ptr);
        break;
    case CONCORD_PLUGIN_TYPES_VALUE_DATE: to.val.date = from.val.date; break;
    case CONCORD_PLUGIN_TYPES_VALUE_TIME: to.val.time = from.val.time; break;
    case CONCORD_PLUGIN_TYPES_VALUE_TIMESTAMP: to.val.timestamp = from.val.timestamp; break;
    case CONCORD_PLUGIN_TYPES_VALUE_INSTANT: to.val.instant = from.val.instant; break;
    case CONCORD_PLUGIN_TYPES_VALUE_JSON: to.val.json = copy(view(from.val.json)); break;
    case CONCORD_PLUGIN_TYPES_VALUE_UUID: to.val.uuid = copy(view(from.val.uuid)); break;
    default: std::abort();
    }
    return to;
}

Answer answer(const exports_concord_plugin_resolver_conflict_t &conflict) {
    Answer to{};
    const auto &latest = conflict.versions.ptr[conflict.latest];
    if (!latest.row.is_some) {
        to.val.ok.tag = EXPORTS_CONCORD_PLUGIN_RESOLVER_RESOLUTION_DELETE;
        return to;
    }
    const auto &row = latest.row.val;
    std::string_view note = row.ptr[1].tag == CONCORD_PLUGIN_TYPES_VALUE_TEXT ? view(row.ptr[1].val.text) : "";
    if (note == "problem") {
        to.is_err = true;
        to.val.err = poison();
        return to;
    }
    // Without exceptions what throws gives up.
    if (note == "error") (void)std::vector<int>().at(row.len);
    if (note == "endless") for (volatile int turn = 0;; turn = turn + 1) {}
    if (note == "memory") {
        std::vector<std::vector<char>> kept;
        for (;;) kept.emplace_back(1 << 20, 1);
    }
    auto *merged = static_cast<Value *>(std::malloc(row.len * sizeof(Value)));
    std::transform(row.ptr, row.ptr + row.len, merged, [&](const Value &value) {
        Value own = copy(value);
        if (note == "more" && own.tag == CONCORD_PLUGIN_TYPES_VALUE_INTEGER && own.val.integer > 1) own.val.integer++;
        return own;
    });
    to.val.ok.tag = EXPORTS_CONCORD_PLUGIN_RESOLVER_RESOLUTION_MERGED;
    to.val.ok.val.merged = {merged, row.len};
    return to;
}

} // namespace

void exports_concord_plugin_describe_describe(exports_concord_plugin_describe_description_t *description) {
    *description = {};
    description->name = copy("mirror");
    description->version = copy("0.1.0");
    description->summary = copy("What it is given, as it is");
    description->config_schema = copy(R"({"type": "object"})");
}

bool exports_concord_plugin_resolver_open(exports_concord_plugin_resolver_context_t *context,
                                          exports_concord_plugin_resolver_needs_t *needs,
                                          exports_concord_plugin_resolver_problem_t *problem) {
    *needs = {};
    auto config = view(context->config);
    if (config.find("\"error\"") != config.npos) (void)std::vector<int>().at(config.size());
    if (config.find("\"problem\"") == config.npos) return true;
    *problem = poison();
    return false;
}

void exports_concord_plugin_resolver_resolve(exports_concord_plugin_resolver_list_conflict_t *conflicts,
                                             exports_concord_plugin_resolver_list_result_resolution_problem_t *answers) {
    *answers = {static_cast<Answer *>(std::malloc(conflicts->len * sizeof(Answer))), conflicts->len};
    if (!answers->ptr) std::abort();
    std::transform(conflicts->ptr, conflicts->ptr + conflicts->len, answers->ptr, answer);
    exports_concord_plugin_resolver_list_conflict_free(conflicts);
}
