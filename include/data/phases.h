#ifndef POSTERN_DATA_PHASES_H
#define POSTERN_DATA_PHASES_H

#include "data/link.h"

/* The phases of a link's life. For src/data/{phases,db}.c. */
extern const struct phase phases_table[LINK_PHASES];

#endif
