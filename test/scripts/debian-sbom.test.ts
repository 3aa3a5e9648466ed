import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { expect, it } from 'vitest';
import { packageRoot } from '../../shared/images.ts';

const SCRIPT = path.join(packageRoot, 'scripts/lib/debian-sbom.mjs');

it('the packages of an image become components with names that others understand', () => {
  const input = [
    'libc6 2.36-9+deb12u14 amd64 glibc 2.36-9+deb12u14',
    'g++ 4:12.2.0-3 amd64 gcc-defaults 1.203',
  ];
  const args = [SCRIPT, 'base', 'cofferdam-image/base:latest', 'sha256:abc'];
  const bom = JSON.parse(
    execFileSync(process.execPath, args, { input: `${input.join('\n')}\n`, encoding: 'utf8' }),
  );
  expect(bom).toMatchObject({
    bomFormat: 'CycloneDX',
    metadata: { component: { 'bom-ref': 'sha256:abc', version: 'cofferdam-image/base:latest' } },
  });
  expect(bom.components.map(({ purl }: { purl: string }) => purl)).toEqual([
    'pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64',
    'pkg:deb/debian/g%2B%2B@4%3A12.2.0-3?arch=amd64',
  ]);
  expect(bom.components[1].properties).toEqual([
    { name: 'debian:source', value: 'gcc-defaults 1.203' },
  ]);
});
