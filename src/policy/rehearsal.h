/*
 * rehearsal.h - all that a start does with scripts and other files that the
 * settings name, but without starting: --check-config and --explain.
 */
#ifndef POLICY_REHEARSAL_H
#define POLICY_REHEARSAL_H

#include "policy/explain.h"

/* For messages with a traceback. */
#define REHEARSAL_ERROR_MAX 2048

/*
 * Opens the files and loads the scripts. What only a cluster could tell is
 * noted in `notes`, a line each. False with the reason in `error`, which begins
 * with "FILE:LINE: " when it is about a script.
 */
MUSTCHECK bool rehearsal_check(const struct settings *settings, FILE *notes, char *error, size_t error_size);

/* Loads the scripts, and writes where the request goes. False with the reason in `error`. */
MUSTCHECK bool rehearsal_explain(const struct settings *settings, const struct explain_request *request, FILE *out,
				 char *error, size_t error_size);

#endif
