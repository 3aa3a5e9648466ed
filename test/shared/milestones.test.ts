import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { expect, test } from 'vitest';
import { milestone } from '../../shared/milestones.ts';

test('a milestone is told by name to who listens, and to nobody else', () => {
  const heard: unknown[] = [];
  const listen = (name: unknown): void => void heard.push(name);
  milestone('fetched');
  subscribe('cofferdam:milestone', listen);
  milestone('marked');
  unsubscribe('cofferdam:milestone', listen);
  milestone('parsed');
  expect(heard).toEqual(['marked']);
});
