/**
 * What follows for jobs from how the engine is. It may be silent, make no sandboxes, or remove none.
 *
 * While it only makes none, jobs still get what is ready; with nothing ready, or an engine that is silent (the streams
 * to its sandboxes pass through it), jobs are for other workers.
 */
import { SandboxUnavailableError } from '../sandbox/sandbox.ts';
import type { PoolOptions } from './pool-options.ts';
import type { Stocks } from './stocks.ts';

/** Of sandboxes that cannot be removed no more than this: each may hold memory and processes of the host. */
const MAX_QUARANTINED = 32;

export interface EngineState {
  /** Whether sandboxes can be made at present. */
  isFailing(): boolean;
  /** Throws a SandboxUnavailableError where even a ready sandbox is of no use. */
  requireStreams(): void;
  /** Throws a SandboxUnavailableError where the engine is not to be asked for another sandbox. */
  requireRoom(): void;
  /** Tells of a change. To be called whenever one is possible. */
  judge(): void;
}

export function createEngineState(
  {
    watch,
    remover,
    maxReady,
    onJobsUnwelcome,
  }: Pick<PoolOptions, 'watch' | 'remover' | 'maxReady' | 'onJobsUnwelcome'>,
  stocks: Pick<Stocks, 'areFailing' | 'figures'>,
): EngineState {
  let wereUnwelcome = false;

  const cannotRemove = (): boolean => remover.quarantined >= MAX_QUARANTINED;
  /** Only where a stock is kept is it found out without jobs that sandboxes can be made again. */
  const hasRunOut = (): boolean =>
    maxReady > 0 && stocks.areFailing() && stocks.figures().ready === 0;

  const requireStreams = (): void => {
    if (watch.isSilent()) throw new SandboxUnavailableError('the engine does not answer');
  };

  return {
    isFailing: () => watch.isSilent() || cannotRemove() || stocks.areFailing(),
    requireStreams,
    requireRoom() {
      requireStreams();
      if (!cannotRemove()) return;
      throw new SandboxUnavailableError(`${remover.quarantined} sandboxes cannot be removed`);
    },
    judge() {
      const areUnwelcome = watch.isSilent() || cannotRemove() || hasRunOut();
      if (areUnwelcome === wereUnwelcome) return;
      wereUnwelcome = areUnwelcome;
      onJobsUnwelcome?.(areUnwelcome);
    },
  };
}
