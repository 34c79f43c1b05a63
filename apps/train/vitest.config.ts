import { projectWithThreads } from '@mezzotint/vitest';

export default projectWithThreads('app-train');
