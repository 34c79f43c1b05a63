export { EngineWorker, type EngineWorkerOptions, type RunOptions } from './worker/engine-worker.js';
export type { Input, Job, JobContext, Jobs, Output, Report } from './worker/job.js';
export { serveJobs } from './worker/serve-jobs.js';
