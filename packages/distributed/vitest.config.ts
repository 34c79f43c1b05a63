import { projectWithThreads } from '@mezzotint/vitest';

export default projectWithThreads('distributed');
