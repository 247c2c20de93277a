/* test_audit_format.c - lines as README.md promises them, and what may stand in a text. */
#include "audit/format.h"

#include <jansson.h>

#include "vectors.h"

#define TEXT(s)                                                                                                        \
	{                                                                                                              \
		(s), sizeof(s) - 1                                                                                     \
	}

/* What the example in README.md is about. */
static void example(struct record *head, struct cqlferry_text *texts)
{
	static uint8_t values[64], tables[64];
	const struct cqlferry_text answer = TEXT("\x00\x00\x00\x2a"), none = { NULL, 0 };
	const struct cqlferry_table table = { TEXT("shop"), TEXT("invoices") };
	uint32_t end = record_value(values, 0, sizeof(values), &answer, 16);
	bool more = false;

	memset(head, 0, sizeof(*head));
	memset(texts, 0, RECORD_TEXTS * sizeof(*texts));
	end = record_value(values, end, sizeof(values), &none, 16);
	head->time = 1772366400123456789u;
	head->event = RECORD_REQUEST;
	head->number = 4711;
	head->client = 42;
	head->port = 50312;
	head->version = 5;
	head->opcode = CQLFERRY_OPCODE_EXECUTE;
	head->kind = CQLFERRY_WRITE;
	head->verb = "INSERT";
	head->is_tls = true;
	head->flags = RECORD_PREPARED | RECORD_VALUES;
	head->statement = RECORD_FULL;
	head->statement_max = 1000;
	head->statement_length = 45;
	head->consistency = 6;
	head->to = CQLFERRY_TO_BOTH;
	head->decided_by = CQLFERRY_BY_RULE;
	head->outcome = CQLFERRY_FAILED;
	head->error_code = 0x1100;
	head->rows = -1;
	head->duration_ns = 2150999;
	head->parts[0].state = CQLFERRY_PART_ERROR;
	head->parts[0].error_code = 0x1100;
	head->parts[0].duration_ns = 2100000;
	head->parts[1].state = CQLFERRY_PART_OK;
	head->parts[1].duration_ns = 890123;
	texts[TEXT_ADDRESS] = (struct cqlferry_text)TEXT("10.1.2.3");
	texts[TEXT_LISTENER] = (struct cqlferry_text)TEXT("apps");
	texts[TEXT_USER] = (struct cqlferry_text)TEXT("billing");
	texts[TEXT_DRIVER] = (struct cqlferry_text)TEXT("DataStax Python Driver");
	texts[TEXT_DRIVER_VERSION] = (struct cqlferry_text)TEXT("3.29.1");
	texts[TEXT_SUBJECT] = (struct cqlferry_text)TEXT("CN=billing,O=Example");
	texts[TEXT_STATEMENT] = (struct cqlferry_text)TEXT("INSERT INTO invoices (id, total) VALUES (?, ?)");
	texts[TEXT_VALUES] = (struct cqlferry_text){ (const char *)values, end };
	texts[TEXT_KEYSPACE] = (struct cqlferry_text)TEXT("shop");
	texts[TEXT_TABLES].data = (const char *)tables;
	texts[TEXT_TABLES].length = record_tables(&table, 1, tables, sizeof(tables), &more);
	texts[TEXT_DECIDER] = (struct cqlferry_text)TEXT("write shop.* both");
	texts[TEXT_TAG] = (struct cqlferry_text)TEXT("migration");
	texts[TEXT_ERROR] = (struct cqlferry_text)TEXT("Operation timed out");
	ck_assert(!more);
}

static uint8_t *written(struct record *head, const struct cqlferry_text *texts, uint32_t *size)
{
	char block[1024];
	struct record_client client = { .bytes = block };
	uint8_t *bytes;

	for (unsigned i = 0; i < RECORD_CLIENT_TEXTS; i++) {
		client.lengths[i] = (uint32_t)texts[i].length;
		if (texts[i].length > 0)
			memcpy(block + client.size, texts[i].data, texts[i].length);
		client.size += client.lengths[i];
	}
	*size = record_size(&client, texts + RECORD_CLIENT_TEXTS);
	bytes = malloc(*size);
	record_write(bytes, head, &client, texts + RECORD_CLIENT_TEXTS);
	return bytes;
}

