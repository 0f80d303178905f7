// What the bindings want of the C library; libc.c has it.
#pragma once
#include <stddef.h>

void *malloc(size_t size);
void *realloc(void *old, size_t size);
void free(void *block);
_Noreturn void abort(void);

// What no other library has. What `malloc` has given so far stays; `open` ends with it.
void keep(void);
// Everything given since then is given anew: what is in `roles` calls it after each answer.
void forget(void);
