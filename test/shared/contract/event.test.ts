import { describe, expect, it } from 'vitest';
import { encodeEventId, eventId, outputEvent, stateEvent } from '../../../shared/contract/event.ts';

describe('the id of an event', () => {
  it('is the place behind it, and reads back as that', () => {
    const place = { attempt: 2, step: 3, stdout: 1234, stderr: 56 };
    expect(encodeEventId(place)).toBe('2.3.1234.56');
    expect(eventId.parse('2.3.1234.56')).toEqual(place);
  });

  it.each(['', '1', '1.0.0', '1.0.0.0.0', '1.0.-1.0', '1.0.1e3.0', '1.0.0.0 ', 'a.0.0.0'])(
    'is not %j',
    (text) => {
      expect(eventId.safeParse(text).success).toBe(false);
    },
  );

  it('holds no number that could not be counted exactly', () => {
    expect(eventId.safeParse(`1.0.${'9'.repeat(15)}.0`).success).toBe(true);
    expect(eventId.safeParse(`1.0.${'9'.repeat(16)}.0`).success).toBe(false);
  });
});

describe('the data of an event', () => {
  it('has text or bytes, never both and never neither', () => {
    const place = { step: 0, stream: 'stdout', offset: 7 };
    expect(outputEvent.safeParse({ ...place, text: 'x' }).success).toBe(true);
    expect(outputEvent.safeParse({ ...place, base64: '/w==' }).success).toBe(true);
    expect(outputEvent.safeParse(place).success).toBe(false);
    expect(outputEvent.safeParse({ ...place, text: 'x', base64: 'eA==' }).success).toBe(false);
  });

  it('names a state that jobs have', () => {
    const event = { id: 'job_x', state: 'running', attempt: 1 };
    expect(stateEvent.safeParse(event).success).toBe(true);
    expect(stateEvent.safeParse({ ...event, state: 'gone' }).success).toBe(false);
  });
});