/* Through the form that it has in the queue. Not terminated; freed by the caller. */
static char *line_of(enum format_kind kind, struct record *head, const struct cqlferry_text *texts)
{
	struct format format = { .kind = kind };
	struct buffer out = { 0 };
	struct record_view view;
	uint32_t size;
	uint8_t *bytes = written(head, texts, &size);

	ck_assert(record_read(&view, bytes, size));
	format_line(&format, &out, &view);
	free(bytes);
	format_fini(&format);
	ck_assert(!out.has_failed);
	buffer_char(&out, '\0');
	return out.data;
}

static char *readme(void)
{
	const char *srcdir = getenv("srcdir");
	char path[4096];
	char *text = malloc(1 << 20);
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "%s/plugins/audit/README.md", srcdir ? srcdir : ".");
	f = fopen(path, "r");
	ck_assert_msg(f != NULL, "cannot open %s", path);
	n = fread(text, 1, (1 << 20) - 1, f);
	text[n] = '\0';
	fclose(f);
	return text;
}

START_TEST(the_example_of_the_readme)
{
	struct cqlferry_text texts[RECORD_TEXTS];
	struct record head;
	char *text = readme(), *line, *shown;

	example(&head, texts);
	line = line_of(FORMAT_JSON, &head, texts);
	shown = strstr(text, "    {\"time\"");
	ck_assert_ptr_nonnull(shown);
	*(strchr(shown, '\n') + 1) = '\0';
	ck_assert_str_eq(line, shown + 4);
	free(line);
	free(text);
}
END_TEST

START_TEST(the_fields_of_the_readme)
{
	char *text = readme();
	char *at = strstr(text, "| --- | --- |\n");

	ck_assert_ptr_nonnull(at);
	for (unsigned i = 0; format_field(i); i++) {
		char row[64];

		at = strchr(at, '\n') + 1;
		snprintf(row, sizeof(row), "| `%s` | ", format_field(i));
		ck_assert_msg(strncmp(at, row, strlen(row)) == 0, "%s: %.40s", row, at);
	}
	at = strchr(at, '\n') + 1;
	ck_assert_int_eq(*at, '\n');
	free(text);
}
END_TEST

START_TEST(csv_has_each_column)
{
	static const char *const columns[] = {
		"2026-03-01T12:00:00.123456Z",
		"request",
		"4711",
		"42",
		"\"10.1.2.3\"",
		"50312",
		"\"apps\"",
		"\"billing\"",
		"\"DataStax Python Driver\"",
		"\"3.29.1\"",
		"5",
		"true",
		"\"CN=billing,O=Example\"",
		"EXECUTE",
		"write",
		"INSERT",
		"true",
		"false",
		"\"INSERT INTO invoices (id, total) VALUES (?, ?)\"",
		"",
		"45",
		"",
		"0x0000002a null",
		"\"shop\"",
		"\"shop.invoices\"",
		"",
		"LOCAL_QUORUM",
		"both",
		"rule",
		"\"write shop.* both\"",
		"\"migration\"",
		"error",
		"origin",
		"0x1100",
		"\"Operation timed out\"",
		"",
		"2150",
		"error",
		"2100",
		"0x1100",
		"ok",
		"890",
		"",
		"",
	};
	struct cqlferry_text texts[RECORD_TEXTS];
	char expected[4096] = "";
	struct record head;
	char *line;

	for (unsigned i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
		ck_assert_ptr_nonnull(format_field(i));
		strcat(strcat(expected, i ? "," : ""), columns[i]);
	}
	ck_assert_ptr_null(format_field(sizeof(columns) / sizeof(columns[0])));
	strcat(expected, "\r\n");
	example(&head, texts);
	line = line_of(FORMAT_CSV, &head, texts);
	ck_assert_str_eq(line, expected);
	free(line);
}
END_TEST

