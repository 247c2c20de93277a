/* config_compare.c - see config_compare.h */
#include "control/config_compare.h"

#include <stdlib.h>
#include <string.h>

#include "control/config_lua.h"
#include "control/config_model.h"
#include "control/config_plugin.h"

/* The member is only read; setting_member() serves writers too. */
static const void *member_of(const struct config *config, const struct setting *s, unsigned instance)
{
	return setting_member(s, &((struct config *)(uintptr_t)config)->settings, instance);
}

static bool secrets_equal(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return strcmp(*x ? *x : "", *y ? *y : "") == 0 && !*x == !*y;
}

/* A NULL text is "not set", which is not the empty text. */
static bool values_equal(const struct setting *s, const void *a, const void *b, const char *text_a, const char *text_b)
{
	if (s->type == SETTING_SECRET)
		return secrets_equal(a, b);
	return text_a && text_b ? strcmp(text_a, text_b) == 0 : text_a == text_b;
}

static void add(struct config_changes *out, const struct config *after, const struct setting *s, unsigned instance,
		char *text_before, char *text_after)
{
	struct config_change *c;

	out->items = xrealloc(out->items, (out->count + 1) * sizeof(*out->items));
	c = &out->items[out->count++];
	*c = (struct config_change){
		.setting = s,
		.place = config_place(after, s, instance),
		.name = xasprintf("[%s] %s", setting_section_name(s->section, &after->settings, instance), s->key),
		.before = text_before ? text_before : xstrdup("not set"),
		.after = text_after ? text_after : xstrdup("not set"),
	};
}

static void compare(const struct config *before, const struct config *after, const struct setting *s, unsigned instance,
		    struct config_changes *out)
{
	const void *a = member_of(before, s, instance);
	const void *b = member_of(after, s, instance);
	char *text_a = setting_format(s, a);
	char *text_b = setting_format(s, b);

	if (!values_equal(s, a, b, text_a, text_b)) {
		add(out, after, s, instance, text_a, text_b);
		return;
	}
	free(text_a);
	free(text_b);
}

static void option_differs(const char *name, const char *place, const char *before, const char *after, void *arg)
{
	struct config_changes *out = arg;

	out->items = xrealloc(out->items, (out->count + 1) * sizeof(*out->items));
	out->items[out->count++] = (struct config_change){
		.setting = &config_lua_any_option,
		.place = xasprintf("%s: [lua] %s", place, name),
		.name = xasprintf("[lua] %s", name),
		.before = xstrdup(before ? before : "not set"),
		.after = xstrdup(after ? after : "not set"),
	};
}

static void plugin_line_differs(const struct plugin_difference *d, void *arg)
{
	struct config_changes *out = arg;

	out->items = xrealloc(out->items, (out->count + 1) * sizeof(*out->items));
	out->items[out->count++] = (struct config_change){
		.setting = d->setting,
		.place = xasprintf("%s: [plugin %s] %s", d->place, d->plugin, d->key),
		.name = xasprintf("[plugin %s] %s", d->plugin, d->key),
		.before = xstrdup(d->before ? d->before : "not set"),
		.after = xstrdup(d->after ? d->after : "not set"),
	};
}

void config_compare(const struct config *before, const struct config *after, struct config_changes *out)
{
	*out = (struct config_changes){ NULL, 0 };
	for (const struct setting *s = setting_table; s < setting_table + setting_count; s++) {
		for (unsigned i = 0; s->width && i < setting_instances(s->section, &after->settings); i++)
			compare(before, after, s, i, out);
	}
	config_lua_compare(before, after, option_differs, out);
	config_plugin_compare(before, after, plugin_line_differs, out);
}

void config_changes_free(struct config_changes *changes)
{
	for (unsigned i = 0; i < changes->count; i++) {
		free(changes->items[i].place);
		free(changes->items[i].name);
		free(changes->items[i].before);
		free(changes->items[i].after);
	}
	free(changes->items);
	*changes = (struct config_changes){ NULL, 0 };
}

bool config_same_plugins(const struct config *before, const struct config *after)
{
	const struct settings *a = &before->settings, *b = &after->settings;

	for (unsigned i = 0; i < MIN(a->plugin_count, b->plugin_count); i++) {
		if (strcmp(a->plugins[i].name, b->plugins[i].name) != 0)
			return false;
	}
	return a->plugin_count == b->plugin_count;
}

bool config_same_listeners(const struct config *before, const struct config *after)
{
	const struct settings *a = &before->settings, *b = &after->settings;

	if (a->listener_count != b->listener_count)
		return false;
	for (unsigned i = 0; i < a->listener_count; i++) {
		if (strcmp(a->listeners[i].name, b->listeners[i].name) != 0)
			return false;
	}
	return true;
}
