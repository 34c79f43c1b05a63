// The engine's thread of `evaluate`.
import { samplingJobs } from '@mezzotint/app';
import { serveJobs } from '@mezzotint/backend/worker';
import { readingJobs } from './reading-jobs.js';

await serveJobs({ ...samplingJobs(), ...readingJobs() });