START_TEST(csv_begins_with_its_names)
{
	struct format csv = { .kind = FORMAT_CSV }, json = { .kind = FORMAT_JSON };
	struct buffer out = { 0 };
	unsigned commas = 0, fields = 0;

	format_head(&json, &out);
	ck_assert_uint_eq(out.len, 0);
	format_head(&csv, &out);
	ck_assert_int_eq(memcmp(out.data, "time,event,id,", 14), 0);
	ck_assert_int_eq(memcmp(out.data + out.len - 8, ",count\r\n", 8), 0);
	for (size_t i = 0; i < out.len; i++)
		commas += out.data[i] == ',';
	while (format_field(fields))
		fields++;
	ck_assert_uint_eq(commas, fields - 1);
	buffer_free(&out);
}
END_TEST

#define BAD "\xEF\xBF\xBD"

static const struct {
	struct cqlferry_text text;
	const char *json, *csv;
} escapes[] = {
	{ TEXT(""), NULL, NULL },
	{ TEXT("plain"), "plain", "plain" },
	{ TEXT("a \"b\" \\ c"), "a \\\"b\\\" \\\\ c", "a \"\"b\"\" \\ c" },
	{ TEXT("a\nb\rc\td"), "a\\nb\\rc\\td", "a b c d" },
	{ TEXT("\0\x01\x1f\x7f"), "\\u0000\\u0001\\u001f\\u007f", BAD BAD BAD BAD },
	{ TEXT("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"), "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
	  "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80" },
	{ TEXT("\xff\xfe"), BAD BAD, BAD BAD },
	{ TEXT("\xc0\xaf"), BAD BAD, BAD BAD },             /* overlong */
	{ TEXT("\xed\xa0\x80"), BAD BAD BAD, BAD BAD BAD }, /* a surrogate */
	{ TEXT("\xf4\x90\x80\x80"), BAD BAD BAD BAD, BAD BAD BAD BAD },
	{ TEXT("a\xe2\x82"), "a" BAD BAD, "a" BAD BAD }, /* cut */
	{ TEXT(",;'="), ",;'=", ",;'=" },
};

static void expect_user(enum format_kind kind, struct cqlferry_text user, const char *value)
{
	struct cqlferry_text texts[RECORD_TEXTS];
	char expected[256];
	struct record head;
	char *line;

	example(&head, texts);
	/* Without the zero that a literal ends with. */
	texts[TEXT_USER] = (struct cqlferry_text){ (char *)exact_copy(user.data, user.length), user.length };
	line = line_of(kind, &head, texts);
	snprintf(expected, sizeof(expected),
		 kind == FORMAT_JSON ? ",\"user\":\"%s\",\"driver\"" : ",\"apps\",\"%s\",\"DataStax", value);
	ck_assert_msg(strstr(line, expected) != NULL, "%s in %s", expected, line);
	if (kind == FORMAT_JSON) {
		json_t *parsed = json_loads(line, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);

		ck_assert_ptr_nonnull(parsed);
		json_decref(parsed);
	}
	free((void *)(uintptr_t)texts[TEXT_USER].data);
	free(line);
}

START_TEST(escaped)
{
	if (!escapes[_i].json)
		return;
	expect_user(FORMAT_JSON, escapes[_i].text, escapes[_i].json);
	expect_user(FORMAT_CSV, escapes[_i].text, escapes[_i].csv);
}
END_TEST

static void expect_part(struct record *head, const struct cqlferry_text *texts, const char *part)
{
	char *line = line_of(FORMAT_JSON, head, texts);

	ck_assert_msg(strstr(line, part) != NULL, "%s in %s", part, line);
	free(line);
}

