#ifndef POSTERN_API_METRICS_H
#define POSTERN_API_METRICS_H

#include "api/call.h"
#include <stddef.h>

/* What a request to the gate is called in the log and in the metrics; "" where
 * it is none. */
const char *api_metrics_gate(enum gate gate);

/* Where base/metrics.h counts a request: by its route, else by the gate. */
size_t api_metrics_route(const struct call *c);

/* And a refusal: by the log's reason for it, or by its problem p where that is
 * the database's state. */
size_t api_metrics_reason(const char *reason, enum problem p);

#endif
