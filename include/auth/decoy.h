#ifndef POSTERN_AUTH_DECOY_H
#define POSTERN_AUTH_DECOY_H

#include "auth/material.h"
#include "base/config.h"

/*
 * A made-up app that stands in for one that is not there, or must not be used,
 * so that like costs alike by time: its material is drawn and sealed like any
 * app's, and nobody has it. (Its row is data/app_store.c's, in the same
 * statement as all others.)
 */
struct decoy;

/* cfg stays the caller's, for as long. */
struct decoy *decoy_new(const struct config *cfg);
void decoy_free(struct decoy *d); /* accepts NULL */

/* The work of opening an app's sealed material, where there is none. */
void decoy_open(const struct decoy *d);

/* Borrowed: what to verify with in place of an app's. What it verifies is
 * nobody's token all the same. */
const struct material *decoy_material(const struct decoy *d);

#endif
