import { library } from '@mezzotint/tsup';

export default library({ index: 'src/index.ts', testing: 'src/testing/index.ts' });
