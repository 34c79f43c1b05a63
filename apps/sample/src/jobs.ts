// The engine's thread of `sample`.
import { serveJobs } from '@mezzotint/backend/worker';
import { makePictures } from './make-pictures.js';
import { upscalePicture } from './upscale-picture.js';

const jobs = { makePictures, upscalePicture };
export type SampleJobs = typeof jobs;

await serveJobs(jobs);