START_TEST(statements)
{
	struct cqlferry_text texts[RECORD_TEXTS];
	struct record head;
	char *line;

	example(&head, texts);
	texts[TEXT_STATEMENT] = (struct cqlferry_text)TEXT("UPDATE t SET a = '\xc3\xa4\xc3\xa4' WHERE k = 17");
	head.statement_max = 20; /* within a character */
	expect_part(&head, texts,
		    "\"statement\":\"UPDATE t SET a = '\xc3\xa4\",\"statement_length\":45,\"statement_cut\":true,");
	head.statement = RECORD_SHAPE;
	head.statement_max = 100;
	expect_part(&head, texts,
		    "\"statement\":\"UPDATE t SET a = ? WHERE k = ?\",\"statement_length\":45,\"values\"");
	head.statement = RECORD_HASH;
	texts[TEXT_STATEMENT] = (struct cqlferry_text)TEXT("abc");
	/* FIPS 180-2, B.1 */
	expect_part(&head, texts,
		    ",\"statement_hash\":\"ba7816bf8f01cfea414140de5dae2223\",\"statement_length\":45,\"values\"");
	head.statement = RECORD_NONE;
	head.flags |= RECORD_CUT;
	line = line_of(FORMAT_JSON, &head, texts);
	ck_assert(!strstr(line, "\"statement\"") && !strstr(line, "statement_hash") && !strstr(line, "statement_cut"));
	free(line);
}
END_TEST

START_TEST(an_error_does_not_quote_a_password)
{
	static const enum record_statement forms[] = { RECORD_FULL, RECORD_SHAPE, RECORD_HASH, RECORD_NONE };
	struct cqlferry_text texts[RECORD_TEXTS];
	struct record head;

	example(&head, texts);
	texts[TEXT_STATEMENT] = (struct cqlferry_text)TEXT("CREATE ROLE r WITH PASSWORD = secret");
	texts[TEXT_ERROR] = (struct cqlferry_text)TEXT("line 1:30 mismatched input 'secret'");
	for (unsigned i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		char *line;

		head.statement = (uint8_t)forms[i];
		line = line_of(FORMAT_JSON, &head, texts);
		ck_assert_msg(!strstr(line, "secret"), "%s", line);
		ck_assert_ptr_nonnull(strstr(line, "\"error\":\"***\""));
		free(line);
	}
	/* The password may stand behind the cut. */
	texts[TEXT_STATEMENT] = (struct cqlferry_text)TEXT("CREATE ROLE r WITH");
	head.flags |= RECORD_CUT;
	for (unsigned i = 0; i < 3; i++) {
		static const uint8_t kinds[] = { CQLFERRY_SCHEMA, CQLFERRY_UNKNOWN, CQLFERRY_WRITE };
		char *line;

		head.kind = kinds[i];
		line = line_of(FORMAT_JSON, &head, texts);
		ck_assert_int_eq(strstr(line, "secret") != NULL, kinds[i] == CQLFERRY_WRITE);
		free(line);
	}
}
END_TEST

