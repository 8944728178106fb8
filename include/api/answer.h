#ifndef POSTERN_API_ANSWER_H
#define POSTERN_API_ANSWER_H

#include "api/call.h"

/* The answer to OPTIONS of a path that has routes. */
void answer_options(struct call *c);

/*
 * Make c->res whole: the refusal p, if it is one, and the headers of every
 * answer; then log and count it.
 */
void answer_finish(struct call *c, enum problem p);

#endif
