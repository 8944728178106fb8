#ifndef POSTERN_API_ACCESS_LOG_H
#define POSTERN_API_ACCESS_LOG_H

#include "api/call.h"

/* Log and count c, whose answer is made; p: why it is a refusal, P_NONE if it
 * is none. */
void access_log(const struct call *c, enum problem p);

#endif
