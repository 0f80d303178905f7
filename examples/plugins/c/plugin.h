// What the plugins here have in common. It is included where `text` is what a role's bindings have for strings.
#pragma once
#include <stdlib.h>
#include <string.h>

// What may lie in constants is not freed: see libc.c.
static inline text constant(const char *chars) { return (text){(uint8_t *)chars, strlen(chars)}; }

static inline bool same(text one, text other) { return one.len == other.len && memcmp(one.ptr, other.ptr, one.len) == 0; }

// Without memory there is no answer.
static inline void *reserve(size_t size) {
    void *block = malloc(size);
    if (!block) abort();
    return block;
}

// Says what is wrong with a column, and that something is.
static inline bool problem(concord_plugin_types_problem_t *problem, const char *code, const char *message, text column) {
    memset(problem, 0, sizeof *problem);
    problem->code = constant(code);
    problem->message = constant(message);
    problem->column.is_some = true;
    problem->column.val = column;
    return false;
}

// The place of a column in the table; false, with the problem, if there is none of that name.
static inline bool place_of(const concord_plugin_types_context_t *context, text column, size_t *place,
                            concord_plugin_types_problem_t *why) {
    for (*place = 0; *place < context->table.columns.len; ++*place) {
        if (same(context->table.columns.ptr[*place].name, column)) return true;
    }
    return problem(why, "unknown-column", "the table has no such column", column);
}

typedef struct {
    text *ptr;
    size_t len;
} texts;

static inline bool among(texts all, text one) {
    for (size_t at = 0; at < all.len; at++) {
        if (same(all.ptr[at], one)) return true;
    }
    return false;
}

// What the four digits after `\u` stand for.
static inline uint32_t unit(const uint8_t *digits) {
    uint32_t number = 0;
    for (size_t at = 0; at < 4; at++) number = number << 4 | ((digits[at] & 15) + (digits[at] > '9' ? 9 : 0));
    return number;
}

// The string of a JSON document whose opening quote stands at `*at`, which is moved behind the closing one.
static inline text unquoted(const uint8_t **at) {
    const uint8_t *from = *at + 1, *end = from;
    while (*end != '"') end += *end == '\\' ? 2 : 1;
    // With its escapes it is longer than without.
    uint8_t *bytes = reserve((size_t)(end - from)), *to = bytes;
    while (from < end) {
        if (*from != '\\') {
            *to++ = *from++;
            continue;
        }
        uint32_t sign = from[1];
        from += 2;
        switch (sign) {
        case 'b': sign = '\b'; break;
        case 'f': sign = '\f'; break;
        case 'n': sign = '\n'; break;
        case 'r': sign = '\r'; break;
        case 't': sign = '\t'; break;
        case 'u':
            sign = unit(from);
            from += 4;
            // What lies beyond 16 bits is written as two of them.
            if (sign >> 10 == 0xD800 >> 10 && from[0] == '\\' && from[1] == 'u') {
                sign = 0x10000 + ((sign & 0x3FF) << 10 | (unit(from + 2) & 0x3FF));
                from += 6;
            }
            break;
        }
        size_t more = sign < 0x80 ? 0 : sign < 0x800 ? 1 : sign < 0x10000 ? 2 : 3;
        *to++ = (uint8_t)(more ? 0xFF00u >> (more + 1) | sign >> 6 * more : sign);
        while (more--) *to++ = (uint8_t)(0x80 | (sign >> 6 * more & 0x3F));
    }
    *at = end + 1;
    return (text){bytes, (size_t)(to - bytes)};
}

// What the configuration has under a name: a text, all those of a list, or nothing. By the schemas here, and the host sees to it, it is
// an object of texts and lists of texts.
static inline texts configured(text config, const char *name) {
    // A text takes two quotes at least.
    texts found = {reserve(config.len / 2 * sizeof *found.ptr), 0};
    bool in_value = false, in_list = false, wanted = false;
    for (const uint8_t *at = config.ptr, *end = at + config.len; at < end;) {
        if (*at == '"') {
            text here = unquoted(&at);
            if (!in_value) wanted = same(here, constant(name));
            else if (wanted) found.ptr[found.len++] = here;
            continue;
        }
        if (*at == ':') in_value = true;
        if (*at == '[') in_list = true;
        if (*at == ']') in_list = false;
        if (*at == ',' && !in_list) in_value = false;
        at++;
    }
    return found;
}
