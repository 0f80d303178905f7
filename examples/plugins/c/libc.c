// The few functions of a C library that the bindings want. A plugin computes an answer and keeps nothing but what it learnt when it
// was opened, so memory is one stretch, all of which behind that is begun anew after each answer.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

extern uint8_t __heap_base;
static uintptr_t used, kept;

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

void keep(void) { kept = used; }

void forget(void) { used = kept; }

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
