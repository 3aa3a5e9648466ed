/** How far a batch is, on standard error: a bar on a terminal, else a plain line every few seconds. */

/** What is written to; standard error, or what a test puts in its place. */
export interface Screen {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

export interface Progress {
  uploading(sentBytes: number, totalBytes: number | undefined): void;
  following(done: { done: number; total: number | undefined; failures: number }): void;
  /** A line of its own. */
  note(line: string): void;
  /** Shows the last state and stops the clock. */
  stop(): void;
}

const BAR_EVERY_MS = 200;
const LINE_EVERY_MS = 5_000;
const BAR_WIDTH = 24;
/** The rate is that of the last seconds: what was long ago says little about what is left. */
const RATE_WINDOW_MS = 15_000;
const NARROWEST = 20;
const DEFAULT_COLUMNS = 80;

export interface Rate {
  /** Jobs a second over the window; undefined until there is one. */
  at(now: number, done: number): number | undefined;
}

export function createRate(): Rate {
  const samples: { at: number; done: number }[] = [];
  return {
    at(now, done) {
      samples.push({ at: now, done });
      while ((samples[1]?.at ?? now) < now - RATE_WINDOW_MS) samples.shift();
      const first = samples[0];
      if (first === undefined || now - first.at < 1000) return undefined;
      return ((done - first.done) * 1000) / (now - first.at);
    },
  };
}

export function showDuration(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

const MEGABYTE = 1_000_000;
const megabytes = (bytes: number): string => (bytes / MEGABYTE).toFixed(1);

const showUpload = (sent: number, total: number | undefined): string =>
  total === undefined
    ? `uploading: ${megabytes(sent)} MB`
    : `uploading: ${megabytes(Math.min(sent, total))} of ${megabytes(total)} MB`;

/** `12/100 · 3.0/s · 1 failed · 30 s left`. */
export function showResults(
  { done, total, failures }: Parameters<Progress['following']>[0],
  rate: number | undefined,
): string {
  const left = total === undefined ? 0 : total - done;
  return [
    `${done}/${total ?? '?'}`,
    ...(rate === undefined ? [] : [`${rate.toFixed(1)}/s`]),
    ...(failures === 0 ? [] : [`${failures} failed`]),
    ...(rate === undefined || rate <= 0 || left <= 0 ? [] : [`${showDuration(left / rate)} left`]),
  ].join(' · ');
}

export function showBar(done: number, total: number | undefined): string {
  const part = total === undefined || total === 0 ? 0 : Math.min(1, done / total);
  const full = Math.floor(part * BAR_WIDTH);
  return `[${'#'.repeat(full)}${'.'.repeat(BAR_WIDTH - full)}]`;
}

export function createProgress({
  screen,
  isBar,
  now = () => performance.now(),
}: {
  screen: Screen;
  isBar: boolean;
  now?: () => number;
}): Progress {
  const rate = createRate();
  let show: (() => string) | undefined;
  let last = '';
  const draw = (): void => {
    const text = show?.() ?? '';
    if (text === '') return;
    if (isBar) {
      const width = Math.max(NARROWEST, (screen.columns || DEFAULT_COLUMNS) - 1);
      screen.write(`\r${text.slice(0, width)}\x1b[K`);
    } else if (text !== last) screen.write(`cofferdam: ${text}\n`);
    last = text;
  };
  const timer = setInterval(draw, isBar ? BAR_EVERY_MS : LINE_EVERY_MS);
  timer.unref();
  return {
    uploading(sent, total) {
      show = () => showUpload(sent, total);
    },
    following(state) {
      show = () => {
        const text = showResults(state, rate.at(now(), state.done));
        return isBar ? `${showBar(state.done, state.total)} ${text}` : text;
      };
    },
    note(line) {
      screen.write(isBar ? `\r\x1b[K${line}\n` : `${line}\n`);
      if (isBar && last !== '') draw();
    },
    stop() {
      clearInterval(timer);
      if (isBar && last !== '') screen.write('\r\x1b[K');
      show = undefined;
    },
  };
}
