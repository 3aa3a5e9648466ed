/**
 * Preloaded into a process by `node --import`: at the nth passage of one milestone (shared/milestones.ts) it is killed,
 * or its event loop stands still for a while. FAULTS_ARM says which, as kit/armed.ts writes it; without it nothing
 * happens. Plain JavaScript, since it is loaded before anything else.
 */
import { subscribe } from 'node:diagnostics_channel';

if (process.env.FAULTS_ARM) {
  const { at, nth, act, from, afterMs, forMs } = JSON.parse(process.env.FAULTS_ARM);
  let isCounting = from === undefined;
  let passages = 0;

  const strike = () => {
    if (act === 'kill') process.kill(process.pid, 'SIGKILL');
    else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, forMs);
  };
  subscribe('cofferdam:milestone', (name) => {
    if (name === from) isCounting = true;
    if (!isCounting || name !== at || ++passages !== nth) return;
    if (afterMs === 0) strike();
    else setTimeout(strike, afterMs);
  });
}
