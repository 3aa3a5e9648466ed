/* Path patterns as README.md defines them, over UTF-8. */
#ifndef GLOB_H
#define GLOB_H

#include <stdbool.h>
#include <stdint.h>

bool glob_matches(const char *pattern, const char *path);
bool utf8_valid(const char *text);

#endif
