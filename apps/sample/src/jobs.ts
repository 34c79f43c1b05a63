// The engine's thread of `sample`.
import { samplingJobs } from '@mezzotint/app';
import { serveJobs } from '@mezzotint/backend/worker';

await serveJobs(samplingJobs());
