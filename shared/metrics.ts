/** Prometheus metrics: every name starts with `cofferdam_` and ends with its unit; docs/metrics.md lists them. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

const PREFIX = 'cofferdam_';

/** Buckets, in seconds. */
export const seconds = {
  fast: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60],
  slow: [0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 10],
};

export interface Metrics {
  readonly contentType: string;
  text(): Promise<string>;
  counter(
    name: string,
    help: string,
    labels: readonly string[],
  ): (by: number, ...values: string[]) => void;
  histogram(
    name: string,
    help: string,
    buckets: readonly number[],
    labels?: readonly string[],
  ): (seconds: number, ...values: string[]) => void;
  /** Read when it is scraped. */
  gauge(
    name: string,
    help: string,
    labels: readonly string[],
    read: (set: (value: number, ...values: string[]) => void) => void | Promise<void>,
  ): void;
}

export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: PREFIX });
  const common = (name: string, help: string) => ({
    name: PREFIX + name,
    help,
    registers: [registry],
  });
  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    counter(name, help, labels) {
      const counter = new Counter({ ...common(name, help), labelNames: [...labels] });
      return (by, ...values) => counter.labels(...values).inc(by);
    },
    histogram(name, help, buckets, labels = []) {
      const histogram = new Histogram({
        ...common(name, help),
        buckets: [...buckets],
        labelNames: [...labels],
      });
      return (value, ...values) => histogram.labels(...values).observe(value);
    },
    gauge(name, help, labels, read) {
      new Gauge({
        ...common(name, help),
        labelNames: [...labels],
        async collect() {
          this.reset();
          await read((value, ...values) => this.labels(...values).set(value));
        },
      });
    },
  };
}
