/*
 * standalone.c - drives a fuzz program without libFuzzer, so that `make check`
 * runs it with every compiler: a fixed number of inputs, made from the seeds by
 * a fixed generator, so that a failure comes back with the next run.
 *
 *   fuzz_x              seeds (the vectors of tests/unit, for fuzz_statement
 *                       its CQL texts, for fuzz_system those of
 *                       tests/system_queries.txt, and the files in
 *                       tests/fuzz/corpus/x),
 *                       then FUZZ_RUNS mutations of them
 *   fuzz_x FILE...      just these inputs, as libFuzzer does
 *
 * The input that kills the program is written to fuzz_x.crash in the current
 * directory.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_RUNS 50000
#define INPUT_MAX 4096
#define MUTATIONS_MAX 6

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Called by the sanitizers before they end the process; absent without them. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

struct seed {
	uint8_t *data;
	size_t len;
};

static struct seed *seeds;
static size_t seed_count;
static const char *program;
static char crash_path[PATH_MAX];

/* What LLVMFuzzerTestOneInput() is looking at. */
static const uint8_t *current;
static size_t current_len;

/* Async-signal-safe. */
static void keep_input(void)
{
	int fd;

	if (!current)
		return;
	fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0)
		return;
	if (write(fd, current, current_len) == (ssize_t)current_len)
		dprintf(STDERR_FILENO, "the input that did this is in %s\n", crash_path);
	close(fd);
}

static void on_signal(int sig)
{
	keep_input();
	signal(sig, SIG_DFL);
	raise(sig);
}

/* In a heap block of exactly its size, so that the sanitizer sees any read beyond it. */
static void run_one(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	if (!copy)
		abort();
	if (len)
		memcpy(copy, data, len);
	current = copy;
	current_len = len;
	LLVMFuzzerTestOneInput(copy, len);
	current = NULL;
	free(copy);
}

/* ---- seeds ---- */

static void add_seed(const uint8_t *data, size_t len)
{
	struct seed *s;

	if (len > INPUT_MAX)
		len = INPUT_MAX;
	seeds = realloc(seeds, (seed_count + 1) * sizeof(*seeds));
	if (!seeds)
		abort();
	s = &seeds[seed_count++];
	s->data = malloc(len ? len : 1);
	if (!s->data)
		abort();
	if (len)
		memcpy(s->data, data, len);
	s->len = len;
}

/* A whole file; false when it cannot be read. */
static bool load(const char *path, void (*use)(const uint8_t *data, size_t len))
{
	FILE *f = fopen(path, "r");
	uint8_t *data = malloc(1 << 20);
	size_t len;

	if (!f || !data) {
		free(data);
		return false;
	}
	len = fread(data, 1, 1 << 20, f);
	fclose(f);
	use(data, len);
	free(data);
	return true;
}

/* The vectors of a .hex file, whose format tests/unit/vectors.h explains. */
static void add_vectors(const uint8_t *text, size_t len)
{
	uint8_t bytes[INPUT_MAX];
	size_t n = 0;
	size_t i = 0;

	while (i < len) {
		size_t end = i;

		while (end < len && text[end] != '\n')
			end++;
		if (text[i] != '\t') {
			if (n > 0)
				add_seed(bytes, n);
			n = 0;
			while (i < end && text[i] != ':' && text[i] != '#')
				i++;
		}
		for (i += text[i] != '#'; i + 1 < end && text[i] != '#'; i++) {
			const char pair[3] = { (char)text[i], (char)text[i + 1], '\0' };
			char *stop;
			unsigned long byte = strtoul(pair, &stop, 16);

			if (*stop != '\0' || text[i] == ' ' || n == sizeof(bytes))
				continue;
			bytes[n++] = (uint8_t)byte;
			i++;
		}
		i = end + 1;
	}
	if (n > 0)
		add_seed(bytes, n);
}

/* The texts of system_queries.txt: what stands before the first bar of a line. */
static void add_queries(const uint8_t *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		const uint8_t *eol = memchr(text + i, '\n', len - i);
		size_t end = eol ? (size_t)(eol - text) : len;
		const uint8_t *bar = memchr(text + i, '|', end - i);

		if (bar && text[i] != '#')
			add_seed(text + i, (size_t)(bar - text) - i);
		i = end;
	}
}

/* The texts of statements.txt: what stands behind the fifth bar of a line. */
static void add_texts(const uint8_t *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		const uint8_t *eol = memchr(text + i, '\n', len - i);
		size_t end = eol ? (size_t)(eol - text) : len;
		unsigned bars = 0;
		bool is_comment = text[i] == '#';

		while (i < end && bars < 5)
			bars += text[i++] == '|';
		if (bars == 5 && !is_comment)
			add_seed(text + i, end - i);
		i = end;
	}
}

static void load_folder(const char *srcdir, const char *folder, const char *suffix,
			void (*use)(const uint8_t *data, size_t len))
{
	char path[PATH_MAX];
	DIR *dir;
	struct dirent *entry;

	snprintf(path, sizeof(path), "%s/%s", srcdir, folder);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		size_t n = strlen(entry->d_name), m = strlen(suffix);

		if (entry->d_name[0] == '.' || n < m || strcmp(entry->d_name + n - m, suffix) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s/%s", srcdir, folder, entry->d_name);
		load(path, use);
	}
	if (dir)
		closedir(dir);
}

