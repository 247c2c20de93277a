/* setting_rules.h - rows of type SETTING_RULES: a text is one rule, "read billing.* target". */
#ifndef CONTROL_SETTING_RULES_H
#define CONTROL_SETTING_RULES_H

#include "control/setting_value.h"

/* As setting_parse(): puts one rule into its place among those in the list; of an empty text none. */
MUSTCHECK bool rules_parse(const struct setting_input *in, struct rule_list *rules, char *what, size_t what_size);
void rules_allowed(char *out, size_t out_size);
/* All of them, the most specific one first, separated by ", "; NULL: there is none. */
char *rules_format(const struct rule_list *rules);
void rules_clear(struct rule_list *rules);

#endif
