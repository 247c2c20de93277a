/* config_print.c - the effective configuration, and the reference of all settings. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/config_lua.h"
#include "control/config_model.h"
#include "control/config_plugin.h"

/* ---- effective values ---- */

/* True for a value that config_file.c would not read back as it stands. */
static bool needs_quotes(const char *text)
{
	size_t len = strlen(text);

	return *text == '"' || *text == ';' || *text == '#' || isspace((unsigned char)*text) ||
	       (len > 0 && isspace((unsigned char)text[len - 1])) || strstr(text, " ;") || strstr(text, " #");
}

/* Control characters become '?': the lines go to terminals and logs. */
void config_print_value(const char *text, FILE *out)
{
	bool quotes = needs_quotes(text);

	if (quotes)
		fputc('"', out);
	for (const char *p = text; *p; p++) {
		if (quotes && *p == '"')
			fputc('"', out);
		fputc(iscntrl((unsigned char)*p) ? '?' : *p, out);
	}
	if (quotes)
		fputc('"', out);
}

/* A line for each value, as it was given: some say where items come from, not what they are. */
static void print_repeated(const struct config *config, const struct config_value *v, FILE *out)
{
	for (; v; v = config_value_next(config, v)) {
		fprintf(out, "%s =%s", v->setting->key, *v->text ? " " : "");
		config_print_value(v->text, out);
		fprintf(out, "  ; from %s\n", v->place);
	}
}

static void print_setting(const struct config *config, const struct setting *s, unsigned instance, FILE *out)
{
	struct config_value *v = config_value_find(config, s, instance);
	/* The member is only read; setting_member() serves writers too. */
	struct settings *settings = &((struct config *)(uintptr_t)config)->settings;
	char *text;

	if (v && (s->flags & SETTING_REPEATED)) {
		print_repeated(config, v, out);
		return;
	}
	text = setting_format(s, setting_member(s, settings, instance));
	/* A line of its own for "not set", commented out: an empty value could mean something else. */
	fprintf(out, "%s%s =", v || text ? "" : ";", s->key);
	if (text && *text) {
		fputc(' ', out);
		config_print_value(text, out);
	}
	if (v)
		fprintf(out, "  ; from %s\n", v->place);
	else
		fputs(text ? "  ; default\n" : "  ; not set\n", out);
	free(text);
}

static void print_section(const struct config *config, enum setting_section section, unsigned instance, FILE *out)
{
	fprintf(out, "[%s]\n", setting_section_name(section, &config->settings, instance));
	for (const struct setting *s = setting_table; s < setting_table + setting_count; s++) {
		if (s->section == section && s->key)
			print_setting(config, s, instance, out);
	}
	if (section == SECTION_LUA)
		config_lua_print(config, out);
	if (section == SECTION_PLUGIN)
		config_plugin_print(config, instance, out);
}

void config_print(const struct config *config, FILE *out)
{
	for (int section = 0; section < SECTION_ZDM_ONLY; section++) {
		for (unsigned i = 0; i < setting_instances(section, &config->settings); i++) {
			if (section != 0 || i != 0)
				fputc('\n', out);
			print_section(config, section, i, out);
		}
	}
	for (unsigned i = 0; i < config->value_count; i++) {
		const struct config_value *v = &config->values[i];

		if (v->setting->section != SECTION_ZDM_ONLY)
			continue;
		fprintf(out, "; ZDM_%s = ", v->setting->zdm);
		config_print_value(v->text, out);
		fprintf(out, "  ; from %s, without effect\n", v->place);
	}
}

