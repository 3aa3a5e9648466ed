/** JSON with something wrong in it, at any depth: values of other kinds and sizes, odd keys, text that is no JSON. */
import type { Random } from './random.ts';

const WIDE = 20_000;
const DEEP = 3_000;
/** Of a list that repeats what it has: more is refused for its size alone. */
const MOST_BYTES = 100_000;

const ODD_NUMBERS = [
  '-0',
  '-1',
  '0',
  '0.5',
  '1e400',
  '-1e400',
  '1e-400',
  '1e308',
  '9007199254740993',
  '-9007199254740993',
  '18446744073709551616',
  '2147483648',
  '4294967296',
  '9'.repeat(400),
  `0.${'3'.repeat(400)}`,
];

const ODD_STRINGS = [
  '""',
  '" "',
  '"\\u0000"',
  '"a\\u0000b"',
  '"\\ud800"',
  '"\\udfff\\ud800"',
  '"\\ud83d\\ude00"',
  '"\\ufeff"',
  '"\\uffff"',
  '"\\u202e"',
  '"\\r\\nSet-Cookie: a=b"',
  '"__proto__"',
  '"constructor"',
  '"toString"',
  '"hasOwnProperty"',
  '"null"',
  '"NaN"',
  '"-1"',
  '"1e9"',
  '"0x10"',
  '"true"',
  '"[object Object]"',
  '"../../etc/passwd"',
  '"/"',
  '"."',
  '"C:\\\\x"',
  '"%00"',
  '"%s%n"',
  '"*"',
  '"**/**/**"',
  '"[z-a]"',
  '"{a,b"',
  '"(a+)+$"',
  '"(?<=a)("',
  '"a:b:c"',
  '"{cofferdam}:x"',
  '"job_"',
  '"2026-99-99T99:99:99Z"',
  '"http://[::1"',
  '"http://0x7f.1/"',
  '"file:///etc/passwd"',
  '"http://u:p@127.0.0.1:99999/"',
  '"sha256:"',
  '"apr_00000000000000000000000000000000"',
  '"=?utf-8?q?=00?="',
  '"é\u0300\u{1F600}"',
];

const ODD_KEYS = [
  '"__proto__"',
  '"constructor"',
  '"prototype"',
  '"toString"',
  '"valueOf"',
  '"hasOwnProperty"',
  '"then"',
  '"toJSON"',
  '"length"',
  '"0"',
  '""',
  '"\\u0000"',
  '"\\ud800"',
  '"a.b"',
  '"$ref"',
  `"${'k'.repeat(300)}"`,
];

const nested = (depth: number, open: string, close: string): string =>
  open.repeat(depth) + close.repeat(depth);

const ODD_VALUES: readonly ((random: Random) => string)[] = [
  ({ pick }) => pick(['null', 'true', 'false']),
  ({ pick }) => pick(ODD_NUMBERS),
  ({ pick }) => pick(ODD_STRINGS),
  ({ pick }) => pick(ODD_STRINGS),
  ({ pick }) => pick(['[]', '{}', '[[]]', '[null]', '[{}]', '{"":{}}', '[1,"a",null]']),
  ({ pick }) => `{${pick(ODD_KEYS)}:${pick(['null', '{}', '{"x":1}', '"y"', '[]', '-1'])}}`,
  ({ pick }) => `"${pick(['x', 'é', '\\u0000', '\\ud800', '/', '[', '(', '*'])}"`,
  ({ pick, below }) =>
    `"${pick(['x', 'é', '\\ud800', 'a/', '[', '(', '*'])}"`.replace(
      /.+?(?="$)/u,
      (text) => text[0] + text.slice(1).repeat(1 + below(WIDE)),
    ),
  ({ below }) => nested(1 + below(DEEP), '[', ']'),
  ({ below }) => `${'{"a":'.repeat(below(DEEP))}1`,
  ({ below, pick }) =>
    `[${Array(1 + below(2_000))
      .fill(pick(['1', '"a"', '{}', 'null']))
      .join()}]`,
  ({ below }) => `{${Array.from({ length: 1 + below(500) }, (_, at) => `"k${at}":"v"`).join()}}`,
];

/** The text of a value with up to three places changed; sometimes the text itself is broken as well. */
export function malformedJson(value: unknown, random: Random): string {
  const places = countPlaces(value);
  const changes = random.pick([0, 1, 1, 1, 2, 3]);
  const wrong = new Set(Array.from({ length: changes }, () => random.below(places)));
  let place = 0;
  const write = (one: unknown): string => {
    const isWrong = wrong.has(place++);
    if (isWrong && random.chance(0.6)) return random.pick(ODD_VALUES)(random);
    if (Array.isArray(one)) return writeList(one.map(write), isWrong, random);
    if (typeof one === 'object' && one !== null) {
      const fields = Object.entries(one).map(
        ([key, held]) => [JSON.stringify(key), write(held)] as const,
      );
      return writeObject(fields, isWrong, random);
    }
    return isWrong ? `[${JSON.stringify(one)}]` : (JSON.stringify(one) ?? 'null');
  };
  const text = write(value);
  return random.chance(0.12) ? brokenText(text, random) : text;
}

function countPlaces(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 1;
  return Object.values(value).reduce<number>((sum, one) => sum + countPlaces(one), 1);
}

function writeList(items: readonly string[], isWrong: boolean, random: Random): string {
  if (!isWrong) return `[${items.join()}]`;
  const text = items.join() || 'null';
  const most = Math.min(600, Math.ceil(MOST_BYTES / text.length));
  const repeated = Array(1 + random.below(most)).fill(text);
  return random.pick([`[${repeated.join()}]`, `[[${items.join()}]]`, items[0] ?? '{}']);
}

type Field = readonly [key: string, value: string];

function writeObject(fields: readonly Field[], isWrong: boolean, random: Random): string {
  const text = (all: readonly Field[]): string =>
    `{${all.map(([key, value]) => `${key}:${value}`).join()}}`;
  if (!isWrong) return text(fields);
  const [first] = fields;
  const odd: Field = [random.pick(ODD_KEYS), random.pick(ODD_VALUES)(random)];
  return random.pick([
    () => text([...fields, odd]),
    () => text([odd, ...fields]),
    () => text(first === undefined ? [] : [...fields, [first[0], odd[1]]]),
    () => text(fields.filter(() => random.chance(0.5))),
    () => text(fields.map(([key, value]) => [random.chance(0.3) ? odd[0] : key, value])),
    () => `[${text(fields)}]`,
    () => JSON.stringify(text(fields)),
  ])();
}

function brokenText(text: string, random: Random): string {
  const at = random.below(text.length + 1);
  const put = (piece: string): string => text.slice(0, at) + piece + text.slice(at);
  return random.pick([
    () => text.slice(0, at),
    () => put(random.pick(['{', '}', '[', ']', '"', ',', ':', '\\', '\0', '\n', 'NaN', '\\u12'])),
    () => put('/* */'),
    () => text.slice(0, at) + text.slice(at + 1),
    () => text + text,
    () => `\ufeff${text}`,
    () => text.replaceAll('"', "'"),
    () => `${text},`,
    () => ' '.repeat(1 + random.below(WIDE)) + text,
    () => '',
  ])();
}
