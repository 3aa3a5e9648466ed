import { PassThrough, Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { createPrinter, PipeClosedError } from '../../services/cli/printer.ts';

function streams() {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  return { stdout, stderr, out: () => stdout.read() as Buffer, err: () => String(stderr.read()) };
}

const state = (attempt: number) => ({ id: 'j', state: 'running', attempt }) as const;

describe('the printer', () => {
  it('prints bytes where they belong, as they are', async () => {
    const { out, err, ...both } = streams();
    const printer = createPrinter(both);
    const bytes = Buffer.from([0, 0xff, 0xc3]);
    await printer.output('stdout', bytes);
    await printer.output('stderr', Buffer.from('e'));
    expect(out()).toEqual(bytes);
    expect(err()).toBe('e');
  });

  it('waits until they were taken', async () => {
    let take: () => void = () => {};
    const slow = new Writable({
      write(_chunk, _encoding, done) {
        take = done;
      },
    });
    let isPrinted = false;
    const printing = createPrinter({ stdout: slow, stderr: slow })
      .output('stdout', Buffer.from('x'))
      .then(() => {
        isPrinted = true;
      });
    await new Promise((resolve) => setImmediate(resolve));
    expect(isPrinted).toBe(false);
    take();
    await printing;
  });

  it('says that output begins again, where some had been printed', async () => {
    const { err, ...both } = streams();
    const printer = createPrinter(both);
    printer.state(state(1));
    printer.state(state(2));
    await printer.output('stdout', Buffer.from('x'));
    printer.state(state(2));
    expect(both.stderr.readableLength).toBe(0);
    printer.state(state(3));
    expect(err()).toContain('begins again');
  });

  it('fails with the exit code of a closed pipe when nobody reads', async () => {
    const { stdout, stderr } = streams();
    stdout.destroy();
    const printing = createPrinter({ stdout, stderr }).output('stdout', Buffer.from('x'));
    await expect(printing).rejects.toBeInstanceOf(PipeClosedError);
    await expect(printing).rejects.toMatchObject({ exitCode: 141 });
  });
});
