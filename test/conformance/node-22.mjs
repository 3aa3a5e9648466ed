/** The Node that the suite and the Inspector run on: the one their packages bring, or this one where none is made for. */
import { existsSync } from 'node:fs';
import path from 'node:path';

const BROUGHT = path.join(import.meta.dirname, 'node_modules/.bin/node');

export const NODE_22 = existsSync(BROUGHT) ? BROUGHT : process.execPath;
