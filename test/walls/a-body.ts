/** A body as the worker makes it, for the names of what is in it. */
import { type CreateBody, createBody } from '../../services/worker/sandbox/create-body.ts';
import { seccompProfile } from '../../services/worker/sandbox/seccomp.ts';

export const aBody = (): CreateBody =>
  createBody(
    {
      shape: {
        image: 'base',
        runtime: 'runc',
        memoryMb: 256,
        cpus: 1,
        processes: 64,
        workspaceMb: 64,
      },
      uid: 200_000,
      nonce: 'nonce',
      deadlineMs: 1,
    },
    {
      image: 'cofferdam/base:0',
      worker: 'worker',
      installation: 'installation',
      idleSeconds: 60,
      facts: {
        cgroupParent: '/cofferdam',
        seccomp: seccompProfile('x64'),
        hasAppArmor: false,
        cores: 2,
        maxOpenFiles: 1024,
        maxProcesses: 512,
      },
    },
  );
