/**
 * What is kept of one output stream of one step: the head as it came and the tail as it was kept, put together into
 * text with exact bytes. Where bytes are missing between the two, no character is split: the bytes of a character that
 * the cut went through are dropped on both sides of it.
 */
import { isUtf8 } from 'node:buffer';
import { brokenEnd, brokenStart } from '../../shared/utf8.ts';
import { ProtocolError } from './protocol/decoder.ts';

export interface CapturedStream {
  readonly text: string;
  readonly encoding: 'utf8' | 'base64';
  /** Bytes written in all, kept or not. */
  readonly totalBytes: number;
  /** Offset in the kept bytes at which bytes are missing; null when none are. */
  readonly cutAt: number | null;
}

export interface Capture {
  add(part: 'head' | 'tail', bytes: Buffer): void;
  /** Bytes of the head so far. */
  readonly headBytes: number;
  /** Bytes of both parts so far. */
  readonly keptBytes: number;
  /** Past this point bytes may be missing between head and tail. */
  readonly isFull: boolean;
  /** A copy of the kept bytes from an offset on, at most so many. */
  read(from: number, most: number): Buffer;
  /** `totalBytes` as the guest counted, or null when it did not live to say. */
  finish(totalBytes: number | null): CapturedStream;
}

/** Throws a ProtocolError when more comes than the guest may send. */
export function createCapture(capBytes: number): Capture {
  const parts = { head: createBlocks(), tail: createBlocks() };
  let kept = 0;
  return {
    get headBytes() {
      return parts.head.length;
    },
    get keptBytes() {
      return kept;
    },
    get isFull() {
      return kept >= capBytes;
    },
    read(from, most) {
      const head = parts.head.read(from, most);
      const intoTail = Math.max(0, from - parts.head.length);
      return Buffer.concat([head, parts.tail.read(intoTail, most - head.length)]);
    },
    add(part, bytes) {
      kept += bytes.length;
      if (kept > capBytes) throw new ProtocolError(`more than ${capBytes} bytes of a stream came`);
      parts[part].append(bytes);
    },
    finish(totalBytes) {
      const total = Math.max(totalBytes ?? kept, kept);
      const head = parts.head.whole();
      const tail = parts.tail.whole();
      if (total > kept) return cutStream(head, tail, total);
      const whole = Buffer.concat([head, tail]);
      // Without the guest's word the stream may break off anywhere, within a character too.
      return totalBytes === null && brokenEnd(whole) > 0
        ? cutStream(whole, Buffer.alloc(0), total)
        : wholeStream(whole);
    },
  };
}

function wholeStream(bytes: Buffer): CapturedStream {
  const encoding = isUtf8(bytes) ? 'utf8' : 'base64';
  return { text: bytes.toString(encoding), encoding, totalBytes: bytes.length, cutAt: null };
}

function cutStream(head: Buffer, tail: Buffer, totalBytes: number): CapturedStream {
  const headText = head.subarray(0, head.length - brokenEnd(head));
  const tailText = tail.subarray(brokenStart(tail));
  if (isUtf8(headText) && isUtf8(tailText)) {
    const text = headText.toString('utf8') + tailText.toString('utf8');
    return { text, encoding: 'utf8', totalBytes, cutAt: headText.length };
  }
  const text = Buffer.concat([head, tail]).toString('base64');
  return { text, encoding: 'base64', totalBytes, cutAt: head.length };
}

const BLOCK_BYTES = 65_536;

/** Bytes in large pieces, whatever the size of those that come: a buffer for each byte would take a hundred. */
interface Blocks {
  readonly length: number;
  append(bytes: Buffer): void;
  read(from: number, most: number): Buffer;
  whole(): Buffer;
}

function createBlocks(): Blocks {
  const full: Buffer[] = [];
  let last = Buffer.alloc(0);
  let used = 0;
  const length = (): number => full.length * BLOCK_BYTES + used;
  return {
    get length() {
      return length();
    },
    append(bytes) {
      for (let at = 0; at < bytes.length; ) {
        if (used === last.length) {
          if (used > 0) full.push(last);
          last = Buffer.allocUnsafeSlow(BLOCK_BYTES);
          used = 0;
        }
        const copied = bytes.copy(last, used, at);
        used += copied;
        at += copied;
      }
    },
    read(from, most) {
      const end = Math.min(length(), from + most);
      const pieces: Buffer[] = [];
      for (let at = from; at < end; ) {
        const block = full[Math.floor(at / BLOCK_BYTES)] ?? last;
        const within = at % BLOCK_BYTES;
        const piece = block.subarray(within, within + end - at);
        pieces.push(piece);
        at += piece.length;
      }
      return Buffer.concat(pieces);
    },
    whole: () => Buffer.concat([...full, last.subarray(0, used)]),
  };
}
