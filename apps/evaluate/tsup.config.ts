import { app } from '@mezzotint/tsup';

export default app({ main: 'src/main.ts', index: 'src/index.ts', jobs: 'src/jobs.ts' });
