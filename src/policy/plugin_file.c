/*
 * plugin_file.c - see plugin_file.h
 *
 * The dynamic loader's own words about a file that is not what it takes are poor
 * ("No such file" for one of another machine), and it maps a file that was cut
 * short, to die of SIGBUS later. So the headers are looked at first. Of the
 * constant nothing is read before its size is known to the linker, too.
 */
#include "policy/plugin_file.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "policy/plugin_option.h"

/* The smallest that was ever released: what major 1 began with. */
#define PLUGIN_SIZE_MIN (offsetof(struct cqlferry_plugin, on_disconnect) + sizeof(void (*)(void)))
#define OPTION_SIZE_MIN (offsetof(struct cqlferry_option, flags) + sizeof(uint32_t))
#define PROGRAM_HEADERS_MAX 128
#define KNOWN_FLAGS CQLFERRY_ROUTES

static struct plugin_file *files;

static bool fail(char *error, size_t error_size, const char *path, const char *fmt, ...) PRINTF_LIKE(4, 5);

static bool fail(char *error, size_t error_size, const char *path, const char *fmt, ...)
{
	va_list args;
	int n = snprintf(error, error_size, "%s: ", path);

	va_start(args, fmt);
	if (n >= 0 && (size_t)n < error_size)
		vsnprintf(error + n, error_size - (size_t)n, fmt, args);
	va_end(args);
	return false;
}

/* ---- the headers of the file ---- */

/* This program's own, which the file's must be like. */
static const ElfW(Ehdr) * own_header(void)
{
	Dl_info info;

	/* What begins at the base of a program that was loaded is its header. */
	if (!dladdr(&files, &info) || memcmp(info.dli_fbase, ELFMAG, SELFMAG) != 0)
		return NULL;
	return info.dli_fbase;
}

static const char *machine_name(unsigned machine)
{
	switch (machine) {
	case EM_386:
		return "x86";
	case EM_X86_64:
		return "x86-64";
	case EM_ARM:
		return "arm";
	case EM_AARCH64:
		return "aarch64";
	case EM_PPC64:
		return "ppc64";
	case EM_S390:
		return "s390";
	case EM_RISCV:
		return "riscv";
	default:
		return "?";
	}
}

static bool check_machine(const char *path, const ElfW(Ehdr) * h, char *error, size_t error_size)
{
	const ElfW(Ehdr) *own = own_header();

	if (!own)
		return true;
	if (h->e_ident[EI_CLASS] != own->e_ident[EI_CLASS])
		return fail(error, error_size, path, "built for another machine: expected %d bits, found %d",
			    own->e_ident[EI_CLASS] == ELFCLASS64 ? 64 : 32,
			    h->e_ident[EI_CLASS] == ELFCLASS64 ? 64 : 32);
	if (h->e_ident[EI_DATA] != own->e_ident[EI_DATA])
		return fail(error, error_size, path, "built for a machine with another order of bytes");
	if (h->e_machine != own->e_machine)
		return fail(error, error_size, path,
			    "built for another machine: expected %s (ELF machine %u), found %s (%u)",
			    machine_name(own->e_machine), own->e_machine, machine_name(h->e_machine), h->e_machine);
	return true;
}

/* Every byte that the loader maps is there. */
static bool check_length(const char *path, int fd, const ElfW(Ehdr) * h, off_t size, char *error, size_t error_size)
{
	ElfW(Phdr) headers[PROGRAM_HEADERS_MAX];
	const size_t length = (size_t)h->e_phnum * sizeof(headers[0]);

	if (h->e_phentsize != sizeof(headers[0]) || h->e_phnum == 0 || h->e_phnum > PROGRAM_HEADERS_MAX ||
	    pread(fd, headers, length, (off_t)h->e_phoff) != (ssize_t)length)
		return fail(error, error_size, path, "no program headers that can be read: the file is damaged");
	for (unsigned i = 0; i < h->e_phnum; i++) {
		if (headers[i].p_type == PT_LOAD && (headers[i].p_offset > (uint64_t)size ||
						     headers[i].p_filesz > (uint64_t)size - headers[i].p_offset))
			return fail(error, error_size, path, "cut off: it has %lld bytes, its headers speak of more",
				    (long long)size);
	}
	return true;
}

static struct plugin_file_stamp stamp_of(const struct stat *st)
{
	return (struct plugin_file_stamp){ st->st_ino, (uint64_t)st->st_size, st->st_mtim.tv_sec, st->st_mtim.tv_nsec };
}

