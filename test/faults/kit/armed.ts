/** Start options under which a process dies, or stands still, at a milestone of its own. See arm.mjs. */
import path from 'node:path';
import { packageRoot } from '../../../shared/images.ts';
import type { Milestone } from '../../../shared/milestones.ts';
import type { StartOptions } from './member.ts';

const PRELOAD = path.join(packageRoot, 'test/faults/kit/arm.mjs');

/** A worker tries its runtimes, each with a job of its own, before it takes the first of anybody else. */
export const FROM_FIRST_JOB = { from: 'fetched' } as const;

export interface Arming {
  readonly at: Milestone;
  /** At which passage, from 1. */
  readonly nth: number;
  readonly act: 'kill' | 'block';
  /** What is passed before this one does not count; absent, everything does. */
  readonly from?: Milestone;
  /** So long after the passage; 0 is within it, before the process does anything else. */
  readonly afterMs?: number;
  /** How long it stands still. */
  readonly forMs?: number;
}

export const armed = ({ afterMs = 0, forMs = 0, ...arming }: Arming): StartOptions => ({
  nodeOptions: ['--import', PRELOAD],
  env: { FAULTS_ARM: JSON.stringify({ ...arming, afterMs, forMs }) },
});

/** For the next start of a process that was armed. */
export const UNARMED: StartOptions = { nodeOptions: [], env: { FAULTS_ARM: '' } };
