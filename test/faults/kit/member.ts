/** A process of a world that may end and be started again, with the same settings unless it is given others. */
import { limited } from '../../../shared/limited.ts';
import { type Caller, callerOf, type Exit, startProcess } from '../../helpers/server.ts';

export type Env = Readonly<Record<string, string>>;
type Started = Awaited<ReturnType<typeof startProcess>>;

const ENDS_WITHIN_MS = 60_000;
const UP = {
  api: /"url":"(http:[^"]+)".*"api started"/,
  worker: /"worker":"([^"]+)".*"worker started"/,
} as const;

/** A test that is itself killed leaves nothing running: the kernel ends its processes with it. */
const WITH_ITS_PARENT = ['setpriv', '--pdeathsig', 'KILL'];

export interface StartOptions {
  readonly env?: Env;
  /** A command line that becomes the process's own, such as `ip netns exec one`. */
  readonly within?: readonly string[];
  readonly nodeOptions?: readonly string[];
}

export abstract class Member {
  abstract readonly role: 'api' | 'worker';
  /** What the processes have said of themselves, first to last. */
  protected readonly said: string[] = [];
  #options: StartOptions;
  #earlierLog = '';
  #current: Started | undefined;
  #isUp = false;

  constructor(options: StartOptions) {
    this.#options = options;
  }

  /** Of the process that runs now or ran last. */
  get pid(): number {
    return this.#process.pid;
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** Resolves when the process that runs now ends, by itself or not. */
  get exited(): Promise<Exit> {
    return this.#process.exited;
  }

  /** What all its processes have logged. */
  log(): string {
    return this.#earlierLog + (this.#current?.log() ?? '');
  }

  async start({ env, ...how }: StartOptions = {}): Promise<void> {
    if (this.#isUp) throw new Error(`the ${this.role} ${this.pid} has not ended`);
    this.#options = { ...this.#options, ...how, env: { ...this.#options.env, ...env } };
    this.#earlierLog = this.log();
    this.#current = undefined;
    const up = UP[this.role];
    const started = await startProcess(this.role, this.#options.env ?? {}, {
      ...this.#options,
      within: [...(this.#options.within ?? []), ...WITH_ITS_PARENT],
      up,
      isDetached: true,
    });
    this.#current = started;
    this.#isUp = true;
    this.said.push(started.said);
    void started.exited.then(() => {
      if (this.#current === started) this.#isUp = false;
    });
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.signal(signal);
  }

  /** Ends it, by SIGKILL unless told otherwise, and waits until it has ended. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<Exit> {
    this.signal(signal);
    return limited(this.exited, ENDS_WITHIN_MS);
  }

  /** As an operator stops it, if it is up. */
  async stop(): Promise<void> {
    if (!this.#isUp) return;
    this.signal('SIGCONT');
    await this.#process.stop();
  }

  get #process(): Started {
    if (this.#current === undefined) throw new Error(`the ${this.role} was not started`);
    return this.#current;
  }
}

export class Api extends Member {
  readonly role = 'api';
  readonly key: string;
  /** The same after each start. */
  readonly url: string;
  readonly caller: Caller;

  constructor(options: StartOptions, { key, port }: { key: string; port: number }) {
    super({ ...options, env: { ...options.env, COFFERDAM_PORT: String(port) } });
    this.key = key;
    this.url = `http://127.0.0.1:${port}`;
    this.caller = callerOf(this);
  }
}

export class Worker extends Member {
  readonly role = 'worker';

  /** The id of the worker that runs now or ran last, which its sandboxes are labelled with. */
  get id(): string {
    return this.said.at(-1) ?? '';
  }

  /** The ids of all, first to last. */
  get ids(): readonly string[] {
    return this.said;
  }
}