void config_log(const struct config *config)
{
	char *text = NULL;
	size_t size = 0;
	FILE *memory = open_memstream(&text, &size);

	if (!memory)
		return;
	config_print(config, memory);
	fclose(memory);
	for (char *line = text, *end; line && (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		if (*line)
			log_debug("config: %s", line);
	}
	free(text);
}

static const char *before_restart(unsigned count)
{
	return count ? ", " : "a change of these needs a restart, all others a reload: ";
}

/* What a plugin says of its own options; of a key with several lines once. Returns how many were printed by now. */
static unsigned print_plugin_restarts(const struct plugin_settings *p, unsigned count, FILE *out)
{
	for (unsigned i = 0; i < p->line_count; i++) {
		const struct plugin_line *line = &p->lines[i];

		if (line->may_reload || (i > 0 && strcmp(line[-1].key, line->key) == 0))
			continue;
		fprintf(out, "%s[plugin %s] %s", before_restart(count++), p->name, line->key);
	}
	return count;
}

void config_print_good(const struct config *config, FILE *out)
{
	unsigned count = 0;

	fputs("the configuration is good\n", out);
	for (const struct setting *s = setting_table; s < setting_table + setting_count; s++) {
		for (unsigned i = 0; s->width && i < setting_instances(s->section, &config->settings); i++) {
			if ((s->flags & SETTING_RELOAD) || !config_value_find(config, s, i))
				continue;
			fprintf(out, "%s[%s] %s", before_restart(count++),
				setting_section_name(s->section, &config->settings, i), s->key);
		}
	}
	for (unsigned i = 0; i < config->settings.plugin_count; i++)
		count = print_plugin_restarts(&config->settings.plugins[i], count, out);
	if (count)
		fputc('\n', out);
}

/* ---- reference ---- */

static void print_default(const struct setting *s, FILE *out)
{
	const char *native = setting_default(s, PROFILE_NATIVE);
	const char *zdm = setting_default(s, PROFILE_ZDM);

	if (!native && !zdm)
		fputs("not set", out);
	else if (native && zdm && strcmp(native, zdm) == 0)
		fprintf(out, "`%s`", native);
	else
		fprintf(out, "`%s`; zdm: `%s`", native, zdm);
}

static void print_zdm_names(const struct setting *s, FILE *out)
{
	unsigned count = s->section == SECTION_CLUSTER ? CLUSTER_COUNT : 1;

	if (!s->zdm)
		fputs("-", out);
	for (unsigned i = 0; s->zdm && i < count; i++) {
		char *name = setting_env_name(s, i);

		fprintf(out, "%s`%s`", i ? ", " : "", name);
		free(name);
	}
}

static void print_reference_section(enum setting_section section, const char *title, FILE *out)
{
	fprintf(out, "### %s\n\n", title);
	fputs("| Key | Values | Default | ZDM variable | Reload | Meaning |\n| --- | --- | --- | --- | --- | --- |\n",
	      out);
	for (const struct setting *s = setting_table; s < setting_table + setting_count; s++) {
		char allowed[256];

		if (s->section != section || !s->key)
			continue;
		setting_allowed(s, DIALECT_INI, allowed, sizeof(allowed));
		fprintf(out, "| `%s` | %s%s | ", s->key, allowed,
			s->flags & SETTING_REPEATED ? "; may be repeated" : "");
		print_default(s, out);
		fputs(" | ", out);
		print_zdm_names(s, out);
		fprintf(out, " | %s | %s |\n", s->flags & SETTING_RELOAD ? "yes" : "no", s->help);
	}
	fputc('\n', out);
}

static void print_reference_zdm_only(FILE *out)
{
	fputs("### ZDM variables without a key\n\n| ZDM variable | Values | Default | Meaning |\n| --- | --- | --- | --- |\n",
	      out);
	for (const struct setting *s = setting_table; s < setting_table + setting_count; s++) {
		char allowed[256];

		if (s->key)
			continue;
		setting_allowed(s, DIALECT_ENV, allowed, sizeof(allowed));
		fputs("| ", out);
		print_zdm_names(s, out);
		fprintf(out, " | %s | ", allowed);
		print_default(s, out);
		fprintf(out, " | %s |\n", s->help);
	}
}

void config_print_reference(FILE *out)
{
	print_reference_section(SECTION_PROXY, "`[proxy]`", out);
	print_reference_section(SECTION_LISTENER, "`[listener]`, `[listener NAME]`", out);
	print_reference_section(SECTION_CLUSTER, "`[origin]`, `[target]`", out);
	print_reference_section(SECTION_ROUTING, "`[routing]`", out);
	print_reference_section(SECTION_PLUGIN, "`[plugin NAME]`", out);
	print_reference_section(SECTION_LUA, "`[lua]`", out);
	print_reference_section(SECTION_HTTP, "`[http]`", out);
	print_reference_section(SECTION_LOG, "`[log]`", out);
	print_reference_section(SECTION_ZDM_ONLY, "`[zdm]`", out);
	print_reference_zdm_only(out);
}
