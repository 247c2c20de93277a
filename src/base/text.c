/* text.c - see text.h */
#include "base/text.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* DNS: 253 characters (RFC 1035, section 2.3.4, less the root's dot and length bytes). */
#define HOST_NAME_MAX_LEN 253
/* More than any password; keeps a wrong file name (a device, a log) from filling the memory. */
#define SECRET_MAX 4096

const char *text_show(const char *text, char out[TEXT_SHOWN_MAX])
{
	size_t n = 0;

	for (; text[n] && n < TEXT_SHOWN_MAX - 4; n++)
		out[n] = isprint((unsigned char)text[n]) ? text[n] : '?';
	strcpy(out + n, text[n] ? "..." : "");
	return out;
}

char *text_trim(char *text)
{
	size_t len;

	while (isspace((unsigned char)*text))
		text++;
	len = strlen(text);
	while (len > 0 && isspace((unsigned char)text[len - 1]))
		text[--len] = '\0';
	return text;
}

bool text_is_one_of(const char *text, const char *const *words, bool fold)
{
	for (; *words; words++) {
		if ((fold ? strcasecmp(text, *words) : strcmp(text, *words)) == 0)
			return true;
	}
	return false;
}

bool text_decimal(const char *text, int64_t *value, const char **end)
{
	const char *first = text + (*text == '-');
	const char *p = first;

	*value = 0;
	for (; isdigit((unsigned char)*p); p++) {
		if (*value > (INT64_MAX - 9) / 10)
			*value = INT64_MAX;
		else
			*value = *value * 10 + (*p - '0');
	}
	if (*text == '-')
		*value = -*value;
	*end = p;
	return p > first;
}

static int digit_value(char c)
{
	if (isdigit((unsigned char)c))
		return c - '0';
	if (isalpha((unsigned char)c))
		return tolower((unsigned char)c) - 'a' + 10;
	return 99;
}

/* The digits behind sign and prefix; `separable` says whether a '_' may come first, as it may after a prefix. */
static bool go_digits(const char *p, int base, bool separable, bool negative, int64_t *value)
{
	bool digit = false;

	*value = 0;
	for (; *p; p++) {
		if (*p == '_') {
			if (!separable)
				return false;
			separable = false;
			continue;
		}
		if (digit_value(*p) >= base || __builtin_mul_overflow(*value, base, value) ||
		    __builtin_add_overflow(*value, negative ? -digit_value(*p) : digit_value(*p), value))
			return false;
		separable = true;
		digit = true;
	}
	return digit && p[-1] != '_';
}

bool text_go_integer(const char *text, int64_t *value)
{
	bool negative = *text == '-';
	char mark;

	if (*text == '-' || *text == '+')
		text++;
	if (text[0] != '0' || !text[1])
		return go_digits(text, 10, false, negative, value);
	mark = (char)tolower((unsigned char)text[1]);
	if (mark == 'x' || mark == 'o' || mark == 'b')
		return go_digits(text + 2, mark == 'x' ? 16 : mark == 'o' ? 8 : 2, true, negative, value);
	return go_digits(text + 1, 8, true, negative, value);
}

bool text_float(const char *text, double *value)
{
	static const char digits[] = "0123456789";
	const char *p = text + strspn(text, "+-");
	size_t whole, fraction = 0;
	char *end;

	if (p > text + 1)
		return false;
	whole = strspn(p, digits);
	p += whole;
	if (*p == '.') {
		fraction = strspn(++p, digits);
		p += fraction;
	}
	if (whole + fraction == 0)
		return false;
	if (*p == 'e' || *p == 'E') {
		p++;
		p += *p == '+' || *p == '-';
		if (!isdigit((unsigned char)*p))
			return false;
		p += strspn(p, digits);
	}
	if (*p)
		return false;
	*value = strtod(text, &end);
	return *end == '\0' && isfinite(*value);
}

