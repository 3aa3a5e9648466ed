/*
 * Not fnmatch(): its meaning depends on the C library and the locale, and some take exponential
 * time over a pattern of many stars. Here going back to the last star is enough, at both levels:
 * what an earlier star could take more, the last one can take as well.
 */
#include "guest.h"

typedef const unsigned char *chars;
enum { BAD_BYTE = 0x110000 }; /* plus the byte: a character that no valid text contains */

/* The character at *at, which moves behind it. Overlong forms, surrogates, stray bytes are bad. */
static uint32_t next_character(chars *at) {
  static const uint32_t least_of[] = { 0, 0, 0x80, 0x800, 0x10000 };
  unsigned char first = *(*at)++;
  int length = first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf8 ? 4 : 0;
  if (first < 0x80)
    return first;
  uint32_t value = first & (0x7fU >> length);
  for (int i = 0; i < length - 1; i++) {
    if (((*at)[i] & 0xc0) != 0x80)
      return BAD_BYTE + first;
    value = value << 6 | ((*at)[i] & 0x3fU);
  }
  if (length == 0 || value < least_of[length] || value > 0x10ffff || value >> 11 == 0xd800 >> 11)
    return BAD_BYTE + first;
  *at += length - 1;
  return value;
}

bool utf8_valid(const char *text) {
  for (chars at = (chars)text; *at;)
    if (next_character(&at) >= BAD_BYTE)
      return false;
  return true;
}

static bool more(chars component) {
  return *component != 0 && *component != '/';
}

static chars behind(chars component) {
  while (more(component))
    component++;
  return component + (*component == '/');
}

/* [abc], [a-z], [!a-z]; a ] that comes first is one of the class. Moves *pattern behind it, or
 * leaves it when the class never ends. */
static bool class_has(chars *pattern, uint32_t character) {
  chars at = *pattern + 1;
  bool negated = *at == '!' || *at == '^', found = false;
  at += negated;
  for (bool first = true; more(at) && (first || *at != ']'); first = false) {
    uint32_t low = next_character(&at), high = low;
    if (at[0] == '-' && more(at + 1) && at[1] != ']') {
      at++;
      high = next_character(&at);
    }
    found = found || (low <= character && character <= high);
  }
  if (more(at))
    *pattern = at + 1;
  return found != negated;
}

/* One character against one item of a pattern; both move on when they match. */
static bool item_matches(chars *pattern, chars *name) {
  chars p = *pattern, n = *name;
  if (!more(p) || !more(n))
    return false;
  uint32_t character = next_character(&n);
  bool matches = *p == '[' && class_has(&p, character);
  if (p == *pattern) { /* no class; a [ that is never closed is an ordinary one */
    uint32_t expected = next_character(&p);
    matches = expected == '?' || expected == character;
  }
  if (matches) {
    *pattern = p;
    *name = n;
  }
  return matches;
}

static bool component_matches(chars pattern, chars name) {
  chars star = NULL, star_name = NULL;
  if (*name == '.' && *pattern != '.')
    return false;
  while (more(name) || more(pattern)) {
    if (*pattern == '*') {
      star = ++pattern;
      star_name = name;
    } else if (!item_matches(&pattern, &name)) {
      if (!star || !more(star_name))
        return false;
      next_character(&star_name);
      name = star_name;
      pattern = star;
    }
  }
  return true;
}

/* A pattern that is used up before the path is has named a folder above it. */
bool glob_matches(const char *glob, const char *path) {
  chars pattern = (chars)glob, start = (chars)path, name = start, star = NULL, star_name = NULL;
  while (*pattern || name == start) {
    if (pattern[0] == '*' && pattern[1] == '*' && !more(pattern + 2)) {
      star = pattern = behind(pattern);
      star_name = name;
      if (*pattern || name != start)
        continue;
    } else if (*name && component_matches(pattern, name)) {
      pattern = behind(pattern);
      name = behind(name);
      continue;
    }
    if (!star || *star_name == 0 || *star_name == '.')
      return false;
    name = star_name = behind(star_name);
    pattern = star;
  }
  return true;
}
