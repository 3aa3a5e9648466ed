/** The contract as clients see it: `import type { JobRequest, JobResult } from 'cofferdam/contract'`. */
export {
  type BatchAccepted,
  type BatchOptions,
  type BatchState,
  type BatchView,
  batchAccepted,
  batchOptions,
  batchView,
} from './batch.ts';
export {
  type BatchDone,
  batchDone,
  type CallbackMessage,
  callbackMessage,
  type JobDone,
  jobDone,
} from './callback-message.ts';
export { type OutputEvent, outputEvent, type StateEvent, stateEvent } from './event.ts';
export { type JobPage, type JobSummary, jobPage } from './page.ts';
export { type JobRequestInput as JobRequest, jobRequest } from './request.ts';
export {
  type Artifact,
  type JobResult,
  type JobState,
  jobResult,
  type Outcome,
  outcome,
  type StepResult,
} from './result.ts';
