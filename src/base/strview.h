/* strview.h - a text that somebody else owns: pointer and length, no NUL. */
#ifndef BASE_STRVIEW_H
#define BASE_STRVIEW_H

#include <string.h>
#include <strings.h>

#include "base/common.h"

struct strview {
	const char *p;
	size_t len;
};

#define SV(literal) ((struct strview){ (literal), sizeof(literal) - 1 })
/* For printf("%.*s", SV_ARG(v)). */
#define SV_ARG(v) (int)(v).len, (v).p

static inline struct strview sv_from(const char *s)
{
	return (struct strview){ s, s ? strlen(s) : 0 };
}

static inline bool sv_equal(struct strview a, struct strview b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

/* ASCII letters of either case are equal; bytes above 127 must match exactly. */
static inline bool sv_equal_nocase(struct strview a, struct strview b)
{
	return a.len == b.len && (a.len == 0 || strncasecmp(a.p, b.p, a.len) == 0);
}

static inline bool sv_starts_with(struct strview s, struct strview prefix)
{
	return s.len >= prefix.len && memcmp(s.p, prefix.p, prefix.len) == 0;
}

#endif
