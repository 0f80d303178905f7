// The few functions of a C library that the bindings want. A plugin computes an answer and keeps nothing, so memory is one
// stretch that is begun anew after each answer.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

extern uint8_t __heap_base;
static uintptr_t used;

void *malloc(size_t size) {
    if (used == 0) used = (uintptr_t)&__heap_base;
    uintptr_t start = (used + 15) & ~(uintptr_t)15;
    uintptr_t end = start + size;
    if (end < start) return NULL;
    size_t there = __builtin_wasm_memory_size(0) << 16;
    if (end > there && __builtin_wasm_memory_grow(0, (end - there + 0xffff) >> 16) == (size_t)-1) return NULL;
    used = end;
    return (void *)start;
}

void free(void *block) { (void)block; }

void *realloc(void *old, size_t size) {
    void *block = malloc(size);
    // What was there lies below, so as many bytes from there on are in memory.
    if (block && old) memcpy(block, old, size);
    return block;
}

void abort(void) { __builtin_trap(); }

// With -mbulk-memory the compiler has instructions for the first two.
void *memcpy(void *to, const void *from, size_t size) {
    for (size_t at = 0; at < size; at++) ((uint8_t *)to)[at] = ((const uint8_t *)from)[at];
    return to;
}

void *memset(void *to, int byte, size_t size) {
    for (size_t at = 0; at < size; at++) ((uint8_t *)to)[at] = (uint8_t)byte;
    return to;
}

int memcmp(const void *one, const void *other, size_t size) {
    for (size_t at = 0; at < size; at++) {
        int less = ((const uint8_t *)one)[at] - ((const uint8_t *)other)[at];
        if (less) return less;
    }
    return 0;
}

size_t strlen(const char *text) {
    size_t size = 0;
    while (text[size]) size++;
    return size;
}

// Stands for an object file that says what the module serves; `concord plugin build --role` says it instead.
void __component_type_object_force_link_resolver_plugin(void) {}

// Called by the host once it has read the answers, in place of what the bindings would do.
__attribute__((__export_name__("cabi_post_concord:plugin/resolver@0.1.0#resolve"))) void
__wasm_export_exports_concord_plugin_resolver_resolve_post_return(uint8_t *answers) {
    (void)answers;
    used = 0;
}
