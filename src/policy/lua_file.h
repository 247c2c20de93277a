/*
 * lua_file.h - scripts and modules as files.
 */
#ifndef POLICY_LUA_FILE_H
#define POLICY_LUA_FILE_H

#include "base/common.h"

/*
 * What is in the file, malloc'ed, without an end; *size: its bytes, 4 MiB at the most. NULL: the reason is in `error`, "PATH:
 * ...". Anything but a file is an error and does not wait, so a pipe neither.
 */
MUSTCHECK char *lua_file_read(const char *path, size_t *size, char *error, size_t error_size);

#endif
