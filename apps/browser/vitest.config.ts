import { project } from '@mezzotint/vitest';

export default project('app-browser');