static int by_content(const void *a, const void *b)
{
	const struct seed *x = a, *y = b;
	int order = memcmp(x->data, y->data, x->len < y->len ? x->len : y->len);

	return order ? order : (x->len > y->len) - (x->len < y->len);
}

static void load_seeds(void)
{
	const char *srcdir = getenv("srcdir");
	char folder[PATH_MAX];

	if (!srcdir)
		srcdir = ".";
	if (strcmp(program, "fuzz_statement") == 0)
		load_folder(srcdir, "tests/unit/vectors", ".txt", add_texts);
	else if (strcmp(program, "fuzz_system") == 0)
		load_folder(srcdir, "tests", "system_queries.txt", add_queries);
	else
		load_folder(srcdir, "tests/unit/vectors", ".hex", add_vectors);
	snprintf(folder, sizeof(folder), "tests/fuzz/corpus/%s", program);
	load_folder(srcdir, folder, "", add_seed);
	if (seed_count == 0) {
		fprintf(stderr, "%s: no seeds below %s/tests: run this from the top of the source tree or set srcdir\n",
			program, srcdir);
		exit(EXIT_FAILURE);
	}
	/* The order of a folder is the file system's; that of the runs is ours. */
	qsort(seeds, seed_count, sizeof(*seeds), by_content);
}

/* ---- mutations ---- */

static uint64_t random_state = 0x9e3779b97f4a7c15u;

static uint32_t random_below(size_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return n ? (uint32_t)((random_state >> 32) % n) : 0;
}

static void overwrite(uint8_t *data, size_t len)
{
	static const uint32_t borders[] = { 0,      1,      0x7f,    0x80,       0xff,       0x100,      0x7fff,
					    0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffffe };
	uint32_t value = borders[random_below(sizeof(borders) / sizeof(borders[0]))];
	size_t width = (size_t)1 << random_below(3);
	size_t at = random_below(len);

	for (size_t i = 0; i < width && at + i < len; i++)
		data[at + i] = (uint8_t)(value >> 8 * (width - 1 - i));
}

/* Changes the input in place and returns its new length. */
static size_t mutate(uint8_t *data, size_t len)
{
	const struct seed *other = &seeds[random_below(seed_count)];
	size_t at = random_below(len + 1), n = random_below(16) + 1;

	switch (random_below(6)) {
	case 0: /* one bit */
		if (len)
			data[random_below(len)] ^= (uint8_t)(1u << random_below(8));
		break;
	case 1: /* a length, a count, a flag */
		if (len)
			overwrite(data, len);
		break;
	case 2: /* cut off */
		len = at;
		break;
	case 3: /* a piece taken out */
		if (at + n <= len) {
			memmove(data + at, data + at + n, len - at - n);
			len -= n;
		}
		break;
	case 4: /* random bytes put in */
		if (len + n <= INPUT_MAX) {
			memmove(data + at + n, data + at, len - at);
			for (size_t i = 0; i < n; i++)
				data[at + i] = (uint8_t)random_below(256);
			len += n;
		}
		break;
	default: /* goes on as another seed does */
		if (at < other->len) {
			memcpy(data + at, other->data + at, other->len - at);
			len = other->len;
		}
		break;
	}
	return len;
}

static void run_mutations(unsigned long runs)
{
	uint8_t input[INPUT_MAX];

	for (size_t i = 0; i < seed_count; i++)
		run_one(seeds[i].data, seeds[i].len);
	for (unsigned long run = 0; run < runs; run++) {
		const struct seed *s = &seeds[run % seed_count];
		size_t len = s->len;

		memcpy(input, s->data, len);
		for (unsigned k = random_below(MUTATIONS_MAX) + 1; k > 0; k--)
			len = mutate(input, len);
		run_one(input, len);
	}
	printf("%s: %zu seeds, %lu mutations of them\n", program, seed_count, runs);
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	const char *runs = getenv("FUZZ_RUNS");
	static const int signals[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL };

	program = slash ? slash + 1 : argv[0];
	snprintf(crash_path, sizeof(crash_path), "%s.crash", program);
	if (__sanitizer_set_death_callback) {
		__sanitizer_set_death_callback(keep_input);
		signal(SIGABRT, on_signal);
	} else {
		for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
			signal(signals[i], on_signal);
	}
	for (int i = 1; i < argc; i++) {
		if (!load(argv[i], run_one)) {
			fprintf(stderr, "%s: cannot read %s\n", program, argv[i]);
			return EXIT_FAILURE;
		}
	}
	if (argc == 1) {
		load_seeds();
		run_mutations(runs ? strtoul(runs, NULL, 10) : DEFAULT_RUNS);
	}
	for (size_t i = 0; i < seed_count; i++)
		free(seeds[i].data);
	free(seeds);
	return EXIT_SUCCESS;
}
