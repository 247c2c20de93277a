/*
 * config_yaml.c - reads ZDM Proxy's YAML file into the model: one flat mapping
 * of setting names to scalars. As in ZDM Proxy, unknown keys are passed over, a
 * null keeps the default, doubled keys are an error, and only the first
 * document counts.
 */
#include "control/config_yaml.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

static const char *scalar(const yaml_node_t *node)
{
	return (const char *)node->data.scalar.value;
}

static unsigned line_of(const yaml_node_t *node)
{
	return (unsigned)node->start_mark.line + 1;
}

static bool is_plain(const yaml_node_t *node)
{
	return node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

/* YAML 1.1, "null" of the language-independent types. */
static bool is_null(const yaml_node_t *node)
{
	static const char *const words[] = { "", "~", "null", "Null", "NULL", NULL };

	for (unsigned i = 0; words[i]; i++) {
		if (strcmp(scalar(node), words[i]) == 0)
			return is_plain(node);
	}
	return false;
}

static const struct setting *find_key(struct config *config, const char *key, unsigned *instance)
{
	for (const struct setting *s = setting_table; s < setting_table + setting_count; s++) {
		for (unsigned i = 0; s->zdm && i < setting_instances(s->section, &config->settings); i++) {
			char *name = setting_yaml_key(s, i);
			bool same = strcmp(name, key) == 0;

			free(name);
			*instance = i;
			if (same)
				return s;
		}
	}
	return NULL;
}

static bool pair_read(struct config *config, const yaml_node_t *key, const yaml_node_t *value)
{
	const char *path = config->request->path;
	unsigned instance;
	const struct setting *s;
	struct config_value *v;
	char *place;

	if (strcmp(scalar(key), "<<") == 0)
		return config_fail(config, "%s:%u: a merge key; allowed: plain \"key: value\" lines", path,
				   line_of(key));
	s = find_key(config, scalar(key), &instance);
	if (!s)
		return true;
	if (value->type != YAML_SCALAR_NODE)
		return config_fail(config,
				   "%s:%u: %s: a %s; allowed: one value (lists are written as one text, \"a, b\")",
				   path, line_of(key), scalar(key),
				   value->type == YAML_SEQUENCE_NODE ? "list" : "mapping");
	if (is_null(value))
		return true;
	if (strlen(scalar(value)) != value->data.scalar.length)
		return config_fail(config, "%s:%u: %s: a NUL byte in the value", path, line_of(key), scalar(key));
	place = xasprintf("%s:%u", path, line_of(key));
	v = config_value_set(config, s, instance, scalar(value), place, DIALECT_YAML);
	v->quoted = !is_plain(value);
	free(place);
	return true;
}

static bool is_scalar_twin(const yaml_node_t *a, const yaml_node_t *b)
{
	return a->type == YAML_SCALAR_NODE && b->type == YAML_SCALAR_NODE && strcmp(scalar(a), scalar(b)) == 0;
}

static bool mapping_check_doubles(struct config *config, yaml_document_t *document, const yaml_node_t *mapping)
{
	const yaml_node_pair_t *first = mapping->data.mapping.pairs.start;

	for (const yaml_node_pair_t *p = first; p < mapping->data.mapping.pairs.top; p++) {
		const yaml_node_t *key = yaml_document_get_node(document, p->key);

		for (const yaml_node_pair_t *q = first; q < p; q++) {
			const yaml_node_t *earlier = yaml_document_get_node(document, q->key);

			if (is_scalar_twin(key, earlier))
				return config_fail(config, "%s:%u: %s: given already in line %u; allowed: once",
						   config->request->path, line_of(key), scalar(key), line_of(earlier));
		}
	}
	return true;
}

static bool mapping_read(struct config *config, yaml_document_t *document, const yaml_node_t *mapping)
{
	if (!mapping_check_doubles(config, document, mapping))
		return false;
	for (const yaml_node_pair_t *p = mapping->data.mapping.pairs.start; p < mapping->data.mapping.pairs.top; p++) {
		const yaml_node_t *key = yaml_document_get_node(document, p->key);

		if (key->type == YAML_SCALAR_NODE &&
		    !pair_read(config, key, yaml_document_get_node(document, p->value)))
			return false;
	}
	return true;
}

static bool document_read(struct config *config, yaml_document_t *document)
{
	const yaml_node_t *root = yaml_document_get_root_node(document);

	if (!root)
		return config_fail(config, "%s: no settings in the file", config->request->path);
	if (root->type == YAML_SCALAR_NODE && is_null(root))
		return true;
	if (root->type != YAML_MAPPING_NODE)
		return config_fail(config, "%s:%u: not a mapping; allowed: \"key: value\" lines", config->request->path,
				   line_of(root));
	return mapping_read(config, document, root);
}

bool config_yaml_read(struct config *config, const char *text, size_t size)
{
	yaml_parser_t parser;
	yaml_document_t document;
	bool ok;

	if (!yaml_parser_initialize(&parser))
		return config_fail(config, "%s: out of memory", config->request->path);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
	if (yaml_parser_load(&parser, &document)) {
		ok = document_read(config, &document);
		yaml_document_delete(&document);
	} else {
		ok = config_fail(config, "%s:%zu: not YAML: %s", config->request->path, parser.problem_mark.line + 1,
				 parser.problem ? parser.problem : "unknown error");
	}
	yaml_parser_delete(&parser);
	return ok;
}
