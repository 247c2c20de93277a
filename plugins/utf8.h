/* utf8.h - where characters end (RFC 3629, section 4): no overlong forms, no surrogates. For plugins, which have nothing
 * of src/. */
#ifndef PLUGINS_UTF8_H
#define PLUGINS_UTF8_H

#include <stddef.h>

/* U+FFFD, for what is none. */
#define UTF8_REPLACEMENT "\xEF\xBF\xBD"

/* The bytes of the character at `text`, of which `left` bytes are there; 0: it is none. */
static inline unsigned utf8_length(const char *text, size_t left)
{
	const unsigned char *p = (const unsigned char *)text;
	const unsigned n = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	const unsigned char low = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : 0x80;
	const unsigned char high = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : 0xbf;

	if (n == 1)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4 || left < n || p[1] < low || p[1] > high)
		return 0;
	for (unsigned i = 2; i < n; i++) {
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	}
	return n;
}

#endif
