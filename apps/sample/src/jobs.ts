// The engine's thread of `sample`.
import { samplingJobs } from '@mezzotint/app';
import { serveJobs } from '@mezzotint/backend/worker';
import { makePictures } from './latent/make-pictures.js';

const jobs = { ...samplingJobs(), makePictures };
export type SampleJobs = typeof jobs;

await serveJobs(jobs);
