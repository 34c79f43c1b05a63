// The engine's thread of `evaluate`.
import { serveJobs } from '@mezzotint/backend/worker';
import { evaluationJobs } from './engine-jobs.js';

await serveJobs(evaluationJobs());
