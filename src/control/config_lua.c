/* config_lua.c - see config_lua.h */
#include "control/config_lua.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define SCRIPT_END ".lua"

const struct setting config_lua_any_option = { .section = SECTION_LUA, .key = "option", .flags = SETTING_RELOAD };

/* ---- options ---- */

bool config_lua_is_option_name(const char *name)
{
	const char *p = name;

	while (isalnum((unsigned char)*p) || *p == '_' || *p == '-')
		p++;
	return p > name && !*p;
}

const struct lua_option *config_lua_option(const struct config *config, const char *name)
{
	const struct lua_settings *lua = &config->settings.lua;

	for (unsigned i = 0; i < lua->option_count; i++) {
		if (strcmp(lua->options[i].name, name) == 0)
			return &lua->options[i];
	}
	return NULL;
}

static void option_clear(struct lua_option *o)
{
	free(o->name);
	free(o->value);
	free(o->place);
}

void config_lua_set_option(struct config *config, const char *name, const char *value, const char *place)
{
	struct lua_settings *lua = &config->settings.lua;
	unsigned i = 0;

	while (i < lua->option_count && strcmp(lua->options[i].name, name) != 0)
		i++;
	if (i < lua->option_count) {
		option_clear(&lua->options[i]);
	} else {
		lua->options = xrealloc(lua->options, (lua->option_count + 1) * sizeof(*lua->options));
		lua->option_count++;
	}
	lua->options[i] = (struct lua_option){ xstrdup(name), xstrdup(value), xstrdup(place) };
}

/* ---- files ---- */

static void list_add(struct string_list *list, char *item)
{
	list->items = xrealloc(list->items, (list->count + 1) * sizeof(*list->items));
	list->items[list->count++] = item;
}

static void list_free(struct string_list *list)
{
	for (unsigned i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct string_list){ NULL, 0 };
}

/* From the folder of the file that the value stands in; malloc'd. */
static char *path_of(const struct config *config, const struct config_value *v)
{
	const char *slash = config->path ? strrchr(config->path, '/') : NULL;

	if (*v->text == '/' || !slash || strcmp(v->place, "--set") == 0)
		return xstrdup(v->text);
	return xasprintf("%.*s/%s", (int)(slash - config->path), config->path, v->text);
}

/* Not the hidden ones: editors and package managers put copies there. */
static int is_script(const struct dirent *entry)
{
	const size_t len = strlen(entry->d_name), end = strlen(SCRIPT_END);

	return entry->d_name[0] != '.' && len > end && strcmp(entry->d_name + len - end, SCRIPT_END) == 0;
}

/* By bytes: the same order everywhere, whatever the locale. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/*
 * A file of a folder. What cannot be looked at, such as a link that leads nowhere, is an error: the hooks that somebody has put
 * there would be missing in silence.
 */
static bool add_entry(struct config *config, const struct config_value *v, char *path, struct string_list *out)
{
	struct stat st;
	bool ok = true;

	if (stat(path, &st) < 0)
		ok = config_fail_value(config, v, "%s: %s", path, strerror(errno));
	else if (S_ISREG(st.st_mode)) {
		list_add(out, path);
		return true;
	}
	free(path);
	return ok;
}

/* Links are followed: Kubernetes mounts its ConfigMaps as such. */
static bool add_folder(struct config *config, const struct config_value *v, const char *folder, struct string_list *out)
{
	const unsigned before = out->count;
	struct dirent **entries;
	const int count = scandir(folder, &entries, is_script, by_name);
	const size_t len = strlen(folder);
	bool ok = true;

	if (count < 0)
		return config_fail_value(config, v, "%s: the folder cannot be read: %s", folder, strerror(errno));
	for (int i = 0; i < count; i++) {
		ok = ok &&
		     add_entry(config, v,
			       xasprintf("%s%s%s", folder, folder[len - 1] == '/' ? "" : "/", entries[i]->d_name), out);
		free(entries[i]);
	}
	free(entries);
	if (!ok || out->count > before)
		return ok;
	return config_fail_value(config, v, "%s: a folder without a file whose name ends in " SCRIPT_END, folder);
}

static bool add_script(struct config *config, const struct config_value *v, struct string_list *out)
{
	char *path = path_of(config, v);
	struct stat st;
	bool ok = true;

	if (stat(path, &st) < 0)
		ok = config_fail_value(config, v, "%s: %s", path, strerror(errno));
	else if (S_ISDIR(st.st_mode))
		ok = add_folder(config, v, path, out);
	else if (S_ISREG(st.st_mode))
		list_add(out, xstrdup(path));
	else
		ok = config_fail_value(config, v, "%s: neither a file nor a folder", path);
	free(path);
	return ok;
}

static bool add_to_path(struct config *config, const struct config_value *v, struct string_list *out)
{
	char *path = path_of(config, v);
	struct stat st;
	bool ok = true;

	if (stat(path, &st) < 0)
		ok = config_fail_value(config, v, "%s: %s", path, strerror(errno));
	else if (!S_ISDIR(st.st_mode))
		ok = config_fail_value(config, v, "%s: no folder", path);
	else
		list_add(out, xstrdup(path));
	free(path);
	return ok;
}

