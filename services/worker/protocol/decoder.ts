/**
 * Chunks of bytes → frames. The guest is ours but shares its inside with hostile code, so every length is checked
 * before anything is kept for it, and no more than one frame is ever held.
 */
import { FROM_GUEST, HEADER_BYTES, MAX_PAYLOAD_BYTES } from './frame.ts';

export interface Frame {
  readonly type: number;
  readonly payload: Buffer;
}

/** The peer broke the protocol; nothing more of it can be believed. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
}

const KNOWN_TYPES: ReadonlySet<number> = new Set(Object.values(FROM_GUEST));

/** A function that takes chunks and hands on each complete frame; throws a ProtocolError. */
export function createDecoder(onFrame: (frame: Frame) => void): (chunk: Buffer) => void {
  let pending: Buffer[] = [];
  let pendingBytes = 0;

  const take = (): Buffer => {
    const all =
      pending.length === 1 ? (pending[0] as Buffer) : Buffer.concat(pending, pendingBytes);
    pending = [];
    pendingBytes = 0;
    return all;
  };

  /** How many bytes the frame at the front has in all, once its header is here. */
  let wanted = HEADER_BYTES;

  return (chunk) => {
    pending.push(chunk);
    pendingBytes += chunk.length;
    if (pendingBytes < wanted) return;

    const bytes = take();
    let at = 0;
    for (;;) {
      if (bytes.length - at < HEADER_BYTES) {
        wanted = HEADER_BYTES;
        break;
      }
      const type = bytes.readUInt8(at);
      const length = bytes.readUInt32BE(at + 1);
      if (!KNOWN_TYPES.has(type)) throw new ProtocolError(`unknown frame type ${type}`);
      if (length > MAX_PAYLOAD_BYTES) {
        throw new ProtocolError(
          `frame ${type} claims ${length} bytes, at most ${MAX_PAYLOAD_BYTES}`,
        );
      }
      const end = at + HEADER_BYTES + length;
      if (bytes.length < end) {
        wanted = HEADER_BYTES + length;
        break;
      }
      onFrame({ type, payload: bytes.subarray(at + HEADER_BYTES, end) });
      at = end;
    }
    if (at < bytes.length) {
      pending.push(bytes.subarray(at));
      pendingBytes = bytes.length - at;
    }
  };
}

/** The integers of a payload that holds exactly so many. */
export function decodeInts(payload: Buffer, count: number): number[] {
  if (payload.length !== count * 8) {
    throw new ProtocolError(`expected ${count} integers, came ${payload.length} bytes`);
  }
  return Array.from({ length: count }, (_, index) => decodeInt(payload, index * 8));
}

export function decodeInt(payload: Buffer, at: number): number {
  if (payload.length < at + 8) throw new ProtocolError('expected an integer, came too few bytes');
  const value = payload.readBigUInt64BE(at);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new ProtocolError(`an integer is out of range: ${value}`);
  }
  return Number(value);
}
