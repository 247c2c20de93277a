/*
 * sink_file.h - a file to append to, of mode 0600 when it is made here. It is
 * rotated by size: FILE becomes FILE.1, that becomes FILE.2, and so on. Lines
 * are gathered and written whole. A FIFO will do as well, and never blocks.
 */
#ifndef AUDIT_SINK_FILE_H
#define AUDIT_SINK_FILE_H

#include "sink.h"

struct sink_file_settings {
	uint64_t rotate_size; /* bytes; 0: never */
	uint32_t rotate_keep; /* files besides the one that is written */
	bool syncs_old;       /* a file that is left is brought onto the disk before: sync() is about the new one */
};

/*
 * `head` (copied) stands at the beginning of each file, `line_end` behind a part of a line that an earlier process has
 * left. NULL: `error` says why.
 */
struct sink *sink_file_open(const struct sink_listener *listener, const char *path, const char *head,
			    const char *line_end, char *error, size_t size);
/* Before it is used, and between two lines. */
void sink_file_set(struct sink *s, const struct sink_file_settings *settings);

#endif