/* An address literal, in the brackets of a URL or bare, into `out` without them. */
static bool literal_copy(const char *text, char *out, size_t out_size)
{
	uint8_t raw[16];
	size_t len = strlen(text);
	bool brackets = len > 2 && text[0] == '[' && text[len - 1] == ']';

	if (len >= out_size)
		return false;
	memcpy(out, brackets ? text + 1 : text, brackets ? len - 2 : len);
	out[brackets ? len - 2 : len] = '\0';
	return inet_pton(AF_INET6, out, raw) == 1 || (!brackets && inet_pton(AF_INET, out, raw) == 1);
}

char *text_ip_literal(const char *text)
{
	char literal[INET6_ADDRSTRLEN + 2];

	return literal_copy(text, literal, sizeof(literal)) ? xstrdup(literal) : NULL;
}

/* Letters, digits, '-', '_' and single dots: what resolvers find in practice, wider than RFC 952 by the '_'. */
static bool is_host_name(const char *text, size_t len)
{
	if (len == 0 || len > HOST_NAME_MAX_LEN || text[0] == '.' || text[0] == '-')
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)text[i]) && !strchr("-_.", text[i]))
			return false;
		if (i > 0 && text[i] == '.' && text[i - 1] == '.')
			return false;
	}
	return true;
}

/* "10.0.0.300" and "1234" look like names to a syntax check, but a resolver would take them for odd addresses. */
static bool is_all_numeric(const char *text)
{
	return text[strspn(text, "0123456789.")] == '\0';
}

char *text_host(const char *text)
{
	char *literal = text_ip_literal(text);

	if (literal)
		return literal;
	return is_host_name(text, strlen(text)) && !is_all_numeric(text) ? xstrdup(text) : NULL;
}

bool text_is_host_with_port(const char *text)
{
	const char *colon = strrchr(text, ':');
	size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;

	if (!colon || digits == 0 || colon[1 + digits])
		return false;
	return is_host_name(text, (size_t)(colon - text)) || (text[0] == '[' && colon > text && colon[-1] == ']');
}

void text_split(struct text_items *items, const char *text, bool drop_spaces)
{
	char *rest;

	*items = (struct text_items){ .copy = xstrdup(text) };
	if (drop_spaces) {
		char *to = items->copy;

		for (const char *from = text; *from; from++) {
			if (*from != ' ')
				*to++ = *from;
		}
		*to = '\0';
	}
	rest = items->copy;
	if (!*text_trim(rest))
		return;
	while (rest) {
		char *item = strsep(&rest, ",");

		items->item = xrealloc(items->item, (items->count + 1) * sizeof(*items->item));
		items->item[items->count++] = text_trim(item);
	}
}

void text_items_free(struct text_items *items)
{
	free(items->item);
	free(items->copy);
	*items = (struct text_items){ NULL, NULL, 0 };
}

char *text_read_secret(const char *path, char *what, size_t what_size)
{
	char buffer[SECRET_MAX + 2];
	FILE *f = fopen(path, "re");
	char *secret = NULL;
	size_t n;

	if (!f) {
		snprintf(what, what_size, "cannot open the file %s: %s", path, strerror(errno));
		return NULL;
	}
	setvbuf(f, NULL, _IONBF, 0);
	n = fread(buffer, 1, sizeof(buffer) - 1, f);
	if (ferror(f)) {
		snprintf(what, what_size, "cannot read the file %s: %s", path, strerror(errno));
		n = 0;
	} else {
		if (n > 0 && buffer[n - 1] == '\n')
			n -= n > 1 && buffer[n - 2] == '\r' ? 2 : 1;
		if (n == 0)
			snprintf(what, what_size, "the file %s is empty", path);
		else if (n > SECRET_MAX)
			snprintf(what, what_size, "the file %s is larger than %d bytes", path, SECRET_MAX);
		else if (memchr(buffer, '\0', n) || memchr(buffer, '\n', n))
			snprintf(what, what_size, "the file %s has more than one line or a NUL byte", path);
		else
			secret = xstrndup(buffer, n);
	}
	fclose(f);
	explicit_bzero(buffer, sizeof(buffer));
	return secret;
}