START_TEST(values_and_tables_that_are_cut)
{
	static uint8_t values[16], tables[600];
	const struct cqlferry_text nothing = { "", 0 }, bytes = TEXT("\x01\x02\x03\x04");
	struct cqlferry_table many[RECORD_TABLES_MAX + 1];
	struct cqlferry_text texts[RECORD_TEXTS];
	struct record head;
	uint32_t end = 0;
	bool more = false;

	example(&head, texts);
	end = record_value(values, end, sizeof(values), &nothing, 3);
	end = record_value(values, end, sizeof(values), &bytes, 3);
	ck_assert_uint_eq(end, 11);
	ck_assert_uint_eq(record_value(values, end, sizeof(values), &bytes, 3), 0);
	head.flags |= RECORD_MORE_VALUES;
	texts[TEXT_VALUES] = (struct cqlferry_text){ (const char *)values, end };
	expect_part(&head, texts, "\"values\":[\"0x\",\"0x010203...\",\"...\"]");
	texts[TEXT_VALUES].length = 0;
	expect_part(&head, texts, "\"values\":[\"...\"]");

	for (unsigned i = 0; i < RECORD_TABLES_MAX + 1; i++)
		many[i] = (struct cqlferry_table){ i ? (struct cqlferry_text)TEXT("k") : nothing, TEXT("t\"") };
	texts[TEXT_TABLES].data = (const char *)tables;
	texts[TEXT_TABLES].length = record_tables(many, 2, tables, sizeof(tables), &more);
	ck_assert(!more);
	expect_part(&head, texts, "\"tables\":[\"t\\\"\",\"k.t\\\"\"]");
	many[0] = (struct cqlferry_table){ TEXT("k"), nothing };
	texts[TEXT_TABLES].length = record_tables(many, 1, tables, sizeof(tables), &more);
	expect_part(&head, texts, "\"tables\":[\"k\"]");
	record_tables(many, RECORD_TABLES_MAX + 1, tables, sizeof(tables), &more);
	ck_assert(more);
}
END_TEST

START_TEST(other_events)
{
	struct cqlferry_text texts[RECORD_TEXTS];
	struct record head;
	char *line;

	example(&head, texts);
	head.event = RECORD_DROPPED;
	head.count = 18446744073709551615u;
	line = line_of(FORMAT_JSON, &head, texts);
	ck_assert_str_eq(
		line,
		"{\"time\":\"2026-03-01T12:00:00.123456Z\",\"event\":\"dropped\",\"count\":18446744073709551615}\n");
	free(line);
	head.event = RECORD_LOGIN;
	head.outcome = CQLFERRY_LOGIN_REFUSED;
	head.answered_by = CQLFERRY_TARGET;
	head.error_code = 0x100;
	expect_part(
		&head, texts,
		"\"result\":\"refused\",\"answered_by\":\"target\",\"error_code\":\"0x0100\",\"error\":\"Operation timed out\",\"duration_us\":2150}\n");
	head.outcome = CQLFERRY_LOGIN_OK;
	expect_part(&head, texts, "\"tls_subject\":\"CN=billing,O=Example\",\"result\":\"ok\",\"duration_us\":2150}\n");
	head.event = RECORD_DISCONNECT;
	expect_part(&head, texts, "\"event\":\"disconnect\",\"connection\":42,");
}
END_TEST

/* Whatever the numbers are, there is a word, and nothing beyond the record is read. */
START_TEST(numbers_that_there_are_not)
{
	struct cqlferry_text texts[RECORD_TEXTS];
	struct record head;
	char *line;

	example(&head, texts);
	head.kind = head.to = head.decided_by = head.outcome = head.answered_by = 200;
	head.opcode = 1;
	head.consistency = 11;
	head.parts[0].state = 77;
	line = line_of(FORMAT_JSON, &head, texts);
	ck_assert_ptr_nonnull(strstr(line, "\"kind\":\"unknown\""));
	ck_assert_ptr_nonnull(strstr(line, "\"consistency\":\"0x000B\""));
	free(line);
}
END_TEST

START_TEST(records_that_do_not_fit)
{
	struct cqlferry_text texts[RECORD_TEXTS];
	struct record_view view;
	struct record head;
	uint8_t *bytes;
	uint32_t size;

	example(&head, texts);
	bytes = written(&head, texts, &size);
	for (uint32_t n = 0; n < size; n++) {
		uint8_t *cut = exact_copy(bytes, n);

		ck_assert(!record_read(&view, cut, n));
		free(cut);
	}
	ck_assert(record_read(&view, bytes, size));
	free(bytes);
}
END_TEST

/* ---- what is remembered ---- */

