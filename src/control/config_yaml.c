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

/*
 * Far beyond the 71 settings of a flat mapping. The scanner of libyaml looks at
 * all open levels for every token, and the search for doubled keys at all pairs
 * of keys, so without bounds one odd file could keep them busy for hours.
 */
#define DEPTH_MAX 16
#define NODES_MAX 4096

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

static bool parser_fail(struct config *config, const yaml_parser_t *parser)
{
	return config_fail(config, "%s:%zu: not YAML: %s", config->request->path, parser->problem_mark.line + 1,
			   parser->problem ? parser->problem : "unknown error");
}

/* Goes through the first document once without keeping anything, to see that it is well-formed and small. */
static bool check_shape(struct config *config, yaml_parser_t *parser)
{
	unsigned depth = 0, nodes = 0;
	yaml_event_type_t type = YAML_NO_EVENT;

	while (type != YAML_STREAM_END_EVENT && type != YAML_DOCUMENT_END_EVENT) {
		yaml_event_t event;
		unsigned long line;

		if (!yaml_parser_parse(parser, &event))
			return parser_fail(config, parser);
		type = event.type;
		line = event.start_mark.line + 1;
		yaml_event_delete(&event);
		if (type == YAML_MAPPING_START_EVENT || type == YAML_SEQUENCE_START_EVENT)
			depth++;
		else if (type == YAML_MAPPING_END_EVENT || type == YAML_SEQUENCE_END_EVENT)
			depth--;
		if (depth > DEPTH_MAX || ++nodes > NODES_MAX)
			return config_fail(config, "%s:%lu: too %s for a configuration; allowed: \"key: value\" lines",
					   config->request->path, line, depth > DEPTH_MAX ? "deeply nested" : "long");
	}
	return true;
}

static bool load_document(struct config *config, yaml_parser_t *parser)
{
	yaml_document_t document;
	bool ok;

	if (!yaml_parser_load(parser, &document))
		return parser_fail(config, parser);
	ok = document_read(config, &document);
	yaml_document_delete(&document);
	return ok;
}

static bool with_parser(struct config *config, const char *text, size_t size,
			bool (*work)(struct config *config, yaml_parser_t *parser))
{
	yaml_parser_t parser;
	bool ok;

	if (!yaml_parser_initialize(&parser))
		return config_fail(config, "%s: out of memory", config->request->path);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
	ok = work(config, &parser);
	yaml_parser_delete(&parser);
	return ok;
}

bool config_yaml_read(struct config *config, const char *text, size_t size)
{
	return with_parser(config, text, size, check_shape) && with_parser(config, text, size, load_document);
}