/* `list` has the values as they were given. */
static bool resolve(struct config *config, const char *key, struct string_list *list,
		    bool (*add)(struct config *, const struct config_value *, struct string_list *))
{
	const struct setting *s = setting_find(SECTION_LUA, key, NULL);

	list_free(list);
	for (const struct config_value *v = config_value_find(config, s, 0); v; v = config_value_next(config, v)) {
		if (*v->text && !add(config, v, list))
			return false;
	}
	return true;
}

/* One that is named twice would give all its hooks twice. */
static bool check_twice(struct config *config)
{
	const struct string_list *scripts = &config->settings.lua.scripts;

	for (unsigned i = 0; i < scripts->count; i++) {
		for (unsigned j = i + 1; j < scripts->count; j++) {
			if (strcmp(scripts->items[i], scripts->items[j]) == 0)
				return config_fail_key(config, SECTION_LUA, "script", 0,
						       "%s is there twice; allowed: each file once", scripts->items[i]);
		}
	}
	return true;
}

/*
 * An option may be a setting with a typing error, even `script` itself. One who
 * writes `script =` with nothing behind it says that there shall be none.
 */
static bool check_options(struct config *config)
{
	const struct lua_settings *lua = &config->settings.lua;
	const struct lua_option *o = lua->options;
	char keys[256];

	if (lua->option_count == 0 || config_value_find(config, setting_find(SECTION_LUA, "script", NULL), 0))
		return true;
	return config_fail(config,
			   "%s%s%s: no setting (those are %s), and no script is there that could ask for an option; "
			   "allowed: options below a line \"script =\", if there shall be none",
			   o->place, strcmp(o->place, "--set") == 0 ? " lua." : ": [lua] ", o->name,
			   config_section_keys(SECTION_LUA, keys, sizeof(keys)));
}

bool config_lua_check(struct config *config)
{
	struct lua_settings *lua = &config->settings.lua;

	return resolve(config, "script", &lua->scripts, add_script) && check_twice(config) &&
	       resolve(config, "lua_path", &lua->path, add_to_path) && check_options(config);
}

/* ---- have they changed? ---- */

/* Levels of folders below those of lua_path; `require "a.b.c"` looks in the third. */
#define STAMP_DEPTH 8

static void stamp_add(uint64_t *stamp, const void *data, size_t size)
{
	*stamp = XXH3_64bits_withSeed(data, size, *stamp);
}

static void stamp_file(uint64_t *stamp, const char *path, const struct stat *st)
{
	const int64_t facts[] = { (int64_t)st->st_ino, st->st_size, st->st_mtim.tv_sec, st->st_mtim.tv_nsec };

	stamp_add(stamp, path, strlen(path));
	stamp_add(stamp, facts, sizeof(facts));
}

static void stamp_folder(uint64_t *stamp, const char *folder, int depth)
{
	struct dirent **entries;
	const int count = scandir(folder, &entries, NULL, by_name);

	for (int i = 0; i < count; i++) {
		char *path = xasprintf("%s/%s", folder, entries[i]->d_name);
		struct stat st;

		if (entries[i]->d_name[0] == '.' || stat(path, &st) < 0)
			; /* what `require` cannot read either */
		else if (S_ISDIR(st.st_mode) && depth < STAMP_DEPTH)
			stamp_folder(stamp, path, depth + 1);
		else if (is_script(entries[i]))
			stamp_file(stamp, path, &st);
		free(path);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
}

uint64_t config_lua_stamp(const struct lua_settings *lua)
{
	uint64_t stamp = 0;
	struct stat st;

	for (unsigned i = 0; i < lua->scripts.count; i++) {
		if (stat(lua->scripts.items[i], &st) == 0)
			stamp_file(&stamp, lua->scripts.items[i], &st);
	}
	for (unsigned i = 0; lua->scripts.count > 0 && i < lua->path.count; i++)
		stamp_folder(&stamp, lua->path.items[i], 0);
	return stamp;
}

/* ---- showing ---- */

void config_lua_print(const struct config *config, FILE *out)
{
	const struct lua_settings *lua = &config->settings.lua;

	for (unsigned i = 0; i < lua->option_count; i++) {
		fprintf(out, "%s = ", lua->options[i].name);
		config_print_value(lua->options[i].value, out);
		fprintf(out, "  ; from %s\n", lua->options[i].place);
	}
	for (unsigned i = 0; i < lua->scripts.count; i++)
		fprintf(out, "; script %u: %s\n", i + 1, lua->scripts.items[i]);
}

void config_lua_compare(const struct config *before, const struct config *after,
			void (*differs)(const char *name, const char *place, const char *before, const char *after,
					void *arg),
			void *arg)
{
	const struct lua_settings *old = &before->settings.lua, *new = &after->settings.lua;

	for (unsigned i = 0; i < old->option_count; i++) {
		const struct lua_option *o = &old->options[i];

		if (!config_lua_option(after, o->name))
			differs(o->name, o->place, o->value, NULL, arg);
	}
	for (unsigned i = 0; i < new->option_count; i++) {
		const struct lua_option *o = config_lua_option(before, new->options[i].name);

		if (!o || strcmp(o->value, new->options[i].value) != 0)
			differs(new->options[i].name, new->options[i].place, o ? o->value : NULL, new->options[i].value,
				arg);
	}
}

void config_lua_free(struct lua_settings *lua)
{
	for (unsigned i = 0; i < lua->option_count; i++)
		option_clear(&lua->options[i]);
	free(lua->options);
	lua->options = NULL;
	lua->option_count = 0;
}
