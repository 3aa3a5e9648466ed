/** The OCI runtimes that a sandbox can be made under: the host's kernel behind walls, or a kernel of its own (gVisor). */
export const RUNTIMES = ['runc', 'runsc'] as const;

export type Runtime = (typeof RUNTIMES)[number];
