#ifndef POSTERN_BASE_DECIMAL_H
#define POSTERN_BASE_DECIMAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decimal digits only (no sign, no space), min <= value <= max. */
bool decimal_parse(
    const char *s, size_t len, uint64_t min, uint64_t max, uint64_t *out);

#endif
