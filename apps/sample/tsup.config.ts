import { app } from '@mezzotint/tsup';

export default app();
