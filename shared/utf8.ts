/** Where characters of UTF-8 break: for whoever cuts bytes and must not split one. */

const isContinuation = (byte: number | undefined): boolean =>
  byte !== undefined && (byte & 0xc0) === 0x80;

/** A character has at most three continuation bytes. */
const MAX_CONTINUATION = 3;

/** How many bytes at the end are the start of a character whose rest is missing. */
export function brokenEnd(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(MAX_CONTINUATION, bytes.length); back++) {
    const byte = bytes[bytes.length - back] as number;
    if (isContinuation(byte)) continue;
    const needed = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return needed > back ? back : 0;
  }
  return 0;
}

/** How many bytes at the start are the rest of a character whose start is missing. */
export function brokenStart(bytes: Buffer): number {
  let count = 0;
  while (count < MAX_CONTINUATION && isContinuation(bytes[count])) count++;
  return count;
}
