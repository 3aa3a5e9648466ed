/** How fast something grows, and how sure that is: least squares over [milliseconds, value]. */

export interface Slope {
  readonly perHour: number;
  /** The slope lies within so much of that, in 95 of 100 runs, were each sample independent of the one before. */
  readonly within: number;
}

const HOUR_MS = 3_600_000;
/** Of the normal distribution: 95 % lie within so many standard errors. */
const SURE = 1.96;

export function slopeOf(points: readonly (readonly [ms: number, value: number])[]): Slope {
  const mean = (at: 0 | 1): number =>
    points.reduce((sum, point) => sum + point[at], 0) / points.length;
  const [meanX, meanY] = [mean(0), mean(1)];
  const spread = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  const slope = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0) / spread;
  const left = points.reduce((sum, [x, y]) => sum + (y - meanY - slope * (x - meanX)) ** 2, 0);
  const error = Math.sqrt(left / (points.length - 2) / spread);
  return { perHour: slope * HOUR_MS, within: SURE * error * HOUR_MS };
}

/** With samples as often as these, the uncertainty falls with the time to the power of 3/2. */
export const minutesFor = (wanted: number, { within }: Slope, minutes: number): number =>
  minutes * Math.max(1, (within / wanted) ** (2 / 3));
