/*
 * Not fnmatch(): its meaning depends on the C library and the locale, and some take exponential time over a pattern
 * of many stars. Here going back to the last star is enough, at both levels: what an earlier star could take more,
 * the last one can take as well.
 */
#include "glob.h"

#include <stddef.h>
#include <string.h>

enum { BAD_BYTE = 0x110000 }; /* plus the byte: a character of its own that no valid text contains */

/* The character at *at, which moves behind it. Overlong forms, surrogates and stray bytes are bad. */
static uint32_t next_character(const unsigned char **at)
{
  static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
  unsigned char first = *(*at)++;
  int length = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf8 ? 4 : 0;
  if (length == 1)
    return first;
  uint32_t value = first & (0x7fU >> length);
  for (int i = 1; i < length; i++) {
    if (((*at)[i - 1] & 0xc0) != 0x80)
      return BAD_BYTE + first;
    value = value << 6 | ((*at)[i - 1] & 0x3fU);
  }
  if (length == 0 || value < least[length] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
    return BAD_BYTE + first;
  *at += length - 1;
  return value;
}

bool utf8_valid(const char *text)
{
  const unsigned char *at = (const unsigned char *)text;
  while (*at)
    if (next_character(&at) >= BAD_BYTE)
      return false;
  return true;
}

/* [abc], [a-z], [!a-z]; a ] that comes first is one of the class. Moves *pattern behind it; NULL when it never ends. */
static bool class_has(const unsigned char **pattern, const unsigned char *end, uint32_t character)
{
  const unsigned char *at = *pattern + 1;
  bool negated = *at == '!' || *at == '^', found = false;
  at += negated;
  for (bool first = true; at < end && (first || *at != ']'); first = false) {
    uint32_t low = next_character(&at), high = low;
    if (at + 1 < end && at[0] == '-' && at[1] != ']') {
      at++;
      high = next_character(&at);
    }
    found = found || (low <= character && character <= high);
  }
  *pattern = at < end ? at + 1 : NULL;
  return found != negated;
}

/* One character of a name against one item of a pattern, which moves on when it matches. */
static bool item_matches(const unsigned char **pattern, const unsigned char *end, uint32_t character)
{
  if (*pattern >= end)
    return false;
  const unsigned char *after = *pattern;
  if (**pattern == '[') {
    bool found = class_has(&after, end, character);
    if (after) {
      *pattern = after;
      return found;
    }
    after = *pattern; /* never closed: an ordinary [ */
  }
  uint32_t expected = next_character(&after);
  if (expected != '?' && expected != character)
    return false;
  *pattern = after;
  return true;
}

static bool component_matches(const char *pattern, size_t pattern_length, const char *name, size_t name_length)
{
  const unsigned char *p = (const unsigned char *)pattern, *p_end = p + pattern_length;
  const unsigned char *n = (const unsigned char *)name, *n_end = n + name_length;
  const unsigned char *star = NULL, *star_name = NULL;
  if (name[0] == '.' && pattern[0] != '.')
    return false;
  while (n < n_end || p < p_end) {
    if (p < p_end && *p == '*') {
      star = ++p;
      star_name = n;
      continue;
    }
    const unsigned char *try = p, *rest = n;
    if (n < n_end && item_matches(&try, p_end, next_character(&rest))) {
      p = try;
      n = rest;
      continue;
    }
    if (!star || star_name >= n_end)
      return false;
    next_character(&star_name);
    n = star_name;
    p = star;
  }
  return true;
}

static const char *behind(const char *component)
{
  component += strcspn(component, "/");
  return *component == '/' ? component + 1 : component;
}

/* A pattern that is used up before the path is has named a folder above it. */
bool glob_matches(const char *pattern, const char *path)
{
  const char *star = NULL, *star_path = NULL, *start = path;
  while (*pattern || path == start) {
    size_t length = strcspn(pattern, "/");
    if (length == 2 && memcmp(pattern, "**", 2) == 0) {
      star = pattern = behind(pattern);
      star_path = path;
      if (*pattern || path != start)
        continue;
    } else if (*path && component_matches(pattern, length, path, strcspn(path, "/"))) {
      pattern = behind(pattern);
      path = behind(path);
      continue;
    }
    if (!star || *star_path == 0 || *star_path == '.')
      return false;
    path = star_path = behind(star_path);
    pattern = star;
  }
  return true;
}
