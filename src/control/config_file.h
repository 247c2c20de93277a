/* config_file.h - reads an INI file into the model. */
#ifndef CONTROL_CONFIG_FILE_H
#define CONTROL_CONFIG_FILE_H

#include "control/config_model.h"

/* Adds what the text of request->path says. False with config->error set. */
MUSTCHECK bool config_file_read(struct config *config, char *text, size_t size);

/*
 * The whole file, malloc'd, NUL behind its last byte; NULL with config->error
 * set. The caller frees it with config_file_unload(), which wipes it first: it
 * may hold passwords.
 */
char *config_file_load(struct config *config, const char *path, size_t *size);
void config_file_unload(char *text, size_t size);

#endif
