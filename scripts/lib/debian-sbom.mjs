// debian-sbom.mjs NAME REFERENCE DIGEST <LINES: the packages of an image, as CycloneDX.
import { readFileSync } from 'node:fs';

const [name, reference, digest] = process.argv.slice(2);
const lines = readFileSync(0, 'utf8').trim().split('\n');
const components = lines.map((line) => {
  const [packageName, version, architecture, source, sourceVersion] = line.split(' ');
  const arch = encodeURIComponent(architecture);
  const purl = `pkg:deb/debian/${encodeURIComponent(packageName)}@${encodeURIComponent(version)}?arch=${arch}`;
  return {
    type: 'library',
    'bom-ref': purl,
    name: packageName,
    version,
    purl,
    properties: [{ name: 'debian:source', value: `${source} ${sourceVersion}` }],
  };
});
const bom = {
  $schema: 'http://cyclonedx.org/schema/bom-1.5.schema.json',
  bomFormat: 'CycloneDX',
  specVersion: '1.5',
  version: 1,
  metadata: {
    timestamp: new Date().toISOString(),
    component: {
      type: 'container',
      'bom-ref': digest,
      name: `sandbox image ${name}`,
      version: reference,
    },
    properties: [{ name: 'digest', value: digest }],
  },
  components,
};
process.stdout.write(`${JSON.stringify(bom, null, 2)}\n`);
