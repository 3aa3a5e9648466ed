/** The Redis of a simulation, which looks at each result at the moment at which it is written. */
import { keys } from '../../../shared/queue/keys.ts';
import { Store, type StoreOptions } from './store.ts';
import type { Witness } from './witness.ts';

const RESULT = keys.result('');

interface Written {
  readonly job: string;
  readonly text: string;
}

export class Records extends Store {
  readonly written: Written[] = [];
  readonly broken: string[] = [];
  /** Results that came too late, and what they were told. */
  readonly refused: string[] = [];
  readonly #witness: Witness;

  constructor(options: StoreOptions, witness: Witness) {
    super(options);
    this.#witness = witness;
  }

  override set(...entry: Parameters<Store['set']>): void {
    const [key, value] = entry;
    if (key.startsWith(RESULT)) this.#onResult(key.slice(RESULT.length), value as string);
    super.set(...entry);
  }

  fieldOf(job: string, field: string): string | undefined {
    return this.get<Map<string, string>>(keys.job(job))?.get(field);
  }

  isDone(job: string): boolean {
    return this.fieldOf(job, 'state') === 'done';
  }

  /** Only whoever began the job last may write, and only what its own program said. */
  #onResult(job: string, text: string): void {
    if (this.written.some((one) => one.job === job)) this.broken.push(`two results of ${job}`);
    this.written.push({ job, text });
    const { stdout, worker } = JSON.parse(text) as { stdout: string; worker: string | null };
    if (stdout === '') return;
    const holder = this.fieldOf(job, 'worker');
    if (worker !== holder) {
      this.broken.push(`${worker} wrote the result of ${job}, which ${holder} has begun since`);
    }
    const own = this.#witness.of(job).filter((run) => run.worker === worker);
    if (!own.some(({ number }) => stdout === `${job} ${number}`)) {
      this.broken.push(`${worker} says that ${job} wrote "${stdout}", which none of its runs did`);
    }
  }
}
