/* The only roads into /work. */
#ifndef FILES_H
#define FILES_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define WORK "/work"

void files_act_as(uid_t uid);

/* Each returns -1 with errno. */
int files_create(const char *path, bool executable);
int files_append(const void *bytes, size_t length);
void files_close(void);
int files_create_folder(const char *path);
int files_open_work(int flags);
int files_open_parent(const char *path, char name[NAME_MAX + 1]);
int files_open_beneath(int folder, const char *name, int flags, mode_t mode);
int files_open_folder(const char *path);

#endif
