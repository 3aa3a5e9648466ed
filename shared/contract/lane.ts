/** The two queues that jobs wait in: with somebody waiting for each, and with nobody. */
export const LANES = ['interactive', 'bulk'] as const;
export type Lane = (typeof LANES)[number];
