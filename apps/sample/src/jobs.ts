// The engine's thread of `sample`.
import { serveJobs } from '@mezzotint/backend/worker';
import { makePictures } from './make-pictures.js';

const jobs = { makePictures };
export type SampleJobs = typeof jobs;

await serveJobs(jobs);
