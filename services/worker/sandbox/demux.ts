/**
 * The engine sends stdout and stderr of a container over one connection, each piece behind an 8-byte header: the
 * stream (1 or 2), three zeros, the length. Iterative and without copies: pieces are handed on as they come, whatever
 * their size, since the library's own demultiplexer is recursive and quadratic in the number of pieces.
 */

const HEADER_BYTES = 8;
const STDOUT = 1;
const STDERR = 2;

export interface DemuxSink {
  onStdout(bytes: Buffer): void;
  onStderr(bytes: Buffer): void;
}

/** A function that takes chunks of the connection; throws on a header that no engine sends. */
export function createDemux(sink: DemuxSink): (chunk: Buffer) => void {
  const header = Buffer.alloc(HEADER_BYTES);
  let headerBytes = 0;
  let stream = 0;
  let left = 0;

  return (chunk) => {
    let at = 0;
    while (at < chunk.length) {
      if (left === 0) {
        const taken = chunk.copy(header, headerBytes, at, at + HEADER_BYTES - headerBytes);
        headerBytes += taken;
        at += taken;
        if (headerBytes < HEADER_BYTES) return;
        headerBytes = 0;
        stream = header.readUInt8(0);
        left = header.readUInt32BE(4);
        if (stream !== STDOUT && stream !== STDERR) {
          throw new Error(`The engine sent a piece of stream ${stream}; expected 1 or 2.`);
        }
        continue;
      }
      const piece = chunk.subarray(at, at + left);
      left -= piece.length;
      at += piece.length;
      if (stream === STDOUT) sink.onStdout(piece);
      else sink.onStderr(piece);
    }
  };
}
