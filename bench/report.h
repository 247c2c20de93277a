/* report.h - what a run of cqlbench has measured, for people or for programs. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "load.h"

/* Ends the program when the file of --json cannot be written: not only when all is measured. */
void report_check(const struct options *options);
/* To the file of --json, or as NAME=VALUE lines to standard output. */
void report_write(const struct load *l);

#endif