static bool check_elf(const char *path, int fd, struct plugin_file_stamp *stamp, char *error, size_t error_size)
{
	ElfW(Ehdr) header = { .e_type = 0 };
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return fail(error, error_size, path, "%s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return fail(error, error_size, path, "no regular file: expected a shared object");
	*stamp = stamp_of(&st);
	n = pread(fd, &header, sizeof(header), 0);
	if (n < 0)
		return fail(error, error_size, path, "%s", strerror(errno));
	if (n < (ssize_t)SELFMAG || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
		return fail(error, error_size, path, "no shared object: expected an ELF file, found something else");
	if (n < (ssize_t)sizeof(header))
		return fail(error, error_size, path, "cut off: it has %lld bytes", (long long)st.st_size);
	if (!check_machine(path, &header, error, error_size))
		return false;
	if (header.e_type != ET_DYN)
		return fail(error, error_size, path,
			    "no shared object: expected ELF type %d (cc -shared makes it), found %u", ET_DYN,
			    header.e_type);
	return check_length(path, fd, &header, st.st_size, error, error_size);
}

static bool check_file(const char *path, struct plugin_file_stamp *stamp, char *error, size_t error_size)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool ok;

	if (fd < 0)
		return fail(error, error_size, path, "%s", strerror(errno));
	ok = check_elf(path, fd, stamp, error, error_size);
	close(fd);
	return ok;
}

/* ---- the constant ---- */

/* The object's size by the symbol table; 0: the table does not say. False when it is no object. */
static bool check_symbol(const char *path, const void *address, size_t *size, char *error, size_t error_size)
{
	const ElfW(Sym) * symbol;
	void *found = NULL;
	Dl_info info;

	*size = 0;
	if (!dladdr1(address, &info, &found, RTLD_DL_SYMENT) || !found || info.dli_saddr != address)
		return true;
	symbol = found;
	if (ELF64_ST_TYPE(symbol->st_info) == STT_FUNC)
		return fail(error, error_size, path,
			    "symbol " PLUGIN_SYMBOL ": expected a struct cqlferry_plugin, found a function");
	*size = symbol->st_size;
	return true;
}

static bool check_version(const char *path, const struct cqlferry_plugin *p, size_t object_size, char *error,
			  size_t error_size)
{
	/* The first three numbers are at their place in all majors. */
	const size_t head = offsetof(struct cqlferry_plugin, struct_size) + sizeof(p->struct_size);

	if (object_size && object_size < head)
		return fail(error, error_size, path, "symbol " PLUGIN_SYMBOL ": expected at least %zu bytes, found %zu",
			    PLUGIN_SIZE_MIN, object_size);
	if (p->abi_major != CQLFERRY_ABI_MAJOR)
		return fail(error, error_size, path,
			    "symbol " PLUGIN_SYMBOL ": expected plugin interface %d.0 to %d.%d, found %u.%u",
			    CQLFERRY_ABI_MAJOR, CQLFERRY_ABI_MAJOR, CQLFERRY_ABI_MINOR, p->abi_major, p->abi_minor);
	if (p->abi_minor > CQLFERRY_ABI_MINOR)
		return fail(error, error_size, path,
			    "symbol " PLUGIN_SYMBOL ": expected plugin interface %d.0 to %d.%d, found %u.%u: built for "
			    "a newer cqlferry",
			    CQLFERRY_ABI_MAJOR, CQLFERRY_ABI_MAJOR, CQLFERRY_ABI_MINOR, p->abi_major, p->abi_minor);
	if (p->struct_size < PLUGIN_SIZE_MIN || (object_size && object_size < p->struct_size))
		return fail(error, error_size, path,
			    "symbol " PLUGIN_SYMBOL ": expected a struct_size of at least %zu, and not more than the "
			    "object has; found %u in an object of %zu bytes",
			    PLUGIN_SIZE_MIN, p->struct_size, object_size);
	return true;
}

/* Texts that the interface wants. */
static bool check_names(const char *path, const struct cqlferry_plugin *p, char *error, size_t error_size)
{
	if (!p->name || !*p->name || p->name[strspn(p->name, PLUGIN_NAME_BYTES)])
		return fail(error, error_size, path,
			    "symbol " PLUGIN_SYMBOL ", name: expected letters, digits, _ and -, found \"%s\"",
			    p->name ? p->name : "");
	if (!p->version || !*p->version)
		return fail(error, error_size, path, "symbol " PLUGIN_SYMBOL ", version: expected a text, found none");
	if (p->flags & ~KNOWN_FLAGS)
		return fail(error, error_size, path,
			    "symbol " PLUGIN_SYMBOL ", flags: expected bits of 0x%x, found 0x%x", KNOWN_FLAGS,
			    p->flags);
	return true;
}

static bool copy_options(struct plugin_file *file, char *error, size_t error_size)
{
	struct cqlferry_plugin *p = &file->plugin;
	const char *row = (const char *)p->options;

	if (p->option_count == 0)
		return true;
	if (!row || p->option_size < OPTION_SIZE_MIN || p->option_count > PLUGIN_OPTIONS_MAX)
		return fail(error, error_size, file->path,
			    "symbol " PLUGIN_SYMBOL ", options: expected at most %d rows of at least %zu bytes "
			    "(option_size), found %u of %u bytes",
			    PLUGIN_OPTIONS_MAX, OPTION_SIZE_MIN, row ? p->option_count : 0, p->option_size);
	file->options = xcalloc(p->option_count, sizeof(*file->options));
	for (unsigned i = 0; i < p->option_count; i++)
		memcpy(&file->options[i], row + (size_t)i * p->option_size,
		       MIN(p->option_size, sizeof(*file->options)));
	return plugin_option_check_rows(file, error, error_size);
}

static bool read_constant(struct plugin_file *file, const struct cqlferry_plugin *p, char *error, size_t error_size)
{
	size_t object_size;

	if (!check_symbol(file->path, p, &object_size, error, error_size) ||
	    !check_version(file->path, p, object_size, error, error_size))
		return false;
	memcpy(&file->plugin, p, MIN(p->struct_size, sizeof(file->plugin)));
	return check_names(file->path, &file->plugin, error, error_size) && copy_options(file, error, error_size);
}

/* ---- public ---- */

const struct plugin_file *plugin_file_find(const char *path)
{
	for (const struct plugin_file *f = files; f; f = f->next) {
		if (strcmp(f->path, path) == 0)
			return f;
	}
	return NULL;
}

/* dlerror() begins with the name of the file in most cases, which we say ourselves. */
static const char *loader_error(const char *path)
{
	const char *text = dlerror();
	const size_t len = strlen(path);

	if (!text)
		return "the dynamic loader does not say why";
	if (strncmp(text, path, len) == 0 && strncmp(text + len, ": ", 2) == 0)
		return text + len + 2;
	return text;
}

/* A name without a slash is a file of this folder, as everywhere else; dlopen() alone would look in the system's folders. */
static void *load_object(const char *path)
{
	char here[4096 + 2];

	if (strchr(path, '/'))
		return dlopen(path, RTLD_NOW | RTLD_LOCAL);
	snprintf(here, sizeof(here), "./%s", path);
	return dlopen(here, RTLD_NOW | RTLD_LOCAL);
}

const struct plugin_file *plugin_file_load(const char *path, char *error, size_t error_size)
{
	const struct plugin_file *known = plugin_file_find(path);
	const struct cqlferry_plugin *constant;
	struct plugin_file_stamp stamp;
	struct plugin_file *file;
	void *handle;

	if (known || !check_file(path, &stamp, error, error_size))
		return known;
	handle = load_object(path);
	if (!handle) {
		fail(error, error_size, path, "%s", loader_error(path));
		return NULL;
	}
	constant = dlsym(handle, PLUGIN_SYMBOL);
	if (!constant) {
		fail(error, error_size, path,
		     "no plugin: expected the symbol " PLUGIN_SYMBOL " (a constant that is not static), found none");
		return NULL;
	}
	file = xcalloc(1, sizeof(*file));
	file->path = xstrdup(path);
	file->stamp = stamp;
	if (!read_constant(file, constant, error, error_size)) {
		free(file->options);
		free(file->path);
		free(file);
		return NULL;
	}
	file->next = files;
	files = file;
	return file;
}

bool plugin_file_is_replaced(const struct plugin_file *file)
{
	const struct plugin_file_stamp *a = &file->stamp;
	struct plugin_file_stamp b;
	struct stat st;

	if (stat(file->path, &st) < 0)
		return false;
	b = stamp_of(&st);
	return a->inode != b.inode || a->size != b.size || a->seconds != b.seconds || a->nanoseconds != b.nanoseconds;
}

void plugin_file_describe(const struct plugin_file *file, FILE *out)
{
	const struct cqlferry_plugin *p = &file->plugin;

	fprintf(out, "%s\nname: %s\nversion: %s\nplugin interface: %u.%u (this is cqlferry's %d.%d)\n", file->path,
		p->name, p->version, p->abi_major, p->abi_minor, CQLFERRY_ABI_MAJOR, CQLFERRY_ABI_MINOR);
	if (p->depends && *p->depends)
		fprintf(out, "depends on: %s\n", p->depends);
	plugin_option_describe(file, out);
}