static void change(unsigned which, struct record *head, struct cqlferry_text *texts)
{
	static const struct cqlferry_text user = TEXT("other\"user"), statement = TEXT("SELECT a FROM invoices"),
					  password = TEXT("ALTER ROLE r WITH PASSWORD = 'secret'"),
					  decider = TEXT("read shop.* both"), none = { NULL, 0 };

	switch (which) {
	case 1:
		head->client = 43;
		break;
	case 2: /* the same connection has logged in anew */
		texts[TEXT_USER] = user;
		break;
	case 3:
		texts[TEXT_STATEMENT] = statement;
		break;
	case 4:
		texts[TEXT_DECIDER] = decider;
		break;
	case 5:
		head->flags &= ~RECORD_VALUES;
		texts[TEXT_VALUES] = none;
		break;
	case 6: /* the same bytes in other texts */
		texts[TEXT_LISTENER] = (struct cqlferry_text)TEXT("app");
		texts[TEXT_USER] = (struct cqlferry_text)TEXT("sbilling");
		break;
	case 7:
		texts[TEXT_STATEMENT] = password;
		break;
	case 8:
		head->outcome = CQLFERRY_ANSWERED;
		head->rows = 100;
		texts[TEXT_ERROR] = none;
		break;
	case 9:
		head->event = RECORD_CONNECT;
		break;
	case 10:
		head->statement = RECORD_HASH;
		break;
	case 11:
		head->outcome = CQLFERRY_ABANDONED;
		break;
	}
}
#define CHANGES 12

/* Whatever came before it, a record becomes the line that it would become as the first one. */
START_TEST(what_is_remembered_changes_no_line)
{
	const enum format_kind kind = _i % 2 ? FORMAT_CSV : FORMAT_JSON;
	struct format format = { .kind = kind };
	struct cqlferry_text texts[RECORD_TEXTS];
	struct record head;

	for (unsigned round = 0; round < 4 * CHANGES; round++) {
		struct buffer out = { 0 };
		struct record_view view;
		uint32_t size;
		uint8_t *bytes;
		char *line;

		example(&head, texts);
		change(round % CHANGES, &head, texts);
		if (_i / 2)
			change(round / CHANGES, &head, texts);
		head.duration_ns += round * 1000u;
		line = line_of(kind, &head, texts);
		bytes = written(&head, texts, &size);
		ck_assert(record_read(&view, bytes, size));
		format_line(&format, &out, &view);
		free(bytes);
		buffer_char(&out, '\0');
		ck_assert_str_eq(out.data, line);
		free(line);
		buffer_free(&out);
	}
	format_fini(&format);
}
END_TEST

/* What is remembered after three lines of such a record. */
static const struct memo_piece *remembered(struct format *format, struct record *head,
					   const struct cqlferry_text *texts)
{
	struct buffer out = { 0 };
	struct record_view view;
	const uint8_t *fixed;
	struct memo_key key;
	const struct memo_piece *piece;
	uint32_t size;
	uint8_t *bytes = written(head, texts, &size);

	ck_assert(record_read(&view, bytes, size));
	for (unsigned i = 0; i < 3; i++)
		format_line(format, &out, &view);
	fixed = (const uint8_t *)&view.head.lengths[RECORD_COMMON];
	key = (struct memo_key){
		.fixed = fixed,
		.fixed_size = (uint32_t)((const uint8_t *)(&view.head + 1) - fixed),
		.texts = (const uint8_t *)view.texts[RECORD_COMMON].data,
		.texts_size = (uint32_t)(bytes + size - (const uint8_t *)view.texts[RECORD_COMMON].data),
	};
	piece = memo_find(&format->requests, &key);
	buffer_free(&out);
	free(bytes);
	return piece;
}

