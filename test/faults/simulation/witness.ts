/** What the engine saw of programs: who was started, where, and until when. It knows nothing of records or fences. */
export interface Run {
  /** In order of starting, over all jobs. */
  readonly number: number;
  readonly job: string;
  readonly worker: string;
  readonly startedAtMs: number;
  endedAtMs: number | undefined;
}

export class Witness {
  readonly runs: Run[] = [];
  readonly #nowMs: () => number;
  readonly #meeting: (() => void)[] = [];

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  started(job: string, worker: string): Run {
    const number = this.runs.length + 1;
    const run: Run = { number, job, worker, startedAtMs: this.#nowMs(), endedAtMs: undefined };
    this.runs.push(run);
    return run;
  }

  ended(run: Run): void {
    run.endedAtMs ??= this.#nowMs();
  }

  /** Calls back once so many have come here. */
  meet(count: number, go: () => void): void {
    this.#meeting.push(go);
    if (this.#meeting.length >= count) for (const each of this.#meeting.splice(0)) each();
  }

  of(job: string): Run[] {
    return this.runs.filter((run) => run.job === job);
  }

  get open(): Run[] {
    return this.runs.filter(({ endedAtMs }) => endedAtMs === undefined);
  }
}
