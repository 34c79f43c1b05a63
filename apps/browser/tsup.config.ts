import { app } from '@mezzotint/tsup';

export default app({ main: 'src/main.ts' });