START_TEST(a_password_is_not_remembered)
{
	struct format format = { .kind = FORMAT_JSON };
	struct cqlferry_text texts[RECORD_TEXTS];
	struct record head;

	example(&head, texts);
	ck_assert_ptr_nonnull(remembered(&format, &head, texts));
	texts[TEXT_STATEMENT] = (struct cqlferry_text)TEXT("CREATE ROLE r WITH PASSWORD = 'secret'");
	ck_assert_ptr_null(remembered(&format, &head, texts));
	format_fini(&format);
}
END_TEST

/* A key of one number, and a piece that says it. */
static bool is_found(struct memo *memo, uint64_t number)
{
	const struct memo_key key = { .fixed = (const uint8_t *)&number, .fixed_size = 8, .is_fixed_telling = true };
	const struct memo_piece *found = memo_find(memo, &key);
	const struct memo_piece piece = { .text = (const char *)&number, .size = 8, .columns = 3 };

	if (!found) {
		memo_keep(memo, &key, &piece);
		return false;
	}
	ck_assert_uint_eq(found->columns, 3);
	ck_assert_uint_eq(found->size, 8);
	ck_assert_mem_eq(found->text, &number, 8);
	return true;
}

START_TEST(a_piece_is_kept_the_second_time)
{
	struct memo memo = { NULL };
	unsigned found = 0;

	ck_assert(!is_found(&memo, 1) && !is_found(&memo, 1) && is_found(&memo, 1));
	/* A flood of keys that come once pushes nothing out. */
	for (uint64_t n = 1000; n < 100000; n++)
		ck_assert(!is_found(&memo, n));
	ck_assert(is_found(&memo, 1));
	/* Many that come again and again do: there is room for so many. */
	for (uint64_t n = 1000; n < 10000; n++)
		ck_assert(!is_found(&memo, n) && !is_found(&memo, n) && is_found(&memo, n));
	for (uint64_t n = 1000; n < 10000; n++)
		found += is_found(&memo, n);
	ck_assert_uint_le(found, MEMO_WAYS * MEMO_SETS);
	ck_assert_uint_ge(found, MEMO_SETS);
	memo_fini(&memo);
}
END_TEST

START_TEST(a_piece_that_is_too_long_is_not_kept)
{
	static char text[MEMO_PIECE_MAX];
	struct memo memo = { NULL };
	const struct memo_key key = { .fixed = (const uint8_t *)"abcdefgh", .fixed_size = 8, .is_fixed_telling = true };
	struct memo_piece piece = { .text = text, .size = MEMO_PIECE_MAX - 7 };

	for (unsigned i = 0; i < 3; i++) {
		ck_assert_ptr_null(memo_find(&memo, &key));
		memo_keep(&memo, &key, &piece);
	}
	piece.size--;
	memo_keep(&memo, &key, &piece);
	ck_assert_ptr_nonnull(memo_find(&memo, &key));
	memo_fini(&memo);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("audit_format");

	tcase_add_test(tc, the_example_of_the_readme);
	tcase_add_test(tc, the_fields_of_the_readme);
	tcase_add_test(tc, csv_has_each_column);
	tcase_add_test(tc, csv_begins_with_its_names);
	tcase_add_loop_test(tc, escaped, 0, sizeof(escapes) / sizeof(escapes[0]));
	tcase_add_test(tc, statements);
	tcase_add_test(tc, an_error_does_not_quote_a_password);
	tcase_add_test(tc, values_and_tables_that_are_cut);
	tcase_add_test(tc, other_events);
	tcase_add_test(tc, numbers_that_there_are_not);
	tcase_add_test(tc, records_that_do_not_fit);
	tcase_add_loop_test(tc, what_is_remembered_changes_no_line, 0, 4);
	tcase_add_test(tc, a_password_is_not_remembered);
	tcase_add_test(tc, a_piece_is_kept_the_second_time);
	tcase_add_test(tc, a_piece_that_is_too_long_is_not_kept);
	return run_tcase("audit_format", tc);
}
