/* report.h - what a run of cqlbench has measured, for people or for programs. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "load.h"

/* To the file of --json, or as NAME=VALUE lines to standard output. */
void report_write(const struct load *l);

#endif
