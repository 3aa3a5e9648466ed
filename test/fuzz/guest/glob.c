/*
 * Patterns against paths: glob.c goes back to the last star alone; here all ways are tried, and both
 * must find the same. The input is the pattern, a newline, and the path.
 */
#include "fuzz.h"

#include "../../../services/worker/guest/glob.c"

/* Trying all ways is quick enough up to here; what is longer is only run. */
enum { MOST = 64 };

static chars pattern_start, path_start;
static uint8_t tried[MOST + 1][MOST + 1], tried_component[MOST + 1][MOST + 1];

static bool seen(uint8_t table[MOST + 1][MOST + 1], chars p, chars n) {
  uint8_t *cell = &table[p - pattern_start][n - path_start];
  return *cell ? true : (*cell = 1, false);
}

/* `tried`: a pair that was tried before has failed, or nobody would ask again. */
static bool any_component(chars p, chars n) {
  if (!more(p))
    return !more(n);
  if (seen(tried_component, p, n))
    return false;
  if (*p != '*')
    return item_matches(&p, &n) && any_component(p, n);
  chars further = n;
  if (any_component(p + 1, n))
    return true;
  if (!more(n))
    return false;
  next_character(&further);
  return any_component(p, further);
}

static bool any(chars p, chars n) {
  if (!*p)
    return n != path_start;
  if (seen(tried, p, n))
    return false;
  if (p[0] == '*' && p[1] == '*' && !more(p + 2))
    return any(behind(p), n) || (*n && *n != '.' && any(p, behind(n)));
  memset(tried_component, 0, sizeof tried_component);
  return *n && (*n != '.' || *p == '.') && any_component(p, n) && any(behind(p), behind(n));
}

/* As the walk of artifacts.c makes them, and as the contract takes patterns: no empty component. */
static bool usual(const char *text) {
  size_t length = strlen(text);
  return length > 0 && length <= MOST && text[0] != '/' && text[length - 1] != '/' &&
         !strstr(text, "//");
}

/* On the heap, with nothing behind it that could be read unseen. */
static char *copy(const uint8_t *from, size_t length) {
  char *text = malloc(length + 1);
  if (!text)
    abort();
  memcpy(text, from, length);
  text[length] = 0;
  return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const uint8_t *newline = size ? memchr(data, '\n', size) : NULL;
  size_t first = newline ? (size_t)(newline - data) : size;
  char *pattern = copy(data, first);
  char *path = newline ? copy(newline + 1, size - first - 1) : copy(data, 0);
  bool matches = glob_matches(pattern, path);
  utf8_valid(pattern);
  utf8_valid(path);
  if (usual(pattern) && usual(path)) {
    pattern_start = (chars)pattern;
    path_start = (chars)path;
    memset(tried, 0, sizeof tried);
    FUZZ_REQUIRE(matches == any(pattern_start, path_start));
  }
  free(pattern);
  free(path);
  return 0;
}
