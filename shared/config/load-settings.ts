/** The settings of how much is taken on, and whose turn it is. */
import { z } from 'zod';
import { integer, type Setting, setting } from './setting.ts';

const MIB = 1024 * 1024;

export const LOAD_SETTINGS = {
  COFFERDAM_TENANTS: setting(
    undefined,
    z.string().min(1).optional(),
    'A JSON file of tenants: their keys, weights and bounds; see below.',
  ),
  COFFERDAM_RESERVED_SLOTS: setting(
    '1',
    integer(0, 1024),
    'Slots on top of COFFERDAM_SLOTS that only jobs of the interactive lane use.',
  ),
  COFFERDAM_MAX_OPEN_JOBS: setting(
    '1000000',
    integer(1, 100_000_000),
    'Jobs waiting or running at once, in all; past it submissions are answered with 503.',
  ),
  COFFERDAM_MAX_TENANT_OPEN_JOBS: setting(
    '500000',
    integer(1, 100_000_000),
    'The same of one tenant; past it submissions are answered with 429.',
  ),
  COFFERDAM_MAX_TENANT_REQUESTS: setting(
    '5000',
    integer(1, 10_000),
    'Requests of one tenant that one API process holds open at once, waits and streams among them; past it they are answered with 429.',
  ),
  COFFERDAM_MAX_REDIS_BYTES: setting(
    String(4096 * MIB),
    integer(64 * MIB, 1024 * 1024 * MIB),
    'Memory that Redis may use before submissions are answered with 503; its own maxmemory counts if it is less.',
  ),
  COFFERDAM_MAX_QUEUE_AGE_MS: setting(
    '600000',
    integer(1000, 86_400_000),
    'How long the next job of the interactive lane may have waited before submissions to it are answered with 503.',
  ),
} as const satisfies Record<string, Setting>;
