/**
 * The time of this machine when the process began, told on by a clock that is never set: what was measured with it is a
 * duration, whatever is done to the machine's clock meanwhile.
 */
const beganAtMs = performance.timeOrigin;

/** Milliseconds since 1970, as far as they were known when this process began. */
export const steadyNowMs = (): number => Math.floor(beganAtMs + performance.now());
