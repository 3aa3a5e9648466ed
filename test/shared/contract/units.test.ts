import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cleanText, utf8Bytes, variableName, workPath } from '../../../shared/contract/units.ts';

const accepts = (path: string): boolean => workPath.safeParse(path).success;

/** Text that is made to be a bad path more often than chance would make it. */
const pathlike = fc
  .array(
    fc.oneof(
      fc.constantFrom('/', '..', '.', '\\', '\0', '\n', '\x7f', ' ', 'a', 'é', '…', '\ud800', '*'),
      fc.string({ unit: 'binary', maxLength: 3 }),
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.join(''));

describe('a path beneath /work', () => {
  it('that is accepted can lead nowhere else, whatever was asked', () => {
    fc.assert(
      fc.property(pathlike, (path) => {
        if (!accepts(path)) return;
        expect(path.startsWith('/')).toBe(false);
        expect(path.split('/')).not.toContain('..');
        expect(path.split('/')).not.toContain('.');
        expect(path.split('/')).not.toContain('');
        expect(/[\p{Cc}\\]/u.test(path.replace(/[\x80-\x9f]/g, ''))).toBe(false);
        expect(path.isWellFormed()).toBe(true);
        expect(utf8Bytes(path)).toBeLessThanOrEqual(1024);
        expect(Buffer.from(path, 'utf8').toString('utf8')).toBe(path);
      }),
      { numRuns: 3000 },
    );
  });

  it('is accepted whenever its components are plain names', () => {
    const name = fc.stringMatching(/^[A-Za-z0-9_ ()äß-][A-Za-z0-9._ -]{0,20}$/);
    fc.assert(
      fc.property(fc.array(name, { minLength: 1, maxLength: 8 }), (parts) => {
        expect(accepts(parts.join('/'))).toBe(true);
      }),
    );
  });

  it.each([
    'a',
    '.hidden',
    '..a',
    'a..',
    '...',
    'a/b/c',
    'a b',
    "a'b",
    '~',
    '-rf',
    'é',
    '日本/語',
    'a*?[b]',
  ])('may be %j', (path) => expect(accepts(path)).toBe(true));

  it.each([
    '',
    '/',
    '/a',
    'a/',
    'a//b',
    '.',
    '..',
    './a',
    'a/..',
    'a/../b',
    'a\\b',
    'a\0',
    'a\nb',
    'a\rb',
    '\x1b[2J',
    'a\x7f',
    '\ud800',
    `${'a/'.repeat(512)}a`,
    'a'.repeat(256),
    'é'.repeat(128),
  ])('may not be %j', (path) => expect(accepts(path)).toBe(false));

  it('has components and a length as long as Linux takes them', () => {
    expect(accepts('a'.repeat(255))).toBe(true);
    expect(accepts(`${'a'.repeat(255)}/`.repeat(4).slice(0, 1023))).toBe(true);
  });
});

describe('text for an argument', () => {
  it('keeps its bytes when it is accepted, and holds no NUL', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), fc.nat(40), (text, most) => {
        if (!cleanText(most).safeParse(text).success) return;
        expect(Buffer.from(text, 'utf8').toString('utf8')).toBe(text);
        expect(Buffer.from(text, 'utf8').includes(0)).toBe(false);
        expect(Buffer.byteLength(text)).toBeLessThanOrEqual(most);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('the name of a variable', () => {
  it.each([
    ['A', true],
    ['_', true],
    ['a1_B', true],
    ['', false],
    ['1A', false],
    ['A-B', false],
    ['A=', false],
    ['é', false],
    ['A\n', false],
    ['A'.repeat(255), true],
    ['A'.repeat(256), false],
  ])('%j: %s', (name, isName) => expect(variableName.safeParse(name).success).toBe(isName));
});
